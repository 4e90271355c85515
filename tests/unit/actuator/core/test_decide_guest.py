"""The rules about a guest, in their order: start it, stop it, leave it."""

from dataclasses import replace

import pytest

from tandem_actuator.core.model import FenceProgress
from tandem_actuator.core.order import Start, Stay, Task
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Role
from unit.builders import A, B, assignment, authority, drbd, lease_lost, lost, standalone, view

from .test_decide import NOW, at, running, stays, task


class TestGuest:
    def test_assigned_and_unowned_is_started(self) -> None:
        assert task(at(view(authority(""), drbd()))) is Task.START

    def test_assigned_after_an_own_crash_is_started(self) -> None:
        held_by = authority(A, owner_instance="a-1/boot0/run0")
        assert task(at(view(held_by, drbd()))) is Task.START

    def test_a_takeover_that_is_proven_is_started(self) -> None:
        held_by = authority(B)
        known = view(held_by, lost(), assigned=assignment(A, lease_lost(held_by)))
        assert task(at(known)) is Task.START

    def test_a_takeover_waits_for_the_link(self) -> None:
        held_by = authority(B)
        known = view(
            held_by,
            lost(),
            assigned=assignment(A, lease_lost(held_by)),
            link_lost_at_s=NOW - 1,
        )
        assert stays(at(known)) is Reason.WAITING_FOR_LINK

    def test_a_peers_standalone_is_refused(self) -> None:
        held_by = standalone(B)
        known = view(held_by, lost(), assigned=assignment(A, lease_lost(held_by)))
        assert stays(at(known)) is Reason.PEER_HOLDS_STANDALONE

    def test_no_start_without_the_required_watchdog(self) -> None:
        unarmed = view(authority(""), drbd(), watchdog_armed=False)
        assert stays(at(unarmed)) is Reason.WATCHDOG_NOT_ARMED
        assert task(at(replace(unarmed, watchdog_required=False))) is Task.START

    def test_nothing_is_claimed_without_a_heartbeat_that_counts(self) -> None:
        """It could not be started. Only a host that has just booted is about to have one."""
        last_s = DEFAULT.self_fence_seconds
        booted = view(authority(""), drbd())
        assert task(at(booted)) is Task.START
        assert task(at(replace(booted, renewal_sent_at_s=NOW - last_s))) is Task.START
        lapsed = replace(booted, renewal_sent_at_s=NOW - last_s - 0.1)
        decision = at(lapsed)
        assert isinstance(decision, Start)
        assert decision.task is Task.LISTEN
        assert decision.message == f"not starting: no heartbeat of {A} was confirmed for 3 s"

    def test_nor_where_none_counts_for_long_although_the_api_answers(self) -> None:
        """The other host may be able to."""
        decision = at(view(authority(""), drbd(), deaf=True))
        assert isinstance(decision, Stay)
        assert decision.reason is Reason.START_REFUSED
        assert "answers come too late for a heartbeat" in decision.message

    @pytest.mark.parametrize("tried", [False, True])
    def test_a_watchdog_that_was_not_tried_yet_is_no_reason_to_do_without(
        self, tried: bool
    ) -> None:
        booted = view(authority(""), drbd(), watchdog_armed=False, watchdog_refused=tried)
        decision = at(booted)
        assert isinstance(decision, Stay)
        assert ("set spec.watchdog to Optional" in decision.message) is tried

    def test_no_start_while_the_last_one_is_being_fenced(self) -> None:
        fencing = view(authority(), drbd(), fence=FenceProgress(since_s=NOW))
        assert stays(at(fencing)) is Reason.SELF_FENCING

    def test_a_planned_move_stops_it(self) -> None:
        moving = running(authority(), drbd(Role.PRIMARY), assigned=assignment(B))
        assert task(at(moving)) is Task.SHUT_DOWN
        asked = replace(moving, shutdown_sent_at_s=NOW - 29, shutdown_heard=True)
        assert stays(at(asked)) is Reason.STOPPING
        assert task(at(replace(asked, shutdown_sent_at_s=NOW - 30))) is Task.PULL_PLUG

    def test_assigned_nowhere_stops_it(self) -> None:
        stopping = running(authority(), drbd(Role.PRIMARY), assigned=assignment(""))
        assert task(at(stopping)) is Task.SHUT_DOWN

    def test_a_takeover_that_has_not_happened_stops_nothing(self) -> None:
        known = running(
            authority(), drbd(Role.PRIMARY), assigned=assignment(B, lease_lost(authority()))
        )
        assert stays(at(known)) is Reason.STEADY

    @pytest.mark.parametrize("missing", ["guest", "assignment"])
    def test_an_object_that_disappears_is_no_order(self, missing: str) -> None:
        known = running(authority(), drbd(Role.PRIMARY))
        assert known.guest is not None
        unassigned = known.guest.model_copy(
            update={"status": known.guest.status.model_copy(update={"assignment": None})}
        )
        gone = replace(known, guest=None if missing == "guest" else unassigned)
        assert stays(at(gone)) is Reason.STEADY

    def test_stopped_it_is_demoted_then_released(self) -> None:
        stopped = view(authority(), drbd(Role.PRIMARY), assigned=assignment(B))
        assert task(at(stopped)) is Task.DEMOTE
        assert task(at(replace(stopped, drbd=drbd()))) is Task.RELEASE

    def test_a_standalone_owner_keeps_what_only_it_has(self) -> None:
        stopped = view(standalone(), lost(), assigned=assignment(""))
        assert stays(at(stopped)) is Reason.STEADY
