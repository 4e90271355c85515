"""What a host does, step by step, to which a guest is sent; and that the first failure ends it."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView
from tandem_actuator.core.migration import receiving
from tandem_actuator.core.mirror.transaction import UnexpectedOutcome
from tandem_api.authority import Authority
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import THERE, authority, drbd, frozen, lost, record

from ..outside import Outside, play
from .scenes import BOTH, HANDED, IN, UNDER_WAY, M, target, telling

FAILED = fx.Failed("no")
OVER = replace(IN, over=True)
NOT_YET = drbd(Role.SECONDARY, peer_role=Role.PRIMARY)
SERVES = drbd(Role.PRIMARY, peer_role=Role.PRIMARY, peer_disk=DiskState.DISKLESS)


def outside(held_by: Authority = UNDER_WAY, state: DrbdView = BOTH, /, **script: object) -> Outside:
    """``script``: the answers to each effect, by its name."""
    answers = {getattr(fx, name): [outcome] for name, outcome in script.items()}
    return Outside(telling(held_by), state, script=answers)  # type: ignore[arg-type]


class TestReceive:
    WHOLE = (
        *("ReadMirror", "UpdateRecord", "Configure", "Adjust"),
        *("Promote", "QueryDrbd", "ReceiveGuest"),
    )

    def receive(self, world: Outside) -> fx.Finished:
        return play(receiving.receive(target(None, drbd=NOT_YET), IN), world)

    def test_read_noted_allowed_promoted_looked_at_and_then_ready(self) -> None:
        world = outside()
        finished = self.receive(world)
        assert (finished.reason, finished.failed) == (Reason.RECEIVING, False)
        assert tuple(world.names) == self.WHOLE
        assert world.effects(fx.UpdateRecord) == [fx.UpdateRecord(epoch=5, incoming=IN)]
        assert world.effects(fx.Promote) == [fx.Promote(force=False)]
        assert world.effects(fx.ReceiveGuest) == [fx.ReceiveGuest(M)]

    @pytest.mark.parametrize(
        ("step", "done"),
        [("UpdateRecord", 2), ("Configure", 3), ("Adjust", 4), ("Promote", 5), ("ReceiveGuest", 7)],
    )
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        world = outside(**{step: FAILED})
        finished = self.receive(world)
        assert (finished.reason, finished.failed) == (Reason.EFFECT_FAILED, True)
        assert tuple(world.names) == self.WHOLE[:done]

    def test_nothing_is_done_unread(self) -> None:
        world = outside(ReadMirror=fx.Unreachable("away"))
        assert self.receive(world).reason is Reason.API_UNREACHABLE
        assert world.names == ["ReadMirror"]

    @pytest.mark.parametrize(
        ("held_by", "why"),
        [
            (authority(), Reason.MIGRATION_OVER),
            (HANDED, Reason.MIGRATION_OVER),
            (UNDER_WAY.model_copy(update={"epoch": 4}), Reason.HOLD_EPOCH_REGRESSED),
            (UNDER_WAY.model_copy(update={"min_protocol": 99}), Reason.HOLD_PROTOCOL_TOO_NEW),
        ],
        ids=["over", "handed-over", "past", "newer"],
    )
    def test_nor_for_what_a_quorum_does_not_say(self, held_by: Authority, why: Reason) -> None:
        world = outside(held_by)
        assert self.receive(world).reason is why
        assert world.names == ["ReadMirror"]

    @pytest.mark.parametrize("sends", ["", "m0"], ids=["nothing", "another"])
    def test_nor_beside_a_source_that_has_not_noted_it(self, sends: str) -> None:
        world = outside()
        world.at = telling(sends=sends)
        assert self.receive(world).reason is Reason.MIGRATION_OVER
        assert world.names == ["ReadMirror"]

    @pytest.mark.parametrize(
        "state",
        [
            drbd(Role.PRIMARY, peer_role=Role.PRIMARY, peer_disk=DiskState.INCONSISTENT),
            drbd(Role.PRIMARY, resyncing=True),
            frozen(),
            NOT_YET,
            DrbdUnknown("busy"),
        ],
        ids=["was-a-source", "resyncing", "frozen", "not-primary", "unknown"],
    )
    def test_nothing_is_let_in_unless_both_are_in_sync_once_it_is_primary(
        self, state: DrbdView
    ) -> None:
        """It would else go on alone without being asked."""
        world = outside()
        world.after(fx.Promote, state)
        finished = self.receive(world)
        assert (finished.reason, finished.failed) == (Reason.NOT_YET_IN_SYNC, True)
        assert tuple(world.names) == self.WHOLE[:6]

    def test_beside_a_source_without_a_disk_it_has_all(self) -> None:
        world = outside()
        world.after(fx.Promote, SERVES)
        assert self.receive(world).reason is Reason.RECEIVING

    def test_an_impossible_answer_is_a_bug(self) -> None:
        with pytest.raises(UnexpectedOutcome):
            self.receive(outside(QueryDrbd=fx.Done()))


class TestResume:
    WHOLE = (
        *("ReadMirror", "QueryDrbd", "UpdateRecord"),
        *("ResumeGuest", "UpdateRecord", "StopReceiving"),
    )

    def resume(self, world: Outside) -> fx.Finished:
        known = target(IN, HANDED, domain=DomainState.PAUSED)
        return play(receiving.resume(known, IN), world)

    def test_read_noted_resumed_and_then_forgotten(self) -> None:
        world = outside(HANDED)
        finished = self.resume(world)
        assert (finished.reason, finished.failed) == (Reason.RUNNING, False)
        assert tuple(world.names) == self.WHOLE
        assert world.effects(fx.UpdateRecord) == [
            fx.UpdateRecord(
                epoch=5,
                owned_epoch=5,
                incarnation="uid-m",
                started_boot_id=THERE.boot_id,
                incoming=replace(IN, resumed=True),
            ),
            fx.UpdateRecord(incoming=None),
        ]
        assert world.effects(fx.ResumeGuest) == [fx.ResumeGuest(1000.0)]

    @pytest.mark.parametrize(("step", "done"), [("UpdateRecord", 3), ("ResumeGuest", 4)])
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        world = outside(HANDED, **{step: FAILED})
        assert self.resume(world).failed
        assert tuple(world.names) == self.WHOLE[:done]

    def test_a_note_that_cannot_be_cleared_leaves_the_guest_running(self) -> None:
        world = outside(HANDED)
        world.script[fx.UpdateRecord] = [fx.Done(), FAILED]
        assert self.resume(world).failed
        assert tuple(world.names) == self.WHOLE[:5]

    @pytest.mark.parametrize(
        "held_by",
        [UNDER_WAY, authority(), HANDED.model_copy(update={"handed_over": "", "epoch": 6})],
        ids=["not-yet", "taken-back", "claimed"],
    )
    def test_not_unless_a_quorum_says_by_this_migration(self, held_by: Authority) -> None:
        world = outside(held_by)
        assert self.resume(world).reason is Reason.NOT_OWNER
        assert world.names == ["ReadMirror", "QueryDrbd"]

    def test_not_unread(self) -> None:
        world = outside(HANDED, ReadMirror=fx.Unreachable("away"))
        finished = self.resume(world)
        assert (finished.reason, finished.failed) == (Reason.API_UNREACHABLE, True)
        assert world.names == ["ReadMirror"]

    def test_an_impossible_answer_is_a_bug(self) -> None:
        with pytest.raises(UnexpectedOutcome):
            self.resume(outside(HANDED, QueryDrbd=fx.Done()))


class TestResumeAsTold:
    WHOLE = ("QueryDrbd", "UpdateRecord", "ResumeGuest", "StopReceiving")
    LET_GO = drbd(Role.PRIMARY)
    SENT = replace(IN, resumed=True)

    def resume(self, world: Outside) -> fx.Finished:
        return play(receiving.resume_as_told(target(IN, domain=DomainState.PAUSED), IN), world)

    def test_looked_at_noted_and_resumed_without_the_api(self) -> None:
        world = outside(UNDER_WAY, self.LET_GO)
        finished = self.resume(world)
        assert (finished.reason, finished.failed) == (Reason.RUNNING, False)
        assert tuple(world.names) == self.WHOLE
        noted = fx.UpdateRecord(started_boot_id=THERE.boot_id, incoming=self.SENT)
        assert world.effects(fx.UpdateRecord) == [noted]

    def test_nobody_may_have_taken_over_since_it_was_to_come(self) -> None:
        world = outside(UNDER_WAY, self.LET_GO)
        self.resume(world)
        assert world.effects(fx.ResumeGuest) == [fx.ResumeGuest(IN.since_s)]

    @pytest.mark.parametrize(("step", "done"), [("UpdateRecord", 2), ("ResumeGuest", 3)])
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        world = outside(UNDER_WAY, self.LET_GO, **{step: FAILED})
        assert self.resume(world).failed
        assert tuple(world.names) == self.WHOLE[:done]

    @pytest.mark.parametrize(
        "state", [BOTH, frozen(), lost(), NOT_YET, DrbdUnknown("busy")], ids=type
    )
    def test_not_unless_it_is_seen_still(self, state: DrbdView) -> None:
        world = outside(UNDER_WAY, state)
        assert self.resume(world).failed
        assert world.names == ["QueryDrbd"]

    def test_an_impossible_answer_is_a_bug(self) -> None:
        with pytest.raises(UnexpectedOutcome):
            self.resume(outside(QueryDrbd=fx.Done()))


class TestOwn:
    SENT = replace(IN, resumed=True)

    def own(self, world: Outside) -> fx.Finished:
        known = target(self.SENT, HANDED, domain=DomainState.RUNNING)
        return play(receiving.own(known, self.SENT), world)

    def test_that_it_owns_the_mirror_is_noted_with_the_end_of_it(self) -> None:
        world = outside(HANDED, drbd(Role.PRIMARY))
        assert self.own(world).reason is Reason.RUNNING
        assert world.names == ["ReadMirror", "UpdateRecord"]
        assert world.effects(fx.UpdateRecord) == [
            fx.UpdateRecord(epoch=5, owned_epoch=5, incarnation="uid-m", incoming=None)
        ]

    def test_not_unread_and_not_unless_a_quorum_says_so(self) -> None:
        for world in (outside(HANDED, ReadMirror=fx.Unreachable("away")), outside(UNDER_WAY)):
            finished = self.own(world)
            assert finished.reason in (Reason.API_UNREACHABLE, Reason.NOT_OWNER)
            assert world.names == ["ReadMirror"]


class TestDrop:
    WHOLE = ("StopReceiving", "DestroyGuest", "Demote", "UpdateRecord", "Configure")

    def drop(self, world: Outside, **changes: object) -> fx.Finished:
        known = target(IN, **{"domain": DomainState.PAUSED, **changes})
        return play(receiving.drop(known, OVER), world)

    def test_the_half_first_then_the_device_and_then_it_is_over(self) -> None:
        world = outside()
        finished = self.drop(world)
        assert (finished.reason, finished.failed) == (Reason.MIGRATION_OVER, False)
        assert tuple(world.names) == self.WHOLE
        assert world.effects(fx.UpdateRecord) == [fx.UpdateRecord(incoming=OVER)]
        assert world.effects(fx.Configure) == [fx.Configure(apply=False)]

    @pytest.mark.parametrize(("step", "done"), list(zip(WHOLE, range(1, 6), strict=True)))
    def test_the_first_failure_ends_it(self, step: str, done: int) -> None:
        """A half that is still there keeps the device Primary: the source waits for that."""
        world = outside(**{step: FAILED})
        finished = self.drop(world)
        assert (finished.reason, finished.failed) == (Reason.EFFECT_FAILED, True)
        assert tuple(world.names) == self.WHOLE[:done]

    @pytest.mark.parametrize(
        ("domain", "state", "done"),
        [
            (DomainState.ABSENT, BOTH, ("StopReceiving", "Demote", "UpdateRecord", "Configure")),
            (DomainState.PAUSED, NOT_YET, ("StopReceiving", "DestroyGuest", *WHOLE[3:])),
            (DomainState.ABSENT, lost(), ("StopReceiving", *WHOLE[3:])),
            (DomainState.RUNNING, NOT_YET, ("StopReceiving", *WHOLE[3:])),
        ],
        ids=["no-half", "secondary", "neither", "runs"],
    )
    def test_only_what_there_is_of_it(
        self, domain: DomainState, state: DrbdState, done: tuple[str, ...]
    ) -> None:
        """What runs here is no half of a guest."""
        world = outside(UNDER_WAY, state)
        self.drop(world, domain=domain, drbd=state)
        assert tuple(world.names) == done


class TestStepBack:
    def back(self, world: Outside, state: DrbdState) -> fx.Finished:
        return play(receiving.step_back(target(IN, drbd=state)), world)

    def test_the_device_is_secondary(self) -> None:
        world = outside()
        assert self.back(world, frozen()).reason is Reason.MIGRATION_OVER
        assert world.names == ["Demote"]

    def test_held_open_and_alone_no_link_leads_to_it(self) -> None:
        world = outside(Demote=FAILED)
        finished = self.back(world, frozen())
        assert (finished.reason, finished.failed) == (Reason.MIGRATION_OVER, False)
        assert world.done[1:] == [fx.Disconnect()]

    @pytest.mark.parametrize(
        "state",
        [BOTH, replace(frozen(), connection=Connection.STANDALONE)],
        ids=["connected", "parted"],
    )
    def test_that_it_is_held_open_is_all_that_is_left(self, state: DrbdState) -> None:
        world = outside(Demote=FAILED)
        finished = self.back(world, state)
        assert (finished.reason, finished.failed) == (Reason.EFFECT_FAILED, True)
        assert world.names == ["Demote"]


def test_to_forget_is_to_note_that() -> None:
    nothing = fx.DomainRead(DomainState.ABSENT)
    world = outside(QueryDomain=nothing)
    assert play(receiving.forget(), world).reason is Reason.MIGRATION_OVER
    assert world.done == [fx.QueryDomain(), fx.UpdateRecord(incoming=None)]
    assert play(receiving.forget(), outside(QueryDomain=nothing, UpdateRecord=FAILED)).failed


@pytest.mark.parametrize(
    "answer",
    [fx.DomainRead(DomainState.PAUSED), fx.DomainRead(DomainState.UNKNOWN), FAILED],
    ids=["paused", "unknown", "failed"],
)
def test_what_may_wait_here_is_not_forgotten(answer: fx.Outcome) -> None:
    """The last look may be older than what has arrived since."""
    world = outside(QueryDomain=answer)
    assert play(receiving.forget(), world).reason is Reason.UNKNOWN_STATE
    assert not world.effects(fx.UpdateRecord)


def test_the_record_that_counts_is_the_one_at_the_read() -> None:
    """Another procedure has seen a later epoch meanwhile."""
    world = outside(HANDED)
    world.record = record(max_epoch=6)
    known = target(IN, HANDED, domain=DomainState.PAUSED)
    assert play(receiving.resume(known, IN), world).reason is Reason.HOLD_EPOCH_REGRESSED
