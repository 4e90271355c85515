"""A replica that resigns leads no more, whatever was under way, and leaves the Lease empty."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tandem_controller.clock import SystemClock
from tandem_controller.decide.election import Seen
from tandem_controller.ports import ApiConflict, ApiUnavailable
from tandem_controller.run.lead import Leadership


class FakeApi:
    """A Lease in memory. ``before_answer`` runs when a call has taken effect; it may fail it."""

    def __init__(self) -> None:
        self.lease = Seen("", None)
        self.before_answer: Callable[[str], None] = lambda call: None
        self.pause: dict[str, asyncio.Event] = {}
        self.reached = asyncio.Event()
        self.calls: list[str] = []

    async def read_election(self) -> Seen:
        found = self.lease
        await self._answer("read")
        return found

    async def renew_election(
        self, holder: str, version: str | None, transitions: int | None = None
    ) -> str:
        call = "renew" if holder else "give up"
        if version != self.lease.version:
            await self._answer(f"refused {call}")
            raise ApiConflict("another version")
        count = self.lease.transitions if transitions is None else transitions
        self.lease = Seen(holder, str(int(version or 0) + 1), count)
        await self._answer(call)
        return str(self.lease.version)

    async def _answer(self, call: str) -> None:
        self.calls.append(call)
        if call in self.pause:
            self.reached.set()
            await self.pause[call].wait()
        self.before_answer(call)


def leadership(api: FakeApi, name: str = "one") -> Leadership:
    whole: Any = api  # the election needs two calls of the port
    return Leadership(whole, name, SystemClock())


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


async def test_the_lease_is_given_up_and_the_next_takes_it_at_once(api: FakeApi) -> None:
    one, two = leadership(api), leadership(api, "two")
    await one.step()
    await two.step()
    assert (one.leads(), two.leads()) == (True, False)
    await one.resign()
    assert (one.leads(), api.lease.holder) == (False, "")
    await two.step()
    assert two.leads()
    assert api.lease == Seen("two", "3", 1)


async def test_it_does_not_lead_while_it_is_giving_up(api: FakeApi) -> None:
    one = leadership(api)
    await one.step()
    api.pause["give up"] = asyncio.Event()
    resigning = asyncio.create_task(one.resign())
    await asyncio.sleep(0)
    assert not one.leads()
    api.pause["give up"].set()
    await resigning


@pytest.mark.parametrize("call", ["read", "renew"])
async def test_a_call_under_way_brings_leadership_back_to_nobody(api: FakeApi, call: str) -> None:
    """Neither does a renewal that is answered late count, nor is the Lease left behind full."""
    one = leadership(api)
    if call == "read":
        await one.step()
    api.pause[call] = asyncio.Event()
    stepping = asyncio.create_task(one.step())
    await asyncio.wait_for(api.reached.wait(), 5)
    resigning = asyncio.create_task(one.resign())
    await asyncio.sleep(0)
    assert not one.leads()
    api.pause[call].set()
    await asyncio.gather(stepping, resigning)
    assert not one.leads()
    assert api.lease.holder == ""


async def test_a_renewal_whose_answer_was_lost_is_given_up_too(api: FakeApi) -> None:
    def lose_renewals(call: str) -> None:
        if call == "renew":
            raise ApiUnavailable("no answer")

    one = leadership(api)
    await one.step()
    api.before_answer = lose_renewals
    await one.step()
    await one.resign()
    assert api.lease.holder == ""
    assert api.calls[-3:] == ["refused give up", "read", "give up"]


async def test_who_does_not_hold_the_lease_leaves_it_alone(api: FakeApi) -> None:
    one, two = leadership(api), leadership(api, "two")
    await one.step()
    await two.step()
    before = api.lease
    await two.resign()
    assert api.lease == before


async def test_without_an_answer_it_stops_leading_all_the_same(api: FakeApi) -> None:
    def fail(call: str) -> None:
        raise ApiUnavailable("no answer")

    one = leadership(api)
    await one.step()
    api.before_answer = fail
    await one.resign()
    assert not one.leads()


async def test_a_step_after_the_end_takes_nothing(api: FakeApi) -> None:
    one = leadership(api)
    await one.resign()
    await one.step()
    assert (one.leads(), api.lease) == (False, Seen("", None))
