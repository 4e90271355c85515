"""Until when this boot may run guests, kept across restarts of the actuator.

One small file on a tmpfs: the moment, on CLOCK_BOOTTIME, from before the last confirmed heartbeat
was sent, and the timing that it published. It means something only on the boot that wrote it. A
restarted actuator goes on from it instead of stopping guests until its first heartbeat, and gets
no more time than the old run had.
"""

import contextlib
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tandem_actuator.adapters.files.files import OS_FILES, FileSystem, swap_file
from tandem_api.timing import Timing


class Permit(BaseModel):
    """``renewal_sent_at_s`` is on the CLOCK_BOOTTIME of the boot ``boot_id``."""

    boot_id: str
    renewal_sent_at_s: float
    timing: Timing


class PermitFile:
    """The file; see the module."""

    def __init__(self, run_dir: Path, boot_id: str, files: FileSystem = OS_FILES) -> None:
        self._path = run_dir / "heartbeat.json"
        self._boot_id, self._files = boot_id, files

    def load(self) -> Permit | None:
        """What the last run of this boot left; None if there is nothing of this boot."""
        try:
            permit = Permit.model_validate_json(self._files.read(self._path))
        except (OSError, ValidationError):
            return None
        return permit if permit.boot_id == self._boot_id else None

    def store(self, renewal_sent_at_s: float, timing: Timing) -> None:
        """Replace it. A file that cannot be written only costs time after a restart.

        One with another timing goes: others wait by the new one by now, and it may be shorter.
        """
        permit = Permit(boot_id=self._boot_id, renewal_sent_at_s=renewal_sent_at_s, timing=timing)
        try:
            swap_file(self._path, permit.model_dump_json().encode(), files=self._files)
        except OSError:
            left = self.load()
            if left is not None and left.timing != timing:
                with contextlib.suppress(OSError):
                    self._files.unlink(self._path)
