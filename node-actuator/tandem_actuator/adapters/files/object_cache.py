"""The last seen mirrors and guests of this host, kept across restarts of the actuator.

An actuator that is restarted while the API is away must still guard what runs here. It starts from
these copies; whatever is irreversible reads by quorum first, as ever. They live on a tmpfs: after
a reboot nothing runs here that would need them.
"""

import contextlib
import json
import logging
from pathlib import Path

from pydantic import ValidationError

from tandem_actuator.adapters.files.files import OS_FILES, FileSystem, make_directories, swap_file
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import Resource

log = logging.getLogger(__name__)


SUFFIX = ".json"


class ObjectCache:
    """One file per mirror in a directory. One writer at a time: the host's lock sees to that."""

    def __init__(self, directory: Path, files: FileSystem = OS_FILES) -> None:
        self._directory, self._files = directory, files
        self._stored: dict[str, tuple[Mirror, Guest | None]] = {}
        self._texts: dict[tuple[str, type[Resource]], tuple[Resource, str]] = {}
        self._paths: dict[str, Path] = {}
        make_directories(directory, 0o700, files)

    def load(self) -> list[tuple[Mirror, Guest | None]]:
        """All copies that can be read."""
        found = []
        for name in self._names():
            try:
                raw = json.loads(self._files.read(self._directory / name))
                guest = Guest.parse(raw["guest"]) if raw["guest"] else None
                found.append((Mirror.parse(raw["mirror"]), guest))
            except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
                log.warning("the copy %s cannot be read: %s", name, error)
        return found

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        """Replace the copy. One that cannot be written costs only sight after a restart.

        What this run has written already is not written again: every change of any object asks
        for all copies, and nearly all of them are as they were.
        """
        copy = (mirror, guest)
        if self._stored.get(mirror.drbd_name) == copy:
            return
        name = mirror.drbd_name
        told = self._text(name, guest) if guest else "null"
        text = f'{{"mirror": {self._text(name, mirror)}, "guest": {told}}}'
        with contextlib.suppress(OSError):
            swap_file(self._path(mirror), text.encode(), 0o600, self._files)
            self._stored[mirror.drbd_name] = copy

    def _names(self) -> list[str]:
        try:
            names = self._files.list_names(self._directory)
        except OSError as error:
            log.warning("the copies in %s cannot be read: %s", self._directory, error)
            return []
        return sorted(name for name in names if name.endswith(SUFFIX))

    def _path(self, mirror: Mirror) -> Path:
        name = mirror.drbd_name
        if name not in self._paths:
            self._paths[name] = self._directory / f"{name}{SUFFIX}"
        return self._paths[name]

    def _text(self, name: str, obj: Resource) -> str:
        """As ``wire`` has it, in half the time: this is done for every change of an object. Of a
        mirror and its guest one is as it was, mostly.
        """
        known, text = self._texts.get((name, type(obj)), (None, ""))
        if known is not obj:
            text = obj.model_dump_json(by_alias=True, exclude_none=True)
            self._texts[name, type(obj)] = obj, text
        return text
