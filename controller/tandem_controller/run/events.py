"""Events on their way to the API server: a queue that never makes a decision wait.

Filled by ``execute``, emptied by ``run``. An event that cannot be written is logged and dropped.
"""

import asyncio
import logging

from tandem_api.meta import ObjectKey
from tandem_controller.decide.world.model import Notice
from tandem_controller.ports import Api, ApiError

log = logging.getLogger(__name__)

LIMIT = 2000
WRITERS = 2


class EventQueue:
    """Bounded; what does not fit is dropped."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._queue: asyncio.Queue[tuple[str, ObjectKey, str, Notice]] = asyncio.Queue(LIMIT)

    def put(self, kind: str, key: ObjectKey, uid: str, notice: Notice) -> None:
        """Never waits."""
        try:
            self._queue.put_nowait((kind, key, uid, notice))
        except asyncio.QueueFull:
            log.warning("event dropped: %s=%s reason=%s", kind, key, notice.reason)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._write())

    async def _write(self) -> None:
        while True:
            kind, key, uid, notice = await self._queue.get()
            try:
                await self._api.event(kind, key, uid, notice.warning, notice.reason, notice.message)
            except ApiError as error:
                log.info("event not written: %s=%s: %s", kind, key, error)
            except Exception:  # a wall: it costs this event alone
                log.exception("bug: event not written: %s=%s", kind, key)
