"""Claiming a mirror and starting its guest, step by step."""

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdUnknown
from tandem_actuator.core.guest import starting
from tandem_api.authority import Override
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, Role
from unit.builders import (
    A,
    B,
    assignment,
    authority,
    drbd,
    heartbeat,
    lease_lost,
    lost,
    mirror,
    standalone,
    view,
)

from .outside import Outside, play
from .test_procedures import FAILED, IN_STEP, NEW


class TestClaimAndStart:
    def test_unowned(self) -> None:
        outside = Outside(mirror(authority("")), drbd())
        finished = play(starting.claim_and_start(view(authority(""), drbd())), outside)
        assert finished.reason is Reason.STARTING
        assert outside.names == [
            "ReadMirror",
            "QueryDrbd",
            "Swap",
            "UpdateRecord",
            "ReadGenerations",
            "Promote",
            "QueryDrbd",
            "UpdateRecord",
            "StartGuest",
        ]

    def test_not_beside_another_primary(self) -> None:
        """Somebody has allowed two, and the peer was promoted after the claim had looked."""
        outside = Outside(mirror(authority("")), drbd())
        outside.after(fx.Promote, drbd(Role.PRIMARY, peer_role=Role.PRIMARY))
        finished = play(starting.claim_and_start(view(authority(""), drbd())), outside)
        assert (finished.reason, finished.failed) == (Reason.PEER_STILL_PRIMARY, True)
        assert "allow-two-primaries=no" in finished.message
        assert not outside.effects(fx.StartGuest)

    def test_not_without_having_looked_for_another(self) -> None:
        outside = Outside(mirror(authority("")), drbd())
        outside.after(fx.Promote, DrbdUnknown("no answer"))
        finished = play(starting.claim_and_start(view(authority(""), drbd())), outside)
        assert finished.reason is Reason.UNKNOWN_STATE
        assert not outside.effects(fx.StartGuest)

    def test_alone_there_is_nobody_to_look_for(self) -> None:
        outside = Outside(mirror(authority("")), lost())
        play(starting.claim_and_start(view(authority(""), lost())), outside)
        assert outside.names[outside.names.index("Promote") + 1] == "UpdateRecord"

    def test_the_boot_is_noted_before_the_guest_is_started(self) -> None:
        outside = Outside(mirror(authority("")), drbd())
        play(starting.claim_and_start(view(authority(""), drbd())), outside)
        noted = fx.UpdateRecord(started_boot_id="boot1", generations={}, incoming=None)
        assert outside.done[-2] == noted

    def test_nothing_is_noted_any_more_of_what_was_sent_here(self) -> None:
        """Else this guest would be destroyed as that half, as soon as it stands still."""
        outside = Outside(mirror(authority("")), drbd())
        play(starting.claim_and_start(view(authority(""), drbd())), outside)
        last = outside.effects(fx.UpdateRecord)[-1]
        assert isinstance(last, fx.UpdateRecord)
        assert last.incoming is None
        assert isinstance(last.outgoing, fx.Keep)

    def test_of_which_generation_both_counted_is_noted(self) -> None:
        outside = Outside(mirror(authority("")), drbd(), generations={"root": IN_STEP})
        play(starting.claim_and_start(view(authority(""), drbd())), outside)
        generations = {"root": IN_STEP.current}
        noted = fx.UpdateRecord(started_boot_id="boot1", generations=generations, incoming=None)
        assert outside.done[-2] == noted

    def test_alone_there_is_none_to_note(self) -> None:
        outside = Outside(mirror(authority("")), lost(), generations={"root": IN_STEP})
        play(starting.claim_and_start(view(authority(""), lost())), outside)
        assert outside.done[-2] == fx.UpdateRecord(started_boot_id="boot1", incoming=None)

    @pytest.mark.parametrize("peer_disk", [DiskState.DISKLESS, DiskState.UP_TO_DATE])
    def test_by_an_order_beside_a_dead_disk_it_is_promoted_alone(
        self, peer_disk: DiskState
    ) -> None:
        """Connected to it, DRBD would leave an old disk as it is, and the guest without data."""
        only = {A: NEW.model_copy(update={"eligible": True}), B: NEW}
        order = Override(by="ana", at_epoch=4, accept_data_loss=True, host=A)
        held_by = authority("", eligible=only, override=order)
        old = drbd(disk=DiskState.OUTDATED, peer_disk=peer_disk)
        outside = Outside(mirror(held_by), old)
        play(starting.claim_and_start(view(held_by, old)), outside)
        before = outside.names[outside.names.index("Promote") - 1]
        assert (before == "Disconnect") is (peer_disk is DiskState.DISKLESS)
        assert outside.effects(fx.Promote) == [fx.Promote(force=True)]

    def test_a_takeover_reads_the_heartbeat_before_the_mirror(self) -> None:
        held_by = authority(B)
        known = view(held_by, lost(), assigned=assignment(A, lease_lost(held_by)))
        outside = Outside(mirror(held_by), lost(), beat=heartbeat())
        finished = play(starting.claim_and_start(known), outside)
        assert finished.reason is Reason.STARTING
        assert outside.names[:3] == ["CheckFiles", "ReadHeartbeat", "ReadMirror"]

    def test_alone_nothing_is_claimed_where_drbd_could_not_ask(self) -> None:
        """Connected, or Primary already, it need not."""
        held_by = authority("", owner_instance="")
        script: dict[type, list[fx.Outcome]] = {fx.CheckFiles: [fx.Failed("x.res:1: Parse error")]}
        outside = Outside(mirror(held_by), lost(), script=script)
        finished = play(starting.claim_and_start(view(held_by, lost())), outside)
        assert (finished.reason, finished.failed) == (Reason.START_REFUSED, True)
        assert "DRBD's files cannot be read on a-1" in finished.message
        assert "x.res:1: Parse error. Correct or remove what is named" in finished.message
        assert outside.names == ["CheckFiles"]
        for state in (drbd(), drbd(Role.PRIMARY, Connection.CONNECTING)):
            outside = Outside(mirror(held_by), state)
            play(starting.claim_and_start(view(held_by, state)), outside)
            assert "CheckFiles" not in outside.names

    @pytest.mark.parametrize("beat", [None, heartbeat(version="71")])
    def test_a_takeover_stops_at_another_heartbeat(self, beat: Heartbeat | None) -> None:
        held_by = authority(B)
        known = view(held_by, lost(), assigned=assignment(A, lease_lost(held_by)))
        outside = Outside(mirror(held_by), lost(), beat=beat)
        finished = play(starting.claim_and_start(known), outside)
        assert finished.reason is Reason.LEASE_CHANGED
        assert not outside.effects(fx.Swap)

    @pytest.mark.parametrize("kind", [fx.Swap, fx.Promote])
    def test_nothing_starts_after_a_failure(self, kind: type) -> None:
        answer: fx.Outcome = FAILED if kind is fx.Promote else fx.SwapUnclear("?")
        script: dict[type, list[fx.Outcome]] = {kind: [answer] * 4}
        outside = Outside(mirror(authority("")), drbd(), script=script)
        finished = play(starting.claim_and_start(view(authority(""), drbd())), outside)
        assert not outside.effects(fx.StartGuest)
        assert finished.reason in (Reason.EFFECT_FAILED, Reason.OUTCOME_UNKNOWN)

    def test_a_primary_is_not_promoted_again(self) -> None:
        known = view(authority(), drbd(Role.PRIMARY))
        outside = Outside(mirror(authority()), drbd(Role.PRIMARY))
        play(starting.claim_and_start(known), outside)
        assert not outside.effects(fx.Promote)

    def test_what_changed_since_the_view_is_seen(self) -> None:
        outside = Outside(mirror(standalone(B)), lost())
        finished = play(starting.claim_and_start(view(authority(""), drbd())), outside)
        assert finished.reason is Reason.PEER_HOLDS_STANDALONE
