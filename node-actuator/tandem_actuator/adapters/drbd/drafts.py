"""Metadata of others is never written over; a file that is not good is put back as it was."""

import os
from pathlib import Path

from tandem_actuator.adapters.files.files import replace_file
from tandem_actuator.adapters.linux.process import run
from tandem_actuator.ports import CommandFailed

# drbdmeta writes the whole bitmap, and replays the activity log, with synchronous small writes.
METADATA_TIMEOUT_S = 60.0


def put_back(path: Path, old: str) -> None:
    """Empty: there was none."""
    if old:
        replace_file(path, old.encode())
    else:
        path.unlink(missing_ok=True)
    kept_path(path).unlink()


async def refuse_foreign_data(device: str) -> None:
    """CommandFailed if anything but DRBD's own metadata is recognised on the device."""
    probe = ["blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", device]
    answer = await run(probe, timeout_s=METADATA_TIMEOUT_S)
    kinds = set(answer.stdout.split()) - {"drbd"}
    if kinds:
        raise CommandFailed(
            f"{device} holds other data ({', '.join(sorted(kinds))}); if nobody needs it, clear it"
            f" with: wipefs --all {device}"
        )
    if answer.code not in (0, 2):
        raise CommandFailed(f"cannot examine {device}: {answer.words or os.strerror(5)}")


def kept_path(path: Path) -> Path:
    """Not read by drbdadm."""
    return path.with_name(f"{path.name}.before")
