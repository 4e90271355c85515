"""What TCP tells of DRBD's connections. Who lives on a link, and who takes over, count by it."""

from collections.abc import Mapping

import pytest

from sim.network import tcp
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.packets import LEAST_BYTES
from tandem_actuator.core.sockets import Socket
from tandem_api.timing import DEFAULT

from .drbd_pairs import Pair


def by_cookie(state: DrbdState) -> Mapping[int, Socket]:
    return {one.cookie: one for one in state.sockets or ()}


@pytest.fixture
async def linked(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Connected and in sync, A Primary, and nothing is written. In the simulator some closed
    sockets are gone at once; here none is.
    """
    monkeypatch.setattr(tcp, "GONE_AT_ONCE", 0.0)
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.until(pair.b, lambda s: s.connected)
    return pair


@pytest.mark.parametrize("end", ["a", "b"])
async def test_an_idle_link_carries_packets_often_enough(linked: Pair, end: str) -> None:
    """From either end: a look is proven before its date is over."""
    site = linked.a if end == "a" else linked.b
    first = await linked.until(site, lambda s: bool(s.sockets))
    sent = {cookie: one.sent for cookie, one in by_cookie(first).items()}
    assert all(one.receives for one in by_cookie(first).values())

    def proven(state: DrbdState) -> bool:
        found = by_cookie(state)
        return any(
            found[key].arrived >= bytes_ + LEAST_BYTES
            for key, bytes_ in sent.items()
            if key in found
        )

    later = await linked.until(site, proven)
    assert later.queried_at_s - first.queried_at_s < DEFAULT.link_lasts_s


async def test_a_lost_link_leaves_closed_sockets_that_date_the_last_packet(linked: Pair) -> None:
    """Well before DRBD noticed."""
    before = by_cookie(await linked.until(linked.b, lambda s: bool(s.sockets)))
    await linked.cut()

    def closed(state: DrbdState) -> bool:
        found = by_cookie(state)
        return not state.connected and not any(one.receives for one in found.values())

    after = await linked.until(linked.b, closed)
    found = by_cookie(after)
    assert before.keys() <= found.keys()
    heard_s = max(found[key].heard_at_s for key in before)
    assert heard_s < after.queried_at_s - 0.2
    assert heard_s >= max(one.heard_at_s for one in before.values()) - 0.1


async def test_after_it_is_back_there_are_others(linked: Pair) -> None:
    before = by_cookie(await linked.until(linked.a, lambda s: bool(s.sockets)))
    await linked.a.fence_answers(4)
    await linked.cut()
    await linked.until(linked.a, lambda s: not s.connected)
    await linked.heal()
    back = await linked.until(
        linked.a, lambda s: s.connected and any(one.receives for one in s.sockets or ())
    )
    assert not {key for key, one in by_cookie(back).items() if one.receives} & before.keys()
