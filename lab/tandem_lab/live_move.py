"""Move a guest as it runs and look at what it printed: the measurement behind demo and benchmark.

All times are on this machine's clock, as in ``takeover``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tandem_api.meta import API_VERSION
from tandem_lab.deployment import Deployment
from tandem_lab.history import Line, history_problem, joined, lines_of
from tandem_lab.settings import LabError
from tandem_lab.takeover import GuestName, status_of

POLL_S = 0.25
SETTLES_S = 2.0
"""So long the guest is looked at before a move and after it."""


@dataclass(frozen=True)
class LiveMove:
    """One that was measured.

    ``gap_s``: the longest time between two numbers that the guest printed, usually a tenth of a
    second. ``took_s``: from the order until the object said that it has succeeded.
    ``problem``: a number that is missing or came twice, or None.
    """

    source: str
    target: str
    gap_s: float
    took_s: float
    last_at_source: int
    first_at_target: int
    problem: str | None


def longest_gap_s(lines: Iterable[Line]) -> float:
    """Between two numbers, seconds; infinity if there are not two."""
    at_s = [line.at_s for line in joined(lines) if line.number is not None]
    return max((after - before for before, after in pairwise(at_s)), default=float("inf"))


def measured(
    lines: list[Line], source: str, target: str, took_s: float, *, domain: str
) -> LiveMove:
    """Of what the guest printed around it. LabError: it printed nothing at one of the two."""
    whole = joined(lines)
    at = {name: [line.number for line in whole if line.host == name] for name in (source, target)}
    left = [number for number in at[source] if number is not None]
    came = [number for number in at[target] if number is not None]
    if not left or not came:
        raise LabError(f"{domain} printed nothing at {target if left else source}")
    gap_s, problem = longest_gap_s(lines), history_problem(lines)
    return LiveMove(source, target, gap_s, took_s, left[-1], came[0], problem)


def move_and_watch(
    deployment: Deployment,
    guest: GuestName,
    to_site: str,
    name: str,
    timeout_s: float = 90.0,
    how: str = "Live",
) -> LiveMove:
    """Order a GuestMove, as the guest runs or not at all if nothing else is said, and wait for it.

    An empty ``how`` is left out: definitions from before there was a choice have no such field.
    LabError: it failed.
    """
    source = str(status_of(deployment, guest)["host"])
    time.sleep(SETTLES_S)
    ordered_s = time.monotonic()
    metadata = {"name": name, "namespace": guest.namespace}
    spec = {"guest": guest.name, "to": {"site": to_site}, **({"how": how} if how else {})}
    made = {"apiVersion": API_VERSION, "kind": "GuestMove", "metadata": metadata, "spec": spec}
    deployment.kubectl("create", "-f", "-", stdin=json.dumps(made))
    status = _ended(deployment, guest, name, timeout_s)
    took_s = time.monotonic() - ordered_s
    time.sleep(SETTLES_S)
    lines = lines_of(deployment.lab, guest.domain, ordered_s - SETTLES_S)
    return measured(lines, source, str(status["target"]), took_s, domain=guest.domain)


def _ended(
    deployment: Deployment, guest: GuestName, name: str, timeout_s: float
) -> dict[str, object]:
    deadline_s = time.monotonic() + timeout_s
    status: dict[str, object] = {}
    while time.monotonic() < deadline_s:
        text = deployment.kubectl("get", "guestmove", "-n", guest.namespace, name, "-o", "json")
        status = json.loads(text).get("status") or {}
        if status.get("phase") == "Succeeded":
            return status
        if status.get("phase") == "Failed":
            break
        time.sleep(POLL_S)
    raise LabError(f"GuestMove {name} is {status.get('phase')}: {status.get('message')}")
