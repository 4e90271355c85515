"""Durable records on disk: one JSON file per mirror, in a directory that survives reboots.

A record that is there but cannot be read is never taken for one that is not there: it may hold the
marker that keeps a stale replica from being promoted. Called by ``cluster`` and ``driver``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem_actuator.adapters.files.files import (
    OS_FILES,
    FileSystem,
    make_directories,
    replace_file,
)
from tandem_actuator.core.model import MigrationNote, Record
from tandem_actuator.ports import PortError
from tandem_api.kinds.mirror import Marker

SUFFIX = ".json"

Count = Annotated[int, Field(ge=0)]


class _Stored(BaseModel):
    """The file's content. Another format is refused. Fields that a newer version has added are
    kept as they are, for when it comes back.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=False)

    format: Literal[1] = 1
    uid: str
    incarnation: str
    max_epoch: Count
    owned_epoch: Count
    marker: Marker | None
    attached: bool
    started_boot_id: str = ""
    asynchronous: bool = False
    generations: dict[str, str] = Field(default_factory=dict)
    unparted_boot_id: str = ""
    owes_copy: bool = False
    bits_gone: bool = False
    copied_for: str = ""
    outgoing: MigrationNote | None = None
    incoming: MigrationNote | None = None


class FileRecords:
    """The Records port. One writer at a time: the host's lock sees to that."""

    def __init__(self, directory: Path, files: FileSystem = OS_FILES) -> None:
        """Make the directory if it is not there.

        Raises:
            PortError: it cannot be made.
        """
        self.directory, self._files = directory, files
        self._newer: dict[str, dict[str, Any]] = {}
        try:
            make_directories(directory, 0o700, files)
        except OSError as error:
            raise PortError(f"cannot make {directory}: {error}") from error

    def load(self, uid_or_name: str) -> Record | None:
        stored = self._stored(self._path(uid_or_name))
        if stored is None:
            return None
        self._newer[uid_or_name] = stored.model_extra or {}
        return Record(
            uid=stored.uid,
            incarnation=stored.incarnation,
            max_epoch=stored.max_epoch,
            owned_epoch=stored.owned_epoch,
            marker=stored.marker,
            attached=stored.attached,
            started_boot_id=stored.started_boot_id,
            asynchronous=stored.asynchronous,
            generations=stored.generations,
            unparted_boot_id=stored.unparted_boot_id,
            owes_copy=stored.owes_copy,
            bits_gone=stored.bits_gone,
            copied_for=stored.copied_for,
            outgoing=stored.outgoing,
            incoming=stored.incoming,
        )

    def _stored(self, path: Path) -> _Stored | None:
        """Raises: PortError."""
        try:
            return _Stored.model_validate_json(self._files.read(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PortError(f"cannot read the record {path}: {error}") from error
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()
            )
            raise PortError(f"the record {path} is damaged or newer: {problems}") from error

    def store(self, name: str, record: Record) -> None:
        path = self._path(name)
        stored = _Stored(
            uid=record.uid,
            incarnation=record.incarnation,
            max_epoch=record.max_epoch,
            owned_epoch=record.owned_epoch,
            marker=record.marker,
            attached=record.attached,
            started_boot_id=record.started_boot_id,
            asynchronous=record.asynchronous,
            generations=dict(record.generations),
            unparted_boot_id=record.unparted_boot_id,
            owes_copy=record.owes_copy,
            bits_gone=record.bits_gone,
            copied_for=record.copied_for,
            outgoing=record.outgoing,
            incoming=record.incoming,
            **self._newer.get(name, {}),
        )
        text = stored.model_dump_json(indent=1)
        try:
            replace_file(path, text.encode() + b"\n", 0o600, self._files)
        except OSError as error:
            raise PortError(f"cannot write the record {path}: {error}") from error

    def names(self) -> list[str]:
        """Resources with a record. Raises: PortError."""
        try:
            found = self._files.list_names(self.directory)
        except OSError as error:
            raise PortError(f"cannot list {self.directory}: {error}") from error
        return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))

    def forget(self, name: str) -> bool:
        """Delete a record; False if there is none. Only on a person's order."""
        path = self._path(name)
        try:
            self._files.unlink(path)
            self._files.sync_directory(self.directory)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise PortError(f"cannot delete the record {path}: {error}") from error
        return True

    def _path(self, name: str) -> Path:
        if not name or "/" in name or name.startswith("."):
            raise PortError(f"not a resource name: {name!r}")
        return self.directory / f"{name}{SUFFIX}"
