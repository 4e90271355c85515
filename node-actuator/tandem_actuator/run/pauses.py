"""The pauses between looks at DRBD: who would look soon does so with who looks now.

A look is for all resources at once, so hundreds that look at moments of their own cost hundreds of
looks. A pause never gets longer by that. Called by ``loop``.
"""

import asyncio
from dataclasses import dataclass

TOGETHER = 0.5
"""So much of a pause counts as soon, of the shorter one of two. Of any who look at one pace two are
no further apart than that, so all of them come together.
"""


@dataclass(eq=False)
class _Rest:
    """``ends_s``: on the loop's clock."""

    limit: asyncio.Timeout
    seconds: float
    ends_s: float
    joined: bool = False


class Pauses:
    """Of all mirrors of a host."""

    def __init__(self) -> None:
        self._resting: dict[_Rest, None] = {}  # in order: a set has another one each time

    async def rest(self, woken: asyncio.Event, seconds: float) -> bool:
        """Until something has woken it (→ True), or it is time to look again."""
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(seconds)
        rest = _Rest(limit, seconds, loop.time() + seconds)
        self._resting[rest] = None
        try:
            async with limit:
                return await woken.wait()
        except TimeoutError:
            if not rest.joined:
                self._join(loop.time(), seconds)
            return False
        finally:
            self._resting.pop(rest, None)

    def _join(self, now_s: float, seconds: float) -> None:
        """Once for all of them: who joins has nobody join in turn."""
        for rest in self._resting:
            soon_s = TOGETHER * min(seconds, rest.seconds)
            if not rest.joined and rest.ends_s <= now_s + soon_s:
                rest.joined = True
                if not rest.limit.expired():
                    rest.limit.reschedule(now_s)
