"""Two Primaries, as the simulated DRBD and real kernels allow and forbid them."""

import asyncio

import pytest

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection, Role

from .drbd_pairs import Pair


async def both_primary(pair: Pair) -> None:
    """By somebody who allowed it by hand."""
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.b.allow_two_primaries()
    await pair.b.drbd.promote(pair.mirror, force=False)
    await pair.until(pair.a, lambda s: s.peer_role is Role.PRIMARY)


async def test_two_primaries_that_somebody_allowed_are_forbidden_again(pair: Pair) -> None:
    await both_primary(pair)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.adjust(pair.mirror)
    await pair.b.drbd.demote(pair.mirror)
    await pair.until(pair.a, lambda s: s.peer_role is Role.SECONDARY)
    await pair.a.drbd.adjust(pair.mirror)
    with pytest.raises(CommandFailed):
        await pair.b.drbd.promote(pair.mirror, force=False)


async def test_two_primaries_are_forbidden_at_both_ends_in_one_call(pair: Pair) -> None:
    await both_primary(pair)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.forbid_two_primaries(pair.mirror)
    await pair.a.drbd.demote(pair.mirror)
    await pair.a.drbd.forbid_two_primaries(pair.mirror)
    await pair.a.drbd.forbid_two_primaries(pair.mirror)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.b.drbd.demote(pair.mirror)
    await pair.until(pair.a, lambda s: s.peer_role is Role.SECONDARY)
    await pair.a.drbd.promote(pair.mirror, force=False)
    with pytest.raises(CommandFailed):
        await pair.b.drbd.promote(pair.mirror, force=False)


async def test_ends_that_do_not_both_allow_two_primaries_do_not_connect(pair: Pair) -> None:
    await pair.bring_up()
    await pair.cut()
    await pair.until(pair.a, lambda s: not s.connected)
    await pair.until(pair.b, lambda s: not s.connected)
    await pair.a.allow_two_primaries()
    await pair.heal()

    async def alone() -> None:
        while True:
            for site in (pair.a, pair.b):
                view = await pair.view(site)
                if isinstance(view, DrbdState) and view.connection is Connection.STANDALONE:
                    return
            await asyncio.sleep(0.2)

    await asyncio.wait_for(alone(), 60.0)
    for site in (pair.a, pair.b):
        await site.drbd.adjust(pair.mirror)
        await site.drbd.connect(pair.mirror, discard_my_data=False)
    await pair.until(pair.a, lambda s: s.in_sync)
