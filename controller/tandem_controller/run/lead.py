"""Keeps this replica's part in the election: reads the Lease, renews it, gives it up at the end.

The rules are in ``decide.election``; here are the clock and the calls. ``leads`` is asked right
before every write. Called by ``loop``.
"""

import asyncio
import logging

from tandem_controller.decide import election
from tandem_controller.decide.election import Election, Follow, Renew
from tandem_controller.ports import Api, ApiConflict, ApiError, Clock

log = logging.getLogger(__name__)

GIVE_UP_TRIES = 3


class Leadership:
    """One replica's leadership."""

    def __init__(self, api: Api, identity: str, clock: Clock) -> None:
        self._api, self._now_s = api, clock.monotonic_s
        self._state = Election(identity)
        self._led = self._resigned = False
        self._calling = asyncio.Lock()

    def leads(self) -> bool:
        """Whether this replica leads, now. Once it has resigned it never does again."""
        return not self._resigned and self._state.leads(self._now_s())

    async def run(self) -> None:
        """For ever: one step, then wait for the rest of the interval."""
        while True:
            began_s = self._now_s()
            await self.step()
            spent_s = self._now_s() - began_s
            await asyncio.sleep(max(0.05, election.RENEW_INTERVAL_S - spent_s))

    async def step(self) -> None:
        """Read, and renew or take over what is free. A failure changes nothing: time does."""
        try:
            async with self._calling:
                await self._read()
                await self._act()
        except ApiConflict:
            log.info("election: another replica was quicker")
        except ApiError as error:
            log.warning("election: %s", error)
        self._tell()

    async def _read(self) -> None:
        seen = await self._api.read_election()
        self._state = election.observe(self._state, seen, self._now_s())

    async def _act(self) -> None:
        if self._resigned:
            return
        match election.next_step(self._state, self._now_s()):
            case Renew(version, transitions):
                sent_s = self._now_s()
                new = await self._api.renew_election(self._state.identity, version, transitions)
                self._state = election.renewed(self._state, new, sent_s, self._now_s())
            case Follow():
                self._state = election.resigned(self._state)

    async def resign(self) -> None:
        """Stop leading at once and for good, and let another replica begin at once."""
        self._resigned = True
        self._tell()
        try:
            # A call that is under way is waited for: it may bring the Lease, or change its version.
            async with self._calling:
                await self._give_up()
        except ApiError as error:
            log.info("election: could not give it up: %s", error)

    async def _give_up(self) -> None:
        """Empty the Lease if it is held here, also if a renewal's answer had been lost."""
        for _ in range(GIVE_UP_TRIES):
            seen = self._state.seen
            if seen is None or seen.holder != self._state.identity:
                return
            try:
                await self._api.renew_election("", seen.version)
                log.info("election: given up")
                return
            except ApiConflict:
                await self._read()

    def _tell(self) -> None:
        if self.leads() != self._led:
            self._led = not self._led
            log.info("election: %s", "leading" if self._led else "not leading any more")
