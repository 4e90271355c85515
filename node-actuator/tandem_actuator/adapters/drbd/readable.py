"""Whether drbdadm can read its files. Asked before each claim; called by ``adapters.drbd``."""

import asyncio

from tandem_actuator.adapters.drbd.tools import COMMAND_TIMEOUT_S
from tandem_actuator.adapters.linux.process import Finished, run
from tandem_actuator.ports import Clock

KNOWN_FOR_S = 2.0
"""It reads all files, so of many guests that are taken over at once not each asks anew."""


class Readable:
    """One program at a time, and its answer for all who ask meanwhile or soon after."""

    def __init__(self, adm: str, clock: Clock) -> None:
        self._adm, self._clock = adm, clock
        self._lock = asyncio.Lock()
        self._answer: Finished | None = None
        self._asked_at_s = 0.0

    async def check(self) -> None:
        """Raises: CommandFailed: what drbdadm said, with the file and the place."""
        async with self._lock:
            now_s = self._clock.boottime_s()
            if self._answer is None or now_s - self._asked_at_s > KNOWN_FOR_S:
                self._asked_at_s, self._answer = now_s, None  # one that does not end is no answer
                self._answer = await run([self._adm, "sh-nop"], timeout_s=COMMAND_TIMEOUT_S)
        self._answer.check()
