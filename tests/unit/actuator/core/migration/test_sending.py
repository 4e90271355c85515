"""What a host does, step by step, that sends its guest; and that the first failure ends it."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView
from tandem_actuator.core.migration import sending
from tandem_actuator.core.mirror.transaction import UnexpectedOutcome
from tandem_actuator.core.model import MigrationNote
from tandem_api.authority import Authority, Migration, Mode
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import HERE, THERE, A, B, authority, drbd, frozen, record

from ..outside import Outside, play
from .scenes import BOTH, HANDED, OUT, UNDER_WAY, M, source, telling

FAILED = fx.Failed("no")
GONE, OVER = replace(OUT, gone=True), replace(OUT, over=True)
PRIMARY, SECONDARY = drbd(Role.PRIMARY), drbd(Role.SECONDARY, peer_role=Role.PRIMARY)
ALONE = drbd(Role.PRIMARY, Connection.CONNECTING)
SWAPPED = ["ReadMirror", "QueryDrbd", "Swap", "UpdateRecord"]
NO_DOMAIN: dict[type, list[fx.Outcome]] = {fx.QueryDomain: [fx.DomainRead(DomainState.ABSENT)]}


def outside(held_by: Authority = UNDER_WAY, state: DrbdView = BOTH, /, **script: object) -> Outside:
    """``script``: the answers to each effect, by its name."""
    answers = {getattr(fx, name): [outcome] for name, outcome in script.items()}
    return Outside(telling(held_by), state, script=answers)  # type: ignore[arg-type]


def noted(effect: fx.Effect) -> MigrationNote | None:
    assert isinstance(effect, fx.UpdateRecord)
    assert not isinstance(effect.outgoing, fx.Keep), "it notes nothing of a migration"
    return effect.outgoing


def now(at: Mirror) -> Authority:
    held_by = at.status.authority
    assert held_by is not None
    return held_by


class TestBegin:
    def begin(self, world: Outside) -> fx.Finished:
        return play(sending.begin(source(None, authority(), drbd=PRIMARY)), world)

    def test_first_the_authority_then_the_note_then_drbd(self) -> None:
        world = outside(authority(), PRIMARY)
        finished = self.begin(world)
        assert (finished.reason, finished.failed) == (Reason.MIGRATING, False)
        assert world.names == [*SWAPPED, "UpdateRecord", "Configure", "Adjust"]
        assert noted(world.done[4]) == MigrationNote("r1", str(HERE), 1000.0)
        assert now(world.at).migration == Migration(id="r1", source=A, target=B, by_events=True)
        assert world.effects(fx.Configure) == [fx.Configure(apply=True)]

    @pytest.mark.parametrize(
        ("step", "done"),
        [
            ("Swap", ["ReadMirror", "QueryDrbd", "Swap"]),
            ("UpdateRecord", SWAPPED),
            ("Configure", [*SWAPPED, "UpdateRecord", "Configure"]),
            ("Adjust", [*SWAPPED, "UpdateRecord", "Configure", "Adjust"]),
        ],
    )
    def test_the_first_failure_ends_it(self, step: str, done: list[str]) -> None:
        world = outside(authority(), PRIMARY, **{step: FAILED})
        assert self.begin(world).reason is Reason.EFFECT_FAILED
        assert world.names == done

    def test_nothing_is_allowed_unread(self) -> None:
        world = outside(authority(), PRIMARY, ReadMirror=fx.Unreachable("away"))
        assert self.begin(world).reason is Reason.API_UNREACHABLE
        assert world.names == ["ReadMirror"]

    def test_it_looks_again_before_it_swaps(self) -> None:
        world = outside(authority(), drbd(Role.PRIMARY, resyncing=True))
        assert self.begin(world).reason is Reason.NOT_YET_IN_SYNC
        assert world.names == ["ReadMirror", "QueryDrbd"]

    def test_a_host_without_the_guests_object_has_no_order(self) -> None:
        world = outside(authority(), PRIMARY)
        finished = play(sending.begin(source(None, authority(), drbd=PRIMARY, guest=None)), world)
        assert finished.reason is Reason.NOT_ASSIGNED
        assert not world.effects(fx.Swap)


class TestSendAndStop:
    def test_libvirt_is_told_which_migration(self) -> None:
        world = outside()
        assert play(sending.send(OUT), world).reason is Reason.MIGRATING
        assert world.done == [fx.SendGuest(M)]
        failed = outside(SendGuest=FAILED)
        assert play(sending.send(OUT), failed).failed

    def test_libvirt_is_told_to_give_it_up(self) -> None:
        world = outside()
        play(sending.stop("too late"), world)
        assert world.done == [fx.StopSending("too late")]
        assert play(sending.stop("too late"), outside(StopSending=FAILED)).failed


class TestLeave:
    WHOLE = (
        "QueryDomain",
        "QueryDrbd",
        "UpdateRecord",
        "Demote",
        "ForbidTwo",
        *SWAPPED,
        "UpdateRecord",
    )

    def leave(self, world: Outside, note: MigrationNote = OUT) -> fx.Finished:
        return play(sending.leave(source(note, domain=DomainState.ABSENT), note), world)

    def world(
        self, state: DrbdState = BOTH, held_by: Authority = UNDER_WAY, /, **more: object
    ) -> Outside:
        gone = fx.DomainRead(DomainState.ABSENT)
        world = outside(held_by, state, **{"QueryDomain": gone, **more})
        world.after(fx.Demote, replace(state, role=Role.SECONDARY, suspended=frozenset()))
        return world

    def test_noted_demoted_one_primary_alone_and_then_handed_over(self) -> None:
        world = self.world()
        finished = self.leave(world)
        assert (finished.reason, finished.failed) == (Reason.HANDED_OVER, False)
        assert tuple(world.names) == self.WHOLE
        assert noted(world.done[2]) == GONE
        assert noted(world.done[-1]) is None
        new = now(world.at)
        assert (new.owner, new.owner_instance, new.mode) == (B, str(THERE), Mode.MIRRORED)
        assert new.handed_over == M

    def test_what_was_noted_is_not_noted_again(self) -> None:
        world = self.world()
        self.leave(world, GONE)
        assert tuple(world.names) == (self.WHOLE[1], *self.WHOLE[3:])

    @pytest.mark.parametrize(
        "answer",
        [
            fx.DomainRead(DomainState.RUNNING),
            fx.DomainRead(DomainState.PAUSED),
            fx.DomainRead(DomainState.UNKNOWN),
            FAILED,
        ],
        ids=["runs", "paused", "unknown", "failed"],
    )
    def test_nothing_is_let_go_while_libvirt_may_have_it(self, answer: fx.Outcome) -> None:
        world = self.world(QueryDomain=answer)
        finished = self.leave(world)
        assert (finished.reason, finished.failed) == (Reason.UNKNOWN_STATE, True)
        assert world.names == ["QueryDomain"]

    @pytest.mark.parametrize(
        ("step", "done"),
        [("UpdateRecord", 3), ("Demote", 4), ("ForbidTwo", 5), ("Swap", 8)],
    )
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        world = self.world(**{step: FAILED})
        assert self.leave(world).reason is Reason.EFFECT_FAILED
        assert tuple(world.names) == self.WHOLE[:done]
        assert now(world.at).owner == A

    def test_frozen_it_demotes_and_needs_no_link_for_the_rest(self) -> None:
        world = self.world(frozen())
        assert self.leave(world).reason is Reason.HANDED_OVER
        assert not world.effects(fx.ForbidTwo)
        new = now(world.at)
        assert (new.mode, new.may_own(A), new.may_own(B)) == (Mode.STANDALONE, False, True)

    def test_who_went_on_alone_since_stays_primary(self) -> None:
        world = self.world(ALONE)
        assert self.leave(world).reason is Reason.NOT_YET_IN_SYNC
        assert not world.effects(fx.Demote)
        assert not world.effects(fx.UpdateRecord)
        assert now(world.at) == UNDER_WAY

    def test_what_is_noted_as_gone_is_let_go_of_whatever_became_of_the_link(self) -> None:
        """The demotion may be under way already. Without a guest it has written nothing since."""
        world = self.world(ALONE)
        assert self.leave(world, GONE).reason is Reason.HANDED_OVER
        assert world.effects(fx.Demote)

    def test_so_does_who_does_not_know(self) -> None:
        for answer in (fx.DrbdRead(DrbdUnknown("busy"), 1000.0, None), FAILED):
            world = self.world(QueryDrbd=answer)
            assert self.leave(world).reason is Reason.UNKNOWN_STATE
            assert not world.effects(fx.Demote)

    def test_a_secondary_goes_on_from_there(self) -> None:
        """A crash between the demotion and the swap is only a pause."""
        world = self.world(SECONDARY)
        assert self.leave(world, GONE).reason is Reason.HANDED_OVER
        assert not world.effects(fx.Demote)
        assert world.names[-5:] == [*SWAPPED, "UpdateRecord"]

    def test_what_was_taken_over_meanwhile_is_not_handed_over(self) -> None:
        world = self.world(BOTH, authority(B, epoch=6))
        assert self.leave(world).reason is Reason.NOT_OWNER
        assert not world.effects(fx.Swap)


class TestGoOn:
    def test_it_goes_on_as_of_a_fresh_look(self) -> None:
        world = outside()
        assert play(sending.go_on(), world).reason is Reason.RUNNING
        assert world.done == [fx.QueryDrbd(), fx.ResumeGuest(1000.0)]

    def test_a_refusal_is_a_failure(self) -> None:
        assert play(sending.go_on(), outside(ResumeGuest=FAILED)).failed

    def test_an_impossible_answer_is_a_bug(self) -> None:
        with pytest.raises(UnexpectedOutcome):
            play(sending.go_on(), outside(QueryDrbd=fx.Done()))


class TestGiveUp:
    def test_noted_then_forbidden_in_the_file_alone(self) -> None:
        world = outside()
        finished = play(sending.give_up(GONE, Reason.MIGRATION_FAILED, "no room"), world)
        assert (finished.reason, finished.failed) == (Reason.MIGRATION_FAILED, False)
        assert finished.message == "no room"
        assert world.names == ["UpdateRecord", "Configure"]
        assert noted(world.done[0]) == OVER
        assert world.effects(fx.Configure) == [fx.Configure(apply=False)]

    @pytest.mark.parametrize(("step", "done"), [("UpdateRecord", 1), ("Configure", 2)])
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        world = outside(**{step: FAILED})
        finished = play(sending.give_up(OUT, Reason.MIGRATION_FAILED, "no room"), world)
        assert (finished.reason, finished.failed) == (Reason.EFFECT_FAILED, True)
        assert len(world.done) == done


class TestTakeBack:
    KNOWN = record(owned_epoch=5, outgoing=OVER)

    def back(self, world: Outside) -> fx.Finished:
        world.record = self.KNOWN
        return play(sending.take_back(source(OVER), OVER), world)

    def test_the_kernels_forbid_it_before_the_authority_does(self) -> None:
        world = outside(UNDER_WAY, PRIMARY)
        assert self.back(world).reason is Reason.MIGRATION_OVER
        assert world.names == ["Adjust", *SWAPPED, "UpdateRecord"]
        assert noted(world.done[-1]) is None
        assert (now(world.at).mode, now(world.at).migration) == (Mode.MIRRORED, None)

    @pytest.mark.parametrize(("step", "done"), [("Adjust", 1), ("Swap", 4), ("UpdateRecord", 5)])
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        world = outside(UNDER_WAY, PRIMARY, **{step: FAILED})
        assert self.back(world).reason is Reason.EFFECT_FAILED
        assert len(world.done) == done

    def test_not_while_the_target_is_primary_after_all(self) -> None:
        world = outside(UNDER_WAY, BOTH)
        assert self.back(world).reason is Reason.PEER_STILL_PRIMARY
        assert not world.effects(fx.Swap)

    def test_what_another_has_ended_is_forgotten_all_the_same(self) -> None:
        world = outside(authority(epoch=6), PRIMARY)
        assert self.back(world).reason is Reason.MIGRATION_OVER
        assert not world.effects(fx.Swap)
        assert noted(world.done[-1]) is None


def test_to_forget_is_to_note_that() -> None:
    world = outside(HANDED)
    play(sending.forget(), world)
    assert world.done == [fx.UpdateRecord(outgoing=None)]
    assert play(sending.forget(), outside(UpdateRecord=FAILED)).failed


def test_no_note_of_this_part_touches_the_other() -> None:
    """A host may have been a target of the same mirror before."""
    world = Outside(telling(), BOTH, script=dict(NO_DOMAIN), record=record(owned_epoch=5))
    play(sending.give_up(OUT, Reason.MIGRATION_FAILED, "x"), world)
    (effect,) = world.effects(fx.UpdateRecord)
    assert isinstance(effect, fx.UpdateRecord)
    assert isinstance(effect.incoming, fx.Keep)


@pytest.mark.parametrize(
    ("disk", "peer_disk", "leaves"),
    [
        (DiskState.DISKLESS, DiskState.UP_TO_DATE, True),
        (DiskState.FAILED, DiskState.UP_TO_DATE, True),
        (DiskState.DETACHING, DiskState.UP_TO_DATE, True),
        (DiskState.DISKLESS, DiskState.CONSISTENT, False),
        (DiskState.UP_TO_DATE, DiskState.DISKLESS, False),
    ],
)
def test_it_leaves_a_failed_disk_if_all_of_it_is_at_the_target(
    disk: DiskState, peer_disk: DiskState, leaves: bool
) -> None:
    state = drbd(Role.PRIMARY, peer_role=Role.PRIMARY, disk=disk, peer_disk=peer_disk)
    world = TestLeave().world(state)
    assert (TestLeave().leave(world).reason is not Reason.NOT_YET_IN_SYNC) is leaves
