"""Kill a site and watch its guest come up at the other: the measurement behind demo and benchmark.

All times are seconds since the SIGKILL, on this machine's clock: the hosts are processes of it and
share its wall clock, so the times that they report can be compared with the own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tandem_lab.deployment import Deployment
from tandem_lab.settings import LabError

STEPS = {
    "leaseLost": "lease declared lost",
    "assigned": "takeover decided",
    "authorityWon": "authority won",
    "promoted": "DRBD primary",
    "domainStarted": "domain created",
    "firstLine": "guest's first line",
}
POLL_S = 0.25


@dataclass(frozen=True)
class GuestName:
    """A guest, as Kubernetes and as its domain and its log name it."""

    namespace: str
    name: str

    @property
    def domain(self) -> str:
        return f"{self.namespace}.{self.name}"


@dataclass(frozen=True)
class Takeover:
    """One measured takeover. ``steps_s`` is keyed as STEPS."""

    source: str
    target: str
    steps_s: dict[str, float]
    last_number_at_source: int
    first_number_at_target: int

    @property
    def lost_writes(self) -> int:
        """Numbers that the guest had printed, so written, and that the other site does not know."""
        return max(0, self.last_number_at_source + 1 - self.first_number_at_target)


def guest_object(deployment: Deployment, guest: GuestName) -> dict[str, object]:
    """The Guest object as the API has it now."""
    text = deployment.kubectl("get", "guest", "-n", guest.namespace, guest.name, "-o", "json")
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def status_of(deployment: Deployment, guest: GuestName) -> dict[str, object]:
    """The Guest's status; empty if it has none yet."""
    status = guest_object(deployment, guest).get("status") or {}
    assert isinstance(status, dict)
    return status


def wait_for(
    deployment: Deployment,
    guest: GuestName,
    wanted: Callable[[dict[str, object]], bool],
    timeout_s: float,
    on_change: Callable[[dict[str, object]], None] = lambda status: None,
) -> dict[str, object]:
    """The status once it is as wanted; LabError with the last one after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    status: dict[str, object] = {}
    said: object = None
    while time.monotonic() < deadline_s:
        status = status_of(deployment, guest)
        if (status.get("phase"), status.get("message")) != said:
            said = (status.get("phase"), status.get("message"))
            on_change(status)
        if wanted(status):
            return status
        time.sleep(POLL_S)
    raise LabError(
        f"guest {guest.name} is {status.get('phase')} after {timeout_s:g} s:"
        f" {status.get('reason')} {status.get('message')}"
    )


def running_and_protected(status: dict[str, object]) -> bool:
    """Running, and another host could take it over now without loss."""
    return status.get("phase") == "Running" and status.get("protected") == "True"


def kill_and_watch(
    deployment: Deployment,
    guest: GuestName,
    timeout_s: float = 60.0,
    on_change: Callable[[dict[str, object]], None] = lambda status: None,
) -> Takeover:
    """SIGKILL the site that runs the guest, and follow the takeover to the guest's first line."""
    lab = deployment.lab
    source = str(status_of(deployment, guest)["host"])
    killed_monotonic_s, killed_s = time.monotonic(), time.time()
    lab.host(source).kill()

    def elsewhere(status: dict[str, object]) -> bool:
        return status.get("phase") == "Running" and status.get("host") not in (source, "", None)

    status = wait_for(deployment, guest, elsewhere, timeout_s, on_change)
    target = str(status["host"])
    line = lab.wait_guest_line(guest.domain, target, killed_monotonic_s)
    before = lab.guest_log(guest.domain, source)
    numbers = _numbers_after(deployment, guest, target, killed_monotonic_s)
    return Takeover(
        source=source,
        target=target,
        steps_s={
            **_reported_steps(status, killed_s),
            "firstLine": line.monotonic_s - killed_monotonic_s,
        },
        last_number_at_source=before[-1][1] if before else 0,
        first_number_at_target=numbers,
    )


def _numbers_after(
    deployment: Deployment, guest: GuestName, host: str, after_s: float, timeout_s: float = 10.0
) -> int:
    """The first number that the guest printed there after the moment."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        log = deployment.lab.guest_log(guest.domain, host)
        after = [number for stamp_s, number in log if stamp_s > after_s]
        if after:
            return after[0]
        time.sleep(0.02)
    raise LabError(f"guest {guest.name} counted nothing at {host}")


def _reported_steps(status: dict[str, object], killed_s: float) -> dict[str, float]:
    """What controller and actuator reported, as seconds since the kill."""
    takeover = status.get("lastTakeover")
    steps = takeover.get("steps") if isinstance(takeover, dict) else None
    return {
        name: datetime.fromisoformat(stamp).timestamp() - killed_s
        for name, stamp in (steps or {}).items()
        if name in STEPS
    }
