"""What must hold after each step. Pure: two looks and what guests printed, problems out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_lab.history import Line, history_problem
from tandem_lab.live_move import longest_gap_s
from tandem_lab.upgrade.looking import Look, Raw

LONGEST_STANDSTILL_S = DEFAULT.self_fence_seconds
"""Nothing is to stand still in an upgrade at all. A host that is late by more would have fenced
itself (docs/timing.md); what is less may be this machine's, which runs all hosts on a few cores.
"""
LONGEST_TAKEOVER_S = 15.0
"""README: about a quarter of a minute, from a site's death to the guest's first line."""
LONGEST_COLD_MOVE_S = 15.0
PAUSED = "Paused"
"""The one condition that is False where all is well."""
MOST_WRITES_PER_S = 4.0
"""More are one that is written again and again: two guests in peace cost less than one."""


@dataclass(frozen=True)
class Printed:
    """What one guest printed: ``whole`` since the play began, ``lately`` since the step did, until
    ``until_s``.
    """

    guest: str
    whole: Sequence[Line]
    lately: Sequence[Line]
    until_s: float

    @property
    def gap_s(self) -> float:
        """The longest time without a number in this step; infinity if there were not two."""
        last_s = max((line.at_s for line in self.lately if line.number is not None), default=0.0)
        return max(longest_gap_s(self.lately), self.until_s - last_s)


def quiet_problems(before: Look, after: Look, printed: Sequence[Printed]) -> list[str]:
    """What a step has disturbed in which nothing was to be noticed."""
    return [
        *standing_problems(after),
        *program_problems(before, after),
        *_moved(before, after),
        *(f"{host} booted" for host in after.boots if after.boots[host] != before.boots.get(host)),
        *(problem for each in printed for problem in printed_problems(each, LONGEST_STANDSTILL_S)),
        *(f"{each.guest} was started anew" for each in printed if _boots(each.lately)),
    ]


def loss_problems(
    before: Look, after: Look, printed: Sequence[Printed], site: str, longest_s: float
) -> list[str]:
    """What is wrong after moves, or after the loss of the hosts of a site, once all is back."""
    lost = {_host(raw) for raw in after.objects if raw["kind"] == "Host" and _site(raw) == site}
    booted = {host: after.boots[host] - before.boots.get(host, 0) for host in after.boots}
    return [
        *standing_problems(after),
        *program_problems(before, after),
        *_moved(before, after),
        *(f"{host} booted {n} times" for host, n in booted.items() if n != int(host in lost)),
        *(problem for each in printed for problem in printed_problems(each, longest_s)),
    ]


def standing_problems(look: Look) -> list[str]:
    """What is not as where all is well: running, protected, redundant, each condition True."""
    return [problem for raw in look.objects for problem in _object_problems(raw)]


def program_problems(before: Look, after: Look) -> list[str]:
    """What the programs did that none may do, whatever breaks: refused writes, bugs."""
    refused = {
        what: count - before.refusals.get(what, 0.0)
        for what, count in after.refusals.items()
        if count > before.refusals.get(what, 0.0)
    }
    internal = str(Reason.INTERNAL_ERROR)
    return [
        *(f"refused: {what}, {count:g} times" for what, count in refused.items()),
        *(f"{_name(raw)}: {internal}" for raw in after.objects if internal in _texts(raw)),
        *(f"logged: {line}" for line in after.grave),
    ]


def printed_problems(printed: Printed, longest_gap_s: float) -> list[str]:
    """What is wrong with a guest's numbers."""
    found = []
    if problem := history_problem(printed.whole):
        found.append(f"{printed.guest}: {problem}")
    if printed.gap_s > longest_gap_s:
        found.append(
            f"{printed.guest} stood still for {printed.gap_s:.1f} s, longer than {longest_gap_s:g}"
        )
    return found


def without_known(problems: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is left, and what is one of these faults of the older version, mended since."""
    ours = [each for each in problems if not any(words in each for words in known)]
    return ours, sorted({words for words in known for each in problems if words in each})


def busy_problems(before: Look, after: Look) -> list[str]:
    """Whether something is written again and again, between two looks in peace."""
    per_s = (after.writes - before.writes) / (after.at_s - before.at_s)
    return [f"{per_s:.1f} writes a second in peace"] if per_s > MOST_WRITES_PER_S else []


def _object_problems(raw: Raw) -> Iterator[str]:
    status, name = raw.get("status") or {}, _name(raw)
    for condition in status.get("conditions") or []:
        if condition["status"] != "True" and condition["type"] != PAUSED:
            yield f"{name}: {condition['type']} {condition['status']}, {condition['reason']}"
    if raw["kind"] == "Guest":
        if status.get("phase") != "Running":
            yield f"{name}: {status.get('phase')}, {status.get('reason')}: {status.get('message')}"
        if status.get("protected") != "True":
            yield f"{name}: not protected"
    if raw["kind"] == "Mirror":
        authority = status.get("authority") or {}
        if authority.get("mode") != "Mirrored":
            yield f"{name}: {authority.get('mode')}, {authority.get('reason')}"
        for host, report in (status.get("replicas") or {}).items():
            if report.get("connection") != "Connected":
                yield f"{name} at {host}: {report.get('connection')}"


def _moved(before: Look, after: Look) -> list[str]:
    was, now = _places(before), _places(after)
    return [
        f"{guest} went from {host} to {now.get(guest)}"
        for guest, host in was.items()
        if now.get(guest) != host
    ]


def _places(look: Look) -> dict[str, str]:
    guests = (raw for raw in look.objects if raw["kind"] == "Guest")
    return {_name(raw): (raw.get("status") or {}).get("host", "") for raw in guests}


def _host(raw: Raw) -> str:
    return str(raw["metadata"]["name"])


def _site(raw: Raw) -> str:
    return str(raw["spec"]["site"])


def _boots(lines: Sequence[Line]) -> bool:
    return any(line.found is not None for line in lines)


def _name(raw: Raw) -> str:
    return f"{raw['kind'].lower()} {raw['metadata']['name']}"


def _texts(value: Any) -> set[str]:
    """All words and sentences in an object."""
    if isinstance(value, dict):
        return {text for each in value.values() for text in _texts(each)}
    if isinstance(value, list):
        return {text for each in value for text in _texts(each)}
    return {value} if isinstance(value, str) else set()
