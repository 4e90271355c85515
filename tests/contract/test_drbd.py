"""What every Drbd port does: the same cases over the fake and over real DRBD in the lab."""

import asyncio

import pytest

from tandem_actuator.adapters.drbd.readable import KNOWN_FOR_S
from tandem_actuator.core.drbd import Metadata, NotConfigured
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection, DiskState, Role

from .drbd_pairs import LabSite, Pair


async def test_a_mirror_that_nothing_was_done_for_is_not_configured(pair: Pair) -> None:
    assert isinstance(await pair.view(pair.a), NotConfigured)


async def test_configure_says_whether_the_text_changed(pair: Pair) -> None:
    assert await pair.a.drbd.configure(pair.mirror, pair.text)
    assert not await pair.a.drbd.configure(pair.mirror, pair.text)


@pytest.mark.parametrize("text", ["nonsense\n", 'resource "other" {\n', ""])
async def test_configure_refuses_what_is_not_this_mirror(pair: Pair, text: str) -> None:
    """One file that cannot be read would break the handlers of all mirrors."""
    await pair.a.drbd.configure(pair.mirror, pair.text)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.configure(pair.mirror, text)
    assert not await pair.a.drbd.configure(pair.mirror, pair.text)


async def test_a_file_that_drbdadm_cannot_read_is_named(pair: Pair) -> None:
    """The kernel starts drbdadm for each question: with any such file nobody is asked."""
    await pair.a.drbd.configure(pair.mirror, pair.text)
    await pair.a.drbd.check_files()
    await pair.a.stray_file(True)
    try:
        await asyncio.sleep(KNOWN_FOR_S)
        with pytest.raises(CommandFailed, match=r"drbd\.d/stray\.res"):
            await pair.a.drbd.check_files()
    finally:
        await pair.a.stray_file(False)
    await asyncio.sleep(KNOWN_FOR_S)
    await pair.a.drbd.check_files()


async def test_metadata_is_made_once(pair: Pair) -> None:
    drbd, mirror = pair.a.drbd, pair.mirror
    await drbd.configure(mirror, pair.text)
    root, data = mirror.volume_names
    absent, present = Metadata.ABSENT, Metadata.PRESENT
    assert await drbd.metadata(mirror) == {root: absent, data: absent}
    await drbd.create_metadata(mirror, [data])
    assert await drbd.metadata(mirror) == {root: absent, data: present}
    await drbd.create_metadata(mirror, [root])
    with pytest.raises(CommandFailed):
        await drbd.create_metadata(mirror, [root])
    await drbd.attach(mirror)
    assert await drbd.metadata(mirror) == {root: present, data: present}


async def test_attach_does_not_connect_and_may_be_repeated(pair: Pair) -> None:
    drbd, mirror = pair.a.drbd, pair.mirror
    await drbd.configure(mirror, pair.text)
    await drbd.create_metadata(mirror, mirror.volume_names)
    for _ in range(2):
        await drbd.attach(mirror)
        state = await pair.until(pair.a, lambda s: True)
        assert state.connection is Connection.STANDALONE
        assert state.role is Role.SECONDARY
        assert {v.disk for v in state.volumes.values()} == {DiskState.INCONSISTENT}


async def test_brand_new_replicas_are_in_sync_without_a_resync(pair: Pair) -> None:
    await pair.bring_up()
    state = await pair.until(pair.b, lambda s: s.in_sync)
    assert set(state.volumes) == {volume.name for volume in pair.mirror.spec.volumes}
    assert not state.suspended


async def test_connect_may_be_repeated(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.connect(pair.mirror, discard_my_data=False)
    assert (await pair.until(pair.a, lambda s: True)).in_sync


async def test_both_see_a_promotion_and_a_demotion(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    assert (await pair.until(pair.a, lambda s: True)).role is Role.PRIMARY
    await pair.until(pair.b, lambda s: s.peer_role is Role.PRIMARY)
    with pytest.raises(CommandFailed):
        await pair.b.drbd.promote(pair.mirror, force=False)
    await pair.a.drbd.demote(pair.mirror)
    await pair.until(pair.b, lambda s: s.peer_role is Role.SECONDARY)
    assert await pair.a.times_asked() == 0


async def test_an_open_device_is_not_demoted(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.a.hold_open(True)
    try:
        with pytest.raises(CommandFailed):
            await pair.a.drbd.demote(pair.mirror)
    finally:
        await pair.a.hold_open(False)
    await pair.a.drbd.demote(pair.mirror)


async def test_an_inconsistent_replica_is_not_promoted(pair: Pair) -> None:
    await pair.a.drbd.configure(pair.mirror, pair.text)
    await pair.a.drbd.create_metadata(pair.mirror, pair.mirror.volume_names)
    await pair.a.drbd.attach(pair.mirror)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.promote(pair.mirror, force=False)


async def test_a_promotion_alone_asks_and_is_refused(pair: Pair) -> None:
    """8.4 asks four times, 9 once."""
    await pair.bring_up()
    await pair.cut()
    await pair.until(pair.a, lambda s: not s.connected)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.promote(pair.mirror, force=False)
    assert await pair.a.times_asked() == (4 if pair.major == 8 else 1)
    assert (await pair.until(pair.a, lambda s: True)).role is Role.SECONDARY


async def test_a_promotion_alone_succeeds_once_the_peer_is_fenced(pair: Pair) -> None:
    await pair.bring_up()
    await pair.cut()
    await pair.until(pair.a, lambda s: not s.connected)
    await pair.a.fence_answers(4)
    await pair.a.drbd.promote(pair.mirror, force=False)
    assert await pair.a.times_asked() == 1
    state = await pair.until(pair.a, lambda s: True)
    assert state.role is Role.PRIMARY
    assert {v.peer_disk for v in state.volumes.values()} == {DiskState.OUTDATED}


async def test_a_secondary_that_loses_the_link_asks_nobody(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    state = await pair.until(pair.b, lambda s: not s.connected)
    assert not state.suspended
    assert await pair.b.times_asked() == 0


async def test_a_primary_that_loses_the_link_stays_frozen_unless_told(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    await pair.until(pair.a, lambda s: bool(s.suspended))
    await pair.until_asked(pair.a)
    await asyncio.sleep(0.3)
    state = await pair.until(pair.a, lambda s: True)
    assert state.suspended
    assert {v.peer_disk for v in state.volumes.values()} == {DiskState.UNKNOWN}


async def test_a_frozen_primary_goes_on_by_itself_when_the_link_is_back(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    await pair.until(pair.a, lambda s: bool(s.suspended))
    await pair.heal()
    state = await pair.until(pair.a, lambda s: s.in_sync)
    assert not state.suspended


async def test_a_generation_begins_before_a_primary_writes_alone_and_ends_in_both(
    pair: Pair,
) -> None:
    """And not before it is told that it may: a reboot finds the one that both have."""
    await pair.bring_up()
    a, b, mirror = pair.a.drbd, pair.b.drbd, pair.mirror
    both = await a.generations(mirror)
    assert set(both) == set(mirror.volume_names)
    assert both == await b.generations(mirror)
    assert not any(volume.parted for volume in both.values())

    await a.promote(mirror, force=False)
    await pair.cut()
    await pair.until_asked(pair.a)
    assert await a.generations(mirror) == both

    await pair.a.fence_answers(4)
    await a.disconnect(mirror)
    await a.connect(mirror, discard_my_data=False)
    await pair.until(pair.a, lambda s: not s.connected and not s.suspended)
    alone = await a.generations(mirror)
    assert all(volume.parted for volume in alone.values())
    assert not {v.current for v in alone.values()} & {v.current for v in both.values()}
    assert await b.generations(mirror) == both

    await pair.heal()
    await pair.until(pair.b, lambda s: s.in_sync)
    await pair.until(pair.a, lambda s: s.in_sync)
    again = await a.generations(mirror)
    assert again == await b.generations(mirror)
    assert not any(volume.parted for volume in again.values())
    assert {n: v.current for n, v in again.items()} == {n: v.current for n, v in alone.items()}


async def test_a_device_without_metadata_has_no_generation(pair: Pair) -> None:
    await pair.a.drbd.configure(pair.mirror, pair.text)
    with pytest.raises(CommandFailed):
        await pair.a.drbd.generations(pair.mirror)


async def test_a_granted_primary_writes_alone_and_the_peer_catches_up(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.a.fence_answers(4)
    await pair.cut()
    await pair.until(pair.a, lambda s: not s.connected and not s.suspended)
    await pair.a.write()
    state = await pair.until(pair.a, lambda s: s.volumes["root"].out_of_sync_bytes > 0)
    assert {v.peer_disk for v in state.volumes.values()} == {DiskState.OUTDATED}
    await pair.heal()
    assert (await pair.until(pair.a, lambda s: s.in_sync)).role is Role.PRIMARY
    await pair.until(pair.b, lambda s: s.in_sync)


async def test_a_frozen_primary_asks_again_when_it_is_disconnected(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    await pair.until(pair.a, lambda s: bool(s.suspended))
    await pair.until_asked(pair.a)
    await asyncio.sleep(0.5)  # its answer is on the way to the kernel
    await pair.a.fence_answers(4)
    await pair.a.drbd.disconnect(pair.mirror)
    state = await pair.until(pair.a, lambda s: not s.suspended)
    assert state.connection is Connection.STANDALONE
    await pair.until_asked(pair.a)


async def test_a_frozen_primary_can_be_thawed_by_hand(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    await pair.until(pair.a, lambda s: bool(s.suspended))
    await pair.until_asked(pair.a)
    await asyncio.sleep(0.5)
    await pair.a.drbd.resume_io(pair.mirror)
    assert not (await pair.until(pair.a, lambda s: True)).suspended
    await pair.a.drbd.demote(pair.mirror)


async def test_a_graceful_disconnect_of_a_primary_outdates_the_peer(pair: Pair) -> None:
    """And asks nobody: this is why rule 9 wants the compare-and-swap before it."""
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.a.drbd.disconnect(pair.mirror)
    state = await pair.until(pair.b, lambda s: not s.connected)
    assert {v.disk for v in state.volumes.values()} == {DiskState.OUTDATED}
    assert not (await pair.until(pair.a, lambda s: True)).suspended
    assert await pair.a.times_asked() == 0


async def test_disconnect_may_be_repeated(pair: Pair) -> None:
    await pair.bring_up()
    for _ in range(2):
        await pair.a.drbd.disconnect(pair.mirror)
        assert (await pair.until(pair.a, lambda s: True)).connection is Connection.STANDALONE


async def test_replicas_that_both_wrote_alone_do_not_connect(pair: Pair) -> None:
    await pair.bring_up()
    await pair.cut()
    for site in (pair.a, pair.b):
        await pair.until(site, lambda s: not s.connected)
        await site.fence_answers(4)
        await site.drbd.promote(pair.mirror, force=False)
        await site.write()
        await site.drbd.demote(pair.mirror)
    await pair.heal()
    alone = [
        asyncio.create_task(pair.until(site, lambda s: s.connection is Connection.STANDALONE))
        for site in (pair.a, pair.b)
    ]
    done, waiting = await asyncio.wait(alone, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    assert next(iter(done)).result()
    assert Connection.CONNECTED not in await connections(pair), "one of them may go on trying"


async def connections(pair: Pair) -> list[Connection]:
    return [(await pair.until(site, lambda _: True)).connection for site in (pair.a, pair.b)]


async def test_the_loser_of_a_split_brain_rejoins_by_discarding_its_data(pair: Pair) -> None:
    await test_replicas_that_both_wrote_alone_do_not_connect(pair)
    for site in (pair.a, pair.b):
        await site.drbd.disconnect(pair.mirror)
    await pair.b.drbd.connect(pair.mirror, discard_my_data=True)
    await pair.a.drbd.connect(pair.mirror, discard_my_data=False)
    await pair.until(pair.a, lambda s: s.in_sync)
    await pair.until(pair.b, lambda s: s.in_sync)


async def test_what_is_written_is_in_force(pair: Pair) -> None:
    """Nothing that ``drbdadm adjust`` would still do, also after somebody changed it by hand."""
    await pair.bring_up()
    name = pair.mirror.drbd_name
    for site in (pair.a, pair.b):
        real = isinstance(site, LabSite)
        if real:
            assert await site.shell(f"drbdadm --dry-run adjust {name}") == ""
        if real and pair.major >= 9:
            by_hand = "--quorum=majority --auto-promote=yes"
            await site.shell(f"drbdsetup resource-options {name} {by_hand}")
        await site.drbd.adjust(pair.mirror)
        if real:
            assert await site.shell(f"drbdadm --dry-run adjust {name}") == ""
    assert (await pair.until(pair.a, lambda s: True)).in_sync


async def test_only_nine_copies_when_it_is_told_to(pair: Pair) -> None:
    """And it knows of nothing to copy here. 8.4 would copy whole disks."""
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    refused = "of nothing that its peer lacks" if pair.major >= 9 else "connect it anew"
    with pytest.raises(CommandFailed, match=refused):
        await pair.a.drbd.copy_to_peer(pair.mirror, whole=False)
    assert (await pair.until(pair.a, lambda s: True)).in_sync


async def test_versions_name_both_parts(pair: Pair) -> None:
    assert set(await pair.a.drbd.versions()) == {"drbd", "drbd-utils"}


@pytest.mark.replication("A")
async def test_an_asynchronous_primary_that_loses_the_link_asks_and_goes_on(pair: Pair) -> None:
    """DRBD does not freeze with protocol A: acknowledged writes may be missing there anyway."""
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    await pair.until(pair.a, lambda s: not s.connected)
    await pair.until_asked(pair.a)
    await pair.a.write()
    state = await pair.until(pair.a, lambda s: s.volumes["root"].out_of_sync_bytes > 0)
    assert not state.suspended
    await pair.heal()
    await pair.until(pair.a, lambda s: s.in_sync)
    await pair.until(pair.b, lambda s: s.in_sync)


@pytest.mark.replication("A")
async def test_an_asynchronous_primary_is_told_that_its_peer_is_out(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.a.fence_answers(4)
    await pair.cut()
    await pair.until_asked(pair.a)
    state = await pair.until(
        pair.a, lambda s: {v.peer_disk for v in s.volumes.values()} == {DiskState.OUTDATED}
    )
    assert not state.suspended


@pytest.mark.replication("A")
async def test_an_asynchronous_promotion_alone_asks_too(pair: Pair) -> None:
    await pair.bring_up()
    await pair.cut()
    await pair.until(pair.b, lambda s: not s.connected)
    with pytest.raises(CommandFailed):
        await pair.b.drbd.promote(pair.mirror, force=False)
    await pair.b.fence_answers(4)
    await pair.b.drbd.promote(pair.mirror, force=False)


@pytest.mark.replication("B")
async def test_protocol_b_freezes_as_c_does(pair: Pair) -> None:
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    await pair.cut()
    await pair.until(pair.a, lambda s: bool(s.suspended))
