"""The last looks at links that guests live on, kept across restarts of the actuator.

One small file on a tmpfs: for each mirror the latest look after which something of this host's has
arrived at the peer, and the last one after which nothing had yet. Times and sockets' numbers mean
something only on the boot that wrote them. By these a restarted actuator needs no packet that is
sent after its own first look before it knows until when a guest may run.
"""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tandem_actuator.adapters.files.files import OS_FILES, FileSystem, swap_file
from tandem_actuator.core.packets import Mark, Packets


class LastLook(BaseModel):
    """One mirror's. ``sent``: as ``Mark`` has it. Times are on CLOCK_BOOTTIME."""

    arrived_after_s: float | None
    looked_at_s: float
    sent: dict[int, int]


class LastLooks(BaseModel):
    """By the names of DRBD's resources."""

    boot_id: str
    looks: dict[str, LastLook]


class LooksFile:
    """The file; see the module."""

    def __init__(self, run_dir: Path, boot_id: str, files: FileSystem = OS_FILES) -> None:
        self._path = run_dir / "looks.json"
        self._boot_id, self._files = boot_id, files

    def load(self) -> Mapping[str, Packets]:
        """What the last run of this boot left; nothing if there is none, or it cannot be read."""
        try:
            left = LastLooks.model_validate_json(self._files.read(self._path))
        except (OSError, ValidationError):
            return {}
        if left.boot_id != self._boot_id:
            return {}
        return {name: _packets(look) for name, look in left.looks.items()}

    def store(self, packets: Mapping[str, Packets]) -> None:
        """Replace it. One that cannot be written only costs time after a restart."""
        looks = {name: _last_look(known) for name, known in packets.items() if known.marks}
        left = LastLooks(boot_id=self._boot_id, looks=looks)
        with contextlib.suppress(OSError):
            swap_file(self._path, left.model_dump_json().encode(), files=self._files)


def _last_look(packets: Packets) -> LastLook:
    arrived_s, mark = packets.arrived_after_s, packets.marks[-1]
    return LastLook(
        arrived_after_s=arrived_s if math.isfinite(arrived_s) else None,
        looked_at_s=mark.looked_at_s,
        sent=dict(mark.sent),
    )


def _packets(look: LastLook) -> Packets:
    arrived_s = look.arrived_after_s
    return Packets(
        marks=(Mark(look.looked_at_s, look.sent),),
        arrived_after_s=-math.inf if arrived_s is None else arrived_s,
    )
