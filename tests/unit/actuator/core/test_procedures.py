"""Procedures under scripted outcomes: the order of their effects, and where refusals stop them."""

from dataclasses import replace

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, Generation
from tandem_actuator.core.guest import starting, stopping
from tandem_actuator.core.mirror import handler, procedures, transaction
from tandem_actuator.core.mirror.handler import exit_code
from tandem_actuator.core.mirror.transaction import UnexpectedOutcome
from tandem_actuator.core.model import FenceProgress
from tandem_api.authority import Authority, Eligibility
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, Role
from unit.builders import (
    A,
    B,
    assignment,
    authority,
    drbd,
    frozen,
    lost,
    mirror,
    record,
    standalone,
    view,
)

from .outside import Outside, play

AHEAD = Generation("00000000000000AA", parted=True)
IN_STEP = Generation("00000000000000BA", parted=False)
NEW = Eligibility(eligible=False, reason=Reason.NOT_INITIALISED)
FAILED = fx.Failed("no")


class TestTransaction:
    """Rule 3, by way of link_loss, which is the barest user of it."""

    def ask(self, outside: Outside) -> fx.Finished:
        return play(handler.link_loss(view(authority(), frozen())), outside)

    def test_read_then_query_then_swap_then_record(self) -> None:
        outside = Outside(mirror(authority()), frozen())
        finished = self.ask(outside)
        assert finished.reason is Reason.LINK_LOST
        assert outside.names == ["Wait", "ReadMirror", "QueryDrbd", "Swap", "UpdateRecord"]
        assert exit_code(finished) == handler.EXIT_PEER_FENCED

    def test_the_record_knows_the_epoch_before_anything_is_granted(self) -> None:
        outside = Outside(mirror(authority()), frozen(), script={fx.UpdateRecord: [FAILED]})
        finished = self.ask(outside)
        assert finished.reason is Reason.EFFECT_FAILED
        assert exit_code(finished) == handler.EXIT_STAY_FROZEN
        assert outside.effects(fx.UpdateRecord) == [
            fx.UpdateRecord(epoch=6, owned_epoch=6, incarnation="uid-m")
        ]

    def test_a_lost_swap_is_decided_anew(self) -> None:
        outside = Outside(mirror(authority()), frozen(), script={fx.Swap: [fx.SwapLost()]})
        assert self.ask(outside).reason is Reason.LINK_LOST
        assert len(outside.effects(fx.QueryDrbd)) == 2

    def test_an_unanswered_swap_that_landed_is_recognised(self) -> None:
        outside = Outside(mirror(authority()), frozen())
        procedure = handler.link_loss(view(authority(), frozen()))
        next(procedure)
        effect = procedure.send(fx.Done())
        while not isinstance(effect, fx.Swap):
            effect = procedure.send(outside.perform(effect))
        outside.swap(effect.authority)
        unclear = procedure.send(fx.SwapUnclear("timeout"))
        assert isinstance(unclear, fx.ReadMirror)
        record_it = procedure.send(outside.perform(unclear))
        assert isinstance(record_it, fx.UpdateRecord)
        assert record_it.epoch == 6

    def test_an_unanswered_swap_of_somebody_else_is_not_mine(self) -> None:
        outside = Outside(mirror(authority()), frozen(), script={fx.Swap: [fx.SwapUnclear("?")]})
        procedure = handler.link_loss(view(authority(), frozen()))
        taken = authority(B, epoch=6, request_id="somebody")
        effect = next(procedure)
        finished: fx.Finished | None = None
        try:
            while True:
                outcome = outside.perform(effect)
                if isinstance(outcome, fx.SwapUnclear):
                    outside.swap(taken)
                effect = procedure.send(outcome)
        except StopIteration as end:
            finished = end.value
        assert finished is not None
        assert finished.reason is Reason.PEER_OWNS
        assert exit_code(finished) == handler.EXIT_STAY_FROZEN

    def test_swaps_that_stay_unanswered_grant_nothing(self) -> None:
        earlier = authority(A, owner_instance="a-1/boot1/run0")
        outside = Outside(
            mirror(earlier),
            drbd(Role.PRIMARY),
            script={fx.Swap: [fx.SwapUnclear("403: no")] * transaction.SWAP_TRIES},
        )
        known = view(earlier, drbd(Role.PRIMARY))
        finished = play(
            procedures.change_authority(known, rules.adopt, Reason.ADOPTED, "adopted"), outside
        )
        assert (finished.reason, finished.progress) == (Reason.OUTCOME_UNKNOWN, False)
        # A server's policy that refuses it says why; a person reads it here.
        assert finished.message.endswith("the last time: 403: no")
        assert not outside.effects(fx.UpdateRecord)

    def test_an_impossible_answer_is_a_bug(self) -> None:
        outside = Outside(mirror(authority()), frozen(), script={fx.QueryDrbd: [fx.Done()]})
        with pytest.raises(UnexpectedOutcome):
            self.ask(outside)


class TestLinkLoss:
    def test_it_holds_off_first(self) -> None:
        known = view(authority(), frozen(), the_mirror=mirror(authority(), holdoff_s=7))
        outside = Outside(known.mirror, frozen())
        play(handler.link_loss(known), outside)
        assert outside.done[0] == fx.Wait(7)

    def test_without_the_api_it_keeps_asking(self) -> None:
        away: list[fx.Outcome] = [fx.Unreachable("away")] * 5
        outside = Outside(mirror(authority()), frozen(), script={fx.ReadMirror: away})
        finished = play(handler.link_loss(view(authority(), frozen())), outside)
        assert finished.reason is Reason.LINK_LOST
        assert len(outside.effects(fx.ReadMirror)) == 6

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            (drbd(Role.PRIMARY), Reason.LINK_IS_BACK),
            (lost(), Reason.NOT_OWNER),
        ],
    )
    def test_without_the_api_it_stops_when_nobody_waits(
        self, state: DrbdState, expected: Reason
    ) -> None:
        away: list[fx.Outcome] = [fx.Unreachable("away")] * 50
        outside = Outside(mirror(authority()), state, script={fx.ReadMirror: away})
        finished = play(handler.link_loss(view(authority(), frozen())), outside)
        assert finished.reason is expected
        assert exit_code(finished) == handler.EXIT_STAY_FROZEN

    @pytest.mark.parametrize("held_by", [authority(B), standalone(B), authority("")])
    def test_refused_it_stays_frozen(self, held_by: Authority) -> None:
        outside = Outside(mirror(held_by), frozen())
        finished = play(handler.link_loss(view(authority(), frozen())), outside)
        assert exit_code(finished) == handler.EXIT_STAY_FROZEN
        assert not outside.effects(fx.Swap)


class TestPromotionHandler:
    def ask(self, held_by: Authority) -> fx.Finished:
        return play(handler.promotion(view(held_by, lost())), Outside(mirror(held_by), lost()))

    def test_confirmed(self) -> None:
        assert exit_code(self.ask(standalone())) == handler.EXIT_PEER_FENCED

    def test_the_peer_writes_alone(self) -> None:
        assert exit_code(self.ask(standalone(B))) == handler.EXIT_PEER_IS_PRIMARY

    @pytest.mark.parametrize("held_by", [authority(), authority(B), authority("")])
    def test_refused(self, held_by: Authority) -> None:
        assert exit_code(self.ask(held_by)) == handler.EXIT_STAY_FROZEN

    def test_it_asks_once_and_queries_nothing(self) -> None:
        outside = Outside(mirror(standalone()), lost())
        play(handler.promotion(view(standalone(), lost())), outside)
        assert outside.names == ["ReadMirror"]

    def test_without_the_api(self) -> None:
        outside = Outside(
            mirror(standalone()), lost(), script={fx.ReadMirror: [fx.Unreachable("away")]}
        )
        finished = play(handler.promotion(view(standalone(), lost())), outside)
        assert exit_code(finished) == handler.EXIT_STAY_FROZEN


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("progress", [True, False])
def test_drbd_never_reads_a_refusal_as_success(reason: Reason, progress: bool) -> None:
    """DRBD takes 3, 4, 5 and 7 as leave to go on."""
    code = exit_code(fx.Finished(reason, "m", progress=progress))
    granted = progress and reason in (Reason.LINK_LOST, Reason.PROMOTING)
    assert (code in (3, 4, 5, 7)) is granted


class TestRestore:
    known = view(standalone(), drbd(Role.PRIMARY))

    def test_the_generation_is_read_before_anything_and_noted_once_both_count(self) -> None:
        outside = Outside(self.known.mirror, drbd(Role.PRIMARY), generations={"root": IN_STEP})
        assert play(procedures.restore(self.known), outside).reason is Reason.IN_SYNC
        assert outside.names == [
            "ReadGenerations",
            "ReadMirror",
            "QueryDrbd",
            "Swap",
            "UpdateRecord",
            "UpdateRecord",
        ]
        assert outside.done[-1] == fx.UpdateRecord(generations={"root": IN_STEP.current})

    def test_what_the_peer_does_not_have_is_not_noted(self) -> None:
        parted = Generation(IN_STEP.current, parted=True)
        outside = Outside(self.known.mirror, drbd(Role.PRIMARY), generations={"root": parted})
        play(procedures.restore(self.known), outside)
        assert outside.done[-1] == fx.UpdateRecord(generations={})

    def test_not_noted_if_it_is_refused(self) -> None:
        outside = Outside(self.known.mirror, frozen(), generations={"root": IN_STEP})
        assert play(procedures.restore(self.known), outside).reason is Reason.NOT_YET_IN_SYNC
        assert not outside.effects(fx.UpdateRecord)

    def test_one_that_cannot_be_read_ends_what_was_noted(self) -> None:
        script: dict[type, list[fx.Outcome]] = {fx.ReadGenerations: [FAILED]}
        outside = Outside(self.known.mirror, drbd(Role.PRIMARY), script=script)
        play(procedures.restore(self.known), outside)
        assert outside.done[-1] == fx.UpdateRecord(generations={})


class TestRejoin:
    alone = drbd(Role.SECONDARY, Connection.STANDALONE)

    def test_plainly(self) -> None:
        outside = Outside(mirror(authority(B)), self.alone)
        play(procedures.rejoin(view(authority(B), self.alone), discard=False), outside)
        assert outside.done == [fx.Adjust(), fx.Connect(discard_my_data=False)]

    def test_discarding_asks_and_marks_first(self) -> None:
        known = view(standalone(B, epoch=6), self.alone, record=record(owned_epoch=5))
        outside = Outside(known.mirror, self.alone)
        play(procedures.rejoin(known, discard=True), outside)
        assert outside.names == ["ReadMirror", "UpdateRecord", "Adjust", "Connect"]
        assert outside.done[-1] == fx.Connect(discard_my_data=True)

    @pytest.mark.parametrize(
        "held_by", [standalone(A), authority(B), standalone(B, epoch=5), authority("")]
    )
    def test_what_may_not_be_discarded(self, held_by: Authority) -> None:
        """Not the owner's, not an eligible replica's, not what this host wrote as this owner."""
        known = view(standalone(B, epoch=6), self.alone, record=record(owned_epoch=5))
        outside = Outside(mirror(held_by), self.alone, record=known.record)
        assert play(procedures.rejoin(known, discard=True), outside).reason is Reason.SPLIT_BRAIN
        assert not outside.effects(fx.Connect)


class TestMarkers:
    def test_cleared_on_a_fresh_look(self) -> None:
        marked = view(
            authority(B), drbd(), record=record(marker=Marker(reason=Reason.LOCAL_DISK_FAILED))
        )
        outside = Outside(mirror(authority(B)), drbd())
        play(procedures.clear_marker(marked), outside)
        assert outside.names == ["QueryDrbd", "UpdateRecord"]

    @pytest.mark.parametrize("now", [lost(), drbd(resyncing=True), DrbdUnknown("busy")])
    def test_not_on_an_old_one(self, now: DrbdView) -> None:
        outside = Outside(mirror(authority(B)), now)
        play(procedures.clear_marker(view(authority(B), drbd())), outside)
        assert not outside.effects(fx.UpdateRecord)


class TestThaw:
    def test_only_with_the_authoritys_word_and_marked(self) -> None:
        known = view(standalone(B), frozen(), fence=FenceProgress(since_s=1.0, killed=True))
        outside = Outside(mirror(standalone(B)), frozen())
        play(procedures.thaw_to_discard(known), outside)
        assert outside.names == ["ReadMirror", "UpdateRecord", "CutNetwork", "ResumeIo"]

    @pytest.mark.parametrize("held_by", [authority(), standalone(), authority(B), authority("")])
    def test_nothing_else_thaws(self, held_by: Authority) -> None:
        known = view(standalone(B), frozen(), fence=FenceProgress(since_s=1.0, killed=True))
        outside = Outside(mirror(held_by), frozen())
        play(procedures.thaw_to_discard(known), outside)
        assert not outside.effects(fx.ResumeIo)


def test_no_guest_is_stopped_unread_or_by_an_order_of_the_past() -> None:
    known = view(authority(), drbd(Role.PRIMARY), assigned=assignment(B))
    past = fx.MirrorRead(mirror(authority(B, epoch=4)), "r1", known.record)
    for read in (past, fx.Unreachable("away")):
        outside = Outside(known.mirror, known.drbd, script={fx.ReadMirror: [read]})
        play(stopping.shut_down(known), outside)
        assert outside.names == ["ReadMirror"]


def test_a_fence_goes_on_after_every_failure() -> None:
    outside = Outside(
        mirror(authority()),
        frozen(),
        script={fx.CutNetwork: [FAILED], fx.DestroyGuest: [FAILED], fx.Demote: [FAILED]},
    )
    finished = play(procedures.fence(view(authority(), frozen())), outside)
    assert outside.names == ["CutNetwork", "DestroyGuest", "Demote"]
    assert (finished.reason, finished.failed) == (Reason.SELF_FENCING, True)


def test_release_happens_on_a_fresh_look() -> None:
    known = view(authority(), drbd(), assigned=assignment(B))
    promoted = Outside(mirror(authority()), drbd(Role.PRIMARY))
    finished = play(
        procedures.change_authority(known, rules.release, Reason.RELEASED, "released"), promoted
    )
    assert finished.reason is Reason.UNKNOWN_STATE
    assert not promoted.effects(fx.Swap)


def test_a_view_without_a_guest_claims_nothing() -> None:
    outside = Outside(mirror(authority("")), drbd())
    finished = play(
        starting.claim_and_start(replace(view(authority(""), drbd()), guest=None)), outside
    )
    assert finished.reason is Reason.NOT_ASSIGNED
    assert not outside.effects(fx.Swap)
