"""How many quick exits of the actuator there were in a row, kept across its restarts.

One small file on a tmpfs, which means something only on the boot and to the version that wrote it:
an upgrade is a reason to try everything. The moment a run begins it counts as one that will end
quickly; it takes that back once it has not.
"""

import contextlib
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tandem_actuator.adapters.files.files import OS_FILES, FileSystem, swap_file


class Starts(BaseModel):
    """``quick_exits``: in a row, on the boot ``boot_id``, of this version of the program."""

    boot_id: str
    version: str
    quick_exits: int


class StartsFile:
    """The file; see the module."""

    def __init__(
        self, run_dir: Path, boot_id: str, version: str, files: FileSystem = OS_FILES
    ) -> None:
        self._path = run_dir / "starts.json"
        self._boot_id, self._version, self._files = boot_id, version, files

    def load(self) -> int:
        """What the last run left; 0 if there is nothing of this boot and version."""
        try:
            starts = Starts.model_validate_json(self._files.read(self._path))
        except (OSError, ValidationError):
            return 0
        same = (starts.boot_id, starts.version) == (self._boot_id, self._version)
        return starts.quick_exits if same else 0

    def store(self, quick_exits: int) -> None:
        """Replace it. One that cannot be written costs nothing while the program is well."""
        starts = Starts(boot_id=self._boot_id, version=self._version, quick_exits=quick_exits)
        with contextlib.suppress(OSError):
            swap_file(self._path, starts.model_dump_json().encode(), files=self._files)
