"""What a counting guest printed, over all boots at all hosts, and whether it is one guest's row.

The counter guest prints a number only after both disks that must have it do. So the numbers that
it printed are one row without a step back, without a repetition, and without two guests in it.
It judges; it changes nothing. Used by scenarios, by random faults and by the lab's tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tandem_lab.lab import Lab

DISK_ERROR = "BAD disk error"


@dataclass(frozen=True)
class Line:
    """A line that the guest printed at a host. `at_s` compares with time.monotonic()."""

    at_s: float
    host: str
    text: str

    @property
    def number(self) -> int | None:
        """The number, if it is one that was counted."""
        return int(self.text) if re.fullmatch(r"\d+", self.text) else None

    @property
    def found(self) -> int | None:
        """The number that a boot found on the disk. A kill may have left half a line before."""
        match = re.search(r"boot (\d+)$", self.text)
        return int(match[1]) if match else None


def lines_of(
    lab: Lab, domain: str, since_s: float = 0.0, hosts: Iterable[str] | None = None
) -> list[Line]:
    """What it printed since then, at all hosts or these, oldest first."""
    names = [host.name for host in lab.hosts] if hosts is None else hosts
    lines = [
        Line(line.monotonic_s, name, line.text)
        for name in names
        for line in lab.guest_lines(domain, name)
        if line.monotonic_s >= since_s
    ]
    return sorted(lines, key=lambda line: line.at_s)


def joined(lines: Iterable[Line]) -> list[Line]:
    """The same lines, those whole that a guest began to print at one host and ended at another.

    It moved in the middle of a line. Its beginning has no end at the first host, so it is seen only
    in front of what the guest prints when it is back there.
    """
    whole: list[Line] = []
    begun: dict[str, str] = {}
    for line in lines:
        text = line.text.removeprefix(begun.pop(line.host, ""))
        last = next((each for each in reversed(whole) if each.number is not None), None)
        if last is not None and last.host != line.host and re.fullmatch(r"\d*", text):
            awaited = str((last.number or 0) + 1)
            if text != awaited and awaited.endswith(text):
                begun[last.host] = awaited.removesuffix(text)
                text = awaited
        whole.append(replace(line, text=text))
    return whole


def history_problem(lines: Iterable[Line], *, disks_fail: bool = False) -> str | None:
    """Why these lines are not those of one guest that lost nothing, or None if they are.

    Where `disks_fail`, an error that the guest was told of is not held against anybody.
    """
    last: int | None = None
    for line in joined(lines):
        where = f"at {line.host}, {line.at_s:.2f}"
        if disks_fail and line.text.endswith(DISK_ERROR):
            continue
        if "BAD" in line.text:
            return f"the guest found its disk damaged {where}: {line.text}"
        if line.found is not None:
            if last is not None and line.found < last:
                return f"{last} was printed, but a boot {where} found {line.found}"
            last = line.found
        elif line.number is not None:
            if last is not None and line.number != last + 1:
                return f"{line.number} was printed {where} after {last}"
            last = line.number
    return None
