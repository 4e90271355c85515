"""Keeps this replica's part in the election: reads the Lease, renews it, gives it up at the end.

The rules are in ``decide.election``; here are the clock and the calls. ``leads`` is asked right
before every write. Called by ``loop``.
"""

import asyncio
import logging
import time

from tandem_controller.decide import election
from tandem_controller.decide.election import Election, Follow, Renew
from tandem_controller.ports import Api, ApiConflict, ApiError

log = logging.getLogger(__name__)


class Leadership:
    """One replica's leadership."""

    def __init__(self, api: Api, identity: str) -> None:
        self._api = api
        self._state = Election(identity)
        self._led = False

    def leads(self) -> bool:
        """Whether this replica leads, now."""
        return self._state.leads(time.monotonic())

    async def run(self) -> None:
        """For ever: one step, then wait for the rest of the interval."""
        while True:
            began_s = time.monotonic()
            await self.step()
            spent_s = time.monotonic() - began_s
            await asyncio.sleep(max(0.05, election.RENEW_INTERVAL_S - spent_s))

    async def step(self) -> None:
        """Read, and renew or take over what is free. A failure changes nothing: time does."""
        try:
            seen = await self._api.read_election()
            self._state = election.observe(self._state, seen, time.monotonic())
            match election.next_step(self._state, time.monotonic()):
                case Renew(version, acquired):
                    await self._renew(version, acquired)
                case Follow():
                    self._state = election.resigned(self._state)
        except ApiConflict:
            log.info("election: another replica was quicker")
        except ApiError as error:
            log.warning("election: %s", error)
        self._tell()

    async def _renew(self, version: str | None, acquired: bool) -> None:
        sent_s = time.monotonic()
        new = await self._api.renew_election(self._state.identity, version, acquired)
        self._state = election.renewed(self._state, new, sent_s, time.monotonic())

    async def resign(self) -> None:
        """Stop leading at once, and let another replica begin at once."""
        seen, led = self._state.seen, self.leads()
        self._state = election.resigned(self._state)
        if led and seen is not None:
            try:
                await self._api.renew_election("", seen.version, acquired=False)
            except ApiError as error:
                log.info("election: could not give it up: %s", error)
        self._tell()

    def _tell(self) -> None:
        if self.leads() != self._led:
            self._led = not self._led
            log.info("election: %s", "leading" if self._led else "not leading any more")
