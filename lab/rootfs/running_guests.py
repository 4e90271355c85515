"""Tells which guests have a QEMU in this site host: a line when that changes, and each second.

A line is the domains' names, or "-". It is read by tandem_lab.scenarios.runs over the out-of-band
link. Standard library only, and no other program is started: that is slow here.
"""

import re
import time
from pathlib import Path

PERIOD_S = 0.15
REPEAT_S = 1.0
# A fork of libvirtd looks like libvirtd until it becomes a QEMU.
YOUNG_S = 2.0
PROC = Path("/proc")
NAME = re.compile(rb"guest=([^,\0]+)")


def main() -> None:
    first_seen: dict[int, float] = {}
    guests: dict[int, str] = {}
    said, said_at_s = "", 0.0
    while True:
        now_s = time.monotonic()
        pids = {int(path.name) for path in PROC.iterdir() if path.name.isdigit()}
        for gone in first_seen.keys() - pids:
            del first_seen[gone]
            guests.pop(gone, None)
        for pid in pids - guests.keys():
            if now_s - first_seen.setdefault(pid, now_s) < YOUNG_S:
                name = guest_of(pid)
                if name:
                    guests[pid] = name
        line = " ".join(sorted({name for pid, name in guests.items() if lives(pid)})) or "-"
        if line != said or now_s - said_at_s > REPEAT_S:
            print(line, flush=True)
            said, said_at_s = line, now_s
        time.sleep(PERIOD_S)


def guest_of(pid: int) -> str:
    """The domain whose QEMU it is, if it is one."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    found = NAME.search(words) if b"qemu-system" in words.split(b"\0", 1)[0] else None
    return found[1].decode() if found else ""


def lives(pid: int) -> bool:
    """Not if it was killed: its leader is a zombie while a thread of it waits for a frozen disk."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if __name__ == "__main__":
    main()
