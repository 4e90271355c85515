"""Follows ``drbdsetup events2``: who changed, and which device numbers belong to whom.

The stream is restarted by itself for ever. Nobody takes a resource's state from it: it wakes, and
it tells the order of what happened. While it is ``live``, its knowledge of device numbers is
complete; a reader of ``/proc/drbd`` needs it to know whose device it looks at. Called by
``adapters.drbd``.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator

from tandem_actuator.adapters.drbd.text import Event, parse_event
from tandem_actuator.adapters.linux.process import SEARCH_PATH, abandon
from tandem_actuator.ports.drbd import DrbdEvent

log = logging.getLogger(__name__)

RESTART_PAUSE_S = 0.5
READ_EVERYTHING = DrbdEvent("")


class EventStream:
    """One long-lived ``events2`` program."""

    def __init__(self, setup: str) -> None:
        self._command = [setup, "events2"]
        self._owner_of: dict[int, str] = {}
        self._minors_of: dict[str, set[int | None]] = {}
        self.live = False

    def minors_of(self, name: str) -> set[int | None]:
        """The device numbers of a resource. Meaningful only while ``live``."""
        return self._minors_of.get(name, set())

    async def follow(self) -> AsyncIterator[DrbdEvent]:
        """Changes, for ever. An empty name means that anything may have changed."""
        while True:
            try:
                async for event in self._follow_once():
                    yield event
            except OSError as error:
                log.warning("events2 does not start: %s", error)
            self.live = False
            yield READ_EVERYTHING
            await asyncio.sleep(RESTART_PAUSE_S)

    async def _follow_once(self) -> AsyncIterator[DrbdEvent]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"},
            start_new_session=True,
        )
        assert process.stdout is not None
        self._owner_of.clear()
        self._minors_of.clear()
        try:
            async for line in process.stdout:
                event = parse_event(line.decode(errors="replace"))
                if event is None:
                    continue
                if event.skipped:
                    log.warning("events2 lost events; starting it again")
                    return
                yield self._take(event)
            log.warning("events2 ended; starting it again")
        finally:
            self.live = False
            abandon(process)

    def _take(self, event: Event) -> DrbdEvent:
        if event.kind == "-":
            self.live = True  # the first dump is complete
            return READ_EVERYTHING
        if event.action == "rename":
            self.live = False  # for good: device numbers keep the old name until a restart
        if event.kind == "device" and "minor" in event.fields:
            self._own(int(event.fields["minor"]), "" if event.action == "destroy" else event.name)
        return DrbdEvent(
            event.name,
            was_connected=event.says_connected,
            was_behind=event.says_behind,
            role=event.role_of("resource"),
            peer_role=event.role_of("connection"),
            lost=event.says_lost,
        )

    def _own(self, minor: int, name: str) -> None:
        """It belongs to this resource from now on, or to none."""
        before = self._owner_of.pop(minor, None)
        if before is not None:
            self._minors_of[before].discard(minor)
        if name:
            self._owner_of[minor] = name
            self._minors_of.setdefault(name, set()).add(minor)
