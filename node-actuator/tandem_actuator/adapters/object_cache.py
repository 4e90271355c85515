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

from tandem_api.guest import Guest
from tandem_api.mirror import Mirror

log = logging.getLogger(__name__)


class ObjectCache:
    """One file per mirror in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> list[tuple[Mirror, Guest | None]]:
        """All copies that can be read."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                raw = json.loads(path.read_text())
                guest = Guest.parse(raw["guest"]) if raw["guest"] else None
                found.append((Mirror.parse(raw["mirror"]), guest))
            except (OSError, ValueError, KeyError, ValidationError) as error:
                log.warning("the copy %s cannot be read: %s", path.name, error)
        return found

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        """Replace the copy. One that cannot be written costs only sight after a restart."""
        path = self._directory / f"{mirror.drbd_name}.json"
        temporary = path.with_suffix(".new")
        raw = {"mirror": mirror.wire(), "guest": guest.wire() if guest else None}
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(raw))
            temporary.replace(path)

    def drop(self, mirror: Mirror) -> None:
        """Forget the copy."""
        with contextlib.suppress(OSError):
            (self._directory / f"{mirror.drbd_name}.json").unlink(missing_ok=True)
