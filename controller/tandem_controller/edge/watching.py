"""Keeps the store fed: begins what watches all kinds, and begins it anew when it is dead.

``handlers`` has kopf watch; whether its watches are alive is decided by ``decide.watches``. Each
beginning has a number: one that did not end when it was asked to is not listened to any more.
"""

import asyncio
import logging
from collections.abc import Callable

from tandem_base.waits import set_within
from tandem_controller.decide import watches
from tandem_controller.decide.watches import Restart
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import KINDS, Clock, Raw, Watchers
from tandem_controller.run.store import Store, key_of, version_of

log = logging.getLogger(__name__)

LOOK_S = 0.5
AGAIN_S = (1.0, 30.0)
"""Between two beginnings; it doubles from the first to the last."""
LIVED_S = 60.0
EXIT_TIMEOUT_S = 4.0
"""Then what was to end is left to itself."""


class Watching:
    """The watchers, as often as it takes, and what is known of their watches."""

    def __init__(self, store: Store, watchers: Watchers, metrics: Metrics, clock: Clock) -> None:
        self._store, self._watchers, self._metrics = store, watchers, metrics
        self._now_s = clock.monotonic_s
        self._watches = dict(watches.begun(KINDS, self._now_s()))
        self._beginnings = 0

    # -- what is seen of the watches

    def told(self, kind: str) -> int:
        """The newest version that a watch has told."""
        return self._watches[kind].told

    def take(self, kind: str, gone: bool, raw: Raw) -> None:
        """A watch has told this."""
        self._watches[kind] = watches.told(self._watches[kind], version_of(raw), self._now_s())
        if gone:
            self._store.remove(kind, key_of(raw))
        else:
            self._store.put(kind, raw)

    def listed(self, kind: str, told_before: int, newest: int, version: int) -> None:
        """A list was answered; see ``watches.listed``."""
        self._watches[kind] = watches.listed(
            self._watches[kind], told_before, newest, version, self._now_s()
        )

    def opened(self, kind: str) -> None:
        """The server has answered to a watch."""
        self._watches[kind], ending = watches.opened(self._watches[kind], self._now_s())
        if ending is not None:
            self._restarted(kind, ending)

    def _restarted(self, kind: str, why: Restart) -> None:
        log.warning("watch of %s begun anew: %s", kind, why)
        self._metrics.watch_restarted(kind, why)

    # -- the watchers

    async def run(self, stop: asyncio.Event, reachable: Callable[[], bool]) -> None:
        """Until ``stop`` is set.

        ``reachable``: whether the server answers; an outage is not held against the watchers.
        """
        delay_s = AGAIN_S[0]
        while not stop.is_set():
            began_s = self._now_s()
            self._watches = dict(watches.begun(KINDS, began_s))
            await self._run_once(stop, reachable)
            if self._now_s() - began_s > LIVED_S:
                delay_s = AGAIN_S[0]
            await set_within(stop, delay_s)
            delay_s = min(2 * delay_s, AGAIN_S[1])

    async def _run_once(self, stop: asyncio.Event, reachable: Callable[[], bool]) -> None:
        """Until ``stop`` is set, or the watchers gave up, or their watches are found dead."""
        self._beginnings += 1
        number = self._beginnings

        def told(kind: str, gone: bool, raw: Raw) -> None:
            if number == self._beginnings:
                self.take(kind, gone, raw)

        def opened(kind: str) -> None:
            if number == self._beginnings:
                self.opened(kind)

        watcher = self._watchers.begin(told, opened)
        try:
            while not stop.is_set() and not watcher.ended.done():
                dead = watches.failure(self._watches, self._now_s())
                if dead is not None and reachable():
                    self._restarted(*dead)
                    break
                await set_within(stop, LOOK_S)
        finally:
            gave_up = watcher.ended.done()
            watcher.stop()
            await asyncio.wait([watcher.ended], timeout=EXIT_TIMEOUT_S)
        if gave_up:
            log.error("the watches were given up: %s", watcher.ended.result())
            self._metrics.watch_restarted("", Restart.FAILED)
