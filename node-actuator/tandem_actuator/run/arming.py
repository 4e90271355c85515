"""The watchdog is armed, with the timeout in force, and tried again where it cannot be."""

import asyncio
import logging
from collections.abc import Callable

from tandem_actuator.ports import PortError
from tandem_actuator.ports.watchdog import Watchdog, WatchdogTooSlow
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.watchdog import NoWatchdog

log = logging.getLogger(__name__)


class Arming:
    """``wanted_s``: the timeout that the wanted timing has; ``deadline_s``: until when to feed."""

    def __init__(
        self,
        node: NodeFacts,
        watchdog: Watchdog,
        wanted_s: Callable[[], int],
        deadline_s: Callable[[], float],
    ) -> None:
        self._node, self._watchdog = node, watchdog
        self._wanted_s, self._deadline_s = wanted_s, deadline_s
        self.has_one = not isinstance(watchdog, NoWatchdog)
        node.watchdog_refused = not self.has_one

    @property
    def decided(self) -> bool:
        """Whether the host's watchdog is in this run's hands, or it is known why it is not."""
        return self._watchdog.armed or self._node.watchdog_refused

    async def run(self) -> None:
        """Arm the watchdog, with the timeout in force, and say whether it is.

        A shorter one is set as soon as it is wanted, a longer one once a heartbeat that says so is
        confirmed. One that is refused is tried again, also while the old one is in force.
        """
        asked_s, said = 0, ""
        while self.has_one:
            wanted_s = min(self._wanted_s(), self._node.timing.watchdog_seconds)
            if not self._watchdog.armed or asked_s != wanted_s:
                words = await self._arm(wanted_s)
                asked_s = 0 if words else wanted_s
                if words and words != said:
                    log.error("watchdog: %s; %s", words, self._in_force())
                elif not words:
                    log.info("watchdog armed: %d s", wanted_s)
                said = words
            self._node.watchdog_armed = self._watchdog.armed
            await asyncio.sleep(0.5)

    async def _arm(self, timeout_s: int) -> str:
        """What speaks against it. A keeper that was just started has nobody's deadline yet: it is
        told what is known at this moment, since the first looks may take longer than the timeout.
        """
        try:
            await self._watchdog.arm(timeout_s, self._deadline_s())
        except PortError as error:
            slow = error if isinstance(error, WatchdogTooSlow) else None
            self._node.watchdog_least_s = slow.least_s if slow else None
            self._node.watchdog_refused = True
            return str(error)
        self._node.watchdog_least_s, self._node.watchdog_refused = None, False
        return ""

    def _in_force(self) -> str:
        in_force_s = self._watchdog.timeout_s
        return "not armed" if in_force_s is None else f"{in_force_s} s stay in force"
