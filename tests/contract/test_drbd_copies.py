"""What DRBD does with bits that are left between two current replicas.

The peer's disk is changed behind DRBD's back, and a verification finds it: that leaves what a copy
that was forgotten leaves (docs/drbd.md).
"""

import asyncio

import pytest

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection, Role

from .drbd_pairs import WITHIN_S, Pair


def bits_left(state: DrbdState) -> bool:
    return state.in_sync and state.out_of_sync_bytes > 0


def equal(state: DrbdState) -> bool:
    """As DRBD says."""
    return state.in_sync and not state.out_of_sync_bytes


async def differ(pair: Pair) -> None:
    """In sync, A Primary, and by the bits B lacks one block."""
    text = pair.text.replace("    net {\n", "    net {\n        verify-alg crc32c;\n")
    pair.text = text
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.a.write()
    await pair.b.forget_block()
    await pair.a.verify()
    await pair.until(pair.a, bits_left)
    assert not await same_data(pair)


async def same_data(pair: Pair) -> bool:
    """As the disks below DRBD say."""
    return await pair.a.content() == await pair.b.content()


async def part_and_meet(pair: Pair) -> None:
    await pair.a.drbd.disconnect(pair.mirror)
    await pair.until(pair.a, lambda s: s.connection is Connection.STANDALONE)
    await pair.a.drbd.connect(pair.mirror, discard_my_data=False)
    await pair.until(pair.a, equal)
    await pair.until(pair.b, equal)


async def test_what_a_verification_found_outlasts_a_power_cut_at_both_ends(pair: Pair) -> None:
    """It is on their disks once it has ended."""
    await differ(pair)
    assert [await end.bits_on_disk() for end in (pair.a, pair.b)] == [1, 1]


async def test_both_ends_note_what_a_verification_found(pair: Pair) -> None:
    """Also the one that did not begin it, a Secondary; connected, and both UpToDate."""
    await differ(pair)
    found = await pair.until(pair.a, bits_left)
    told = await pair.until(pair.b, bits_left)
    assert told.role is Role.SECONDARY
    assert told.out_of_sync_bytes == found.out_of_sync_bytes


async def test_what_the_bits_say_is_copied_as_each_version_wants_it(pair: Pair) -> None:
    """8.4 by parting; 9 as it is told to, while they stay connected."""
    await differ(pair)
    if pair.major == 8:
        with pytest.raises(CommandFailed, match="connect it anew"):
            await pair.a.drbd.copy_to_peer(pair.mirror, whole=False)
        await part_and_meet(pair)
    else:
        await pair.a.drbd.copy_to_peer(pair.mirror, whole=False)
        await pair.until(pair.a, equal)
        await pair.until(pair.b, equal)
    assert await same_data(pair)
    assert await pair.a.times_asked() == 0


async def test_a_primary_that_parts_has_the_bits_copied_on_8_only(pair: Pair) -> None:
    """9 begins a generation with the next write. Parted without one, it clears the bits."""
    await differ(pair)
    await part_and_meet(pair)
    assert await same_data(pair) is (pair.major == 8)


async def test_bits_outlive_a_short_loss_of_the_link_on_8_only(pair: Pair) -> None:
    """At both ends. The Primary is frozen meanwhile, and nothing is written: 9 takes both for the
    same.
    """
    await differ(pair)
    await pair.cut()
    await pair.until(pair.a, lambda s: bool(s.suspended))
    await pair.until(pair.b, lambda s: not s.connected)
    await pair.heal()
    for site in (pair.a, pair.b):
        state = await pair.until(site, lambda s: s.in_sync)
        assert bool(state.out_of_sync_bytes) is (pair.major == 8)
    assert not await same_data(pair)


async def test_what_9_has_forgotten_is_copied_with_all_the_rest(pair: Pair) -> None:
    """As whole disks: nothing says any more what differs."""
    await differ(pair)
    await part_and_meet(pair)
    if pair.major == 8:
        with pytest.raises(CommandFailed, match="connect it anew"):
            await pair.a.drbd.copy_to_peer(pair.mirror, whole=True)
        return
    assert not await same_data(pair)
    await pair.a.drbd.copy_to_peer(pair.mirror, whole=True)
    async with asyncio.timeout(WITHIN_S):
        while not await same_data(pair):
            await pair.view(pair.a)
            await asyncio.sleep(0.05)
    await pair.until(pair.a, equal)
    await pair.until(pair.b, equal)
