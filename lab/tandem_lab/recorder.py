"""Stamps every line that guests print with the moment it arrived, as long as the lab is up.

A guest's host cannot be trusted with time (it may be dead by then), and a reader that comes
later would see only a file. So all serial files of all hosts are followed, and per guest and
host a file of "MONOTONIC WALL TEXT" lines is kept. It decides nothing.

Run by the attendant; `read_lines` is how everyone else sees the result.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

RESCAN_S = 0.2
TAIL_BYTES = 1000
SERIAL_PATTERN = "*/share/serial/*.log"


@dataclass(frozen=True)
class GuestLine:
    """One line of a guest. `monotonic_s` compares with time.monotonic() on this machine."""

    monotonic_s: float
    wall_s: float
    text: str


def stamped_path(state_dir: Path, host: str, guest: str) -> Path:
    """Where the stamped lines of a guest at a host are kept."""
    return state_dir / "serial" / host / f"{guest}.stamped"


def read_lines(state_dir: Path, host: str, guest: str) -> list[GuestLine]:
    """All lines so far, oldest first; none if the guest never printed there."""
    path = stamped_path(state_dir, host, guest)
    if not path.exists():
        return []
    lines = []
    for row in path.read_text(errors="replace").splitlines():
        monotonic_s, wall_s, text = row.split(" ", 2)
        lines.append(GuestLine(float(monotonic_s), float(wall_s), text))
    return lines


def read_last_line(state_dir: Path, host: str, guest: str) -> GuestLine | None:
    """The newest line, without reading what may be hours of them."""
    path = stamped_path(state_dir, host, guest)
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        rows = file.read().decode(errors="replace").split("\n")
    # What is after the last newline is being written; what is first may be half a row.
    whole = [row for row in rows[:-1] if row.count(" ") >= 2]
    if not whole:
        return None
    monotonic_s, wall_s, text = whole[-1].split(" ", 2)
    return GuestLine(float(monotonic_s), float(wall_s), text)


@dataclass
class Follower:
    """Follows one serial file from where an earlier recorder left off."""

    source: Path
    target: Path
    offset: int = 0
    rest: bytes = b""
    _to_skip: int = field(default=0)

    def __post_init__(self) -> None:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.exists():
            self._to_skip = self.target.read_bytes().count(b"\n")

    def poll(self) -> None:
        """Stamp what arrived since the last call."""
        size_bytes = self.source.stat().st_size
        if size_bytes < self.offset:
            # Truncated: a guest that does not append. What it prints now is new.
            self.offset, self.rest = 0, b""
        if size_bytes == self.offset:
            return
        monotonic_s, wall_s = time.monotonic(), time.time()
        with self.source.open("rb") as source:
            source.seek(self.offset)
            data = source.read()
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        fresh = lines[self._to_skip :]
        self._to_skip = max(0, self._to_skip - len(lines))
        if fresh:
            stamp = f"{monotonic_s:.6f} {wall_s:.6f} "
            with self.target.open("a") as target:
                target.writelines(stamp + _text(line) + "\n" for line in fresh)


class Recorder:
    """Follows all serial files of all hosts."""

    def __init__(self, state_dir: Path) -> None:
        self._hosts_dir = state_dir / "hosts"
        self._state_dir = state_dir
        self._followers: dict[Path, Follower] = {}
        self._next_scan_s = 0.0

    def poll(self) -> None:
        """Stamp what arrived since the last call."""
        now_s = time.monotonic()
        if now_s >= self._next_scan_s:
            self._next_scan_s = now_s + RESCAN_S
            self._scan()
        for source, follower in list(self._followers.items()):
            try:
                follower.poll()
            except FileNotFoundError:
                del self._followers[source]

    def _scan(self) -> None:
        for source in self._hosts_dir.glob(SERIAL_PATTERN):
            if source not in self._followers:
                host = source.relative_to(self._hosts_dir).parts[0]
                target = stamped_path(self._state_dir, host, source.stem)
                self._followers[source] = Follower(source, target)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").replace("\r", "")
