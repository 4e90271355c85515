"""From when leadership counts, its own and another's, whatever a call takes."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from tandem_controller.decide.election import (
    LEASE_S,
    RENEW_INTERVAL_S,
    WAIT_S,
    Seen,
)
from tandem_controller.run.lead import Leadership

from .bench import STARTED_S, Bench


class Host(Bench):
    """A Lease in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = Seen("", None)
        self.leadership = Leadership(self.api, "one", cast(Any, self))

    async def read_election(self) -> Seen:
        await self._call("read")
        return self.lease

    async def renew_election(
        self, holder: str, version: str | None, transitions: int | None = None
    ) -> str:
        await self._call("renew")
        self.lease = Seen(holder, str(int(version or 0) + 1), transitions or 0)
        return str(self.lease.version)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.loop.discard()


def test_it_leads_from_before_its_renewal_was_sent(host: Host) -> None:
    """Others count from when they see it, which is no earlier."""
    host.takes_s = 0.5
    host.play(host.leadership.step(), 1.1)
    assert host.leadership.leads()
    host.run(0.5 + LEASE_S - 1.1 - 0.05)
    assert host.leadership.leads()
    host.run(0.1)
    assert not host.leadership.leads()


def test_anothers_time_counts_from_the_answer_that_showed_it(host: Host) -> None:
    host.takes_s, host.lease = 0.5, Seen("two", "7")
    host.play(host.leadership.run(), WAIT_S + 10.0)
    first_answer_s = STARTED_S + 0.5
    taken_s = next(at_s for at_s, name in host.calls if name == "renew")
    assert taken_s >= first_answer_s + WAIT_S
    assert taken_s <= first_answer_s + WAIT_S + RENEW_INTERVAL_S


def test_it_renews_at_its_pace_however_long_an_answer_takes(host: Host) -> None:
    host.takes_s = 0.2
    host.play(host.leadership.run(), 10.0)
    assert host.names.count("renew") == 10
