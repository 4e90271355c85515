"""A guest that libvirt does not start: tried several times on one claim, then ever more seldom."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.guest import starting
from tandem_actuator.core.guest.rules import REFUSED_PAUSE_MAX_S, REFUSED_PAUSE_S
from tandem_actuator.core.model import Refusals, View
from tandem_actuator.core.order import Decision, Start, Stay, Task, decide
from tandem_actuator.core.report import guest_report
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role
from unit.builders import A, B, assignment, authority, drbd, mirror, view

from .outside import Outside, play

NOW = 10_000.0
WHY = "no bridge br-users"
REFUSED = fx.Failed(WHY, refused=True)


def at(known: View) -> Decision:
    return decide(known, NOW, "2026-01-01T00:00:00Z")


def refused(rounds: int, ago_s: float, *, serial: int = 1) -> View:
    known = view(authority(""), drbd(), assigned=assignment(A))
    return replace(known, refusals=Refusals(rounds, serial, NOW - ago_s, WHY))


class TestOneClaim:
    def start(self, *answers: fx.Outcome) -> tuple[fx.Finished, Outside]:
        script: dict[type, list[fx.Outcome]] = {
            fx.StartGuest: list(answers),
            fx.QueryDrbd: [fx.DrbdRead(drbd(), 1000.0, None)],
        }
        outside = Outside(mirror(authority("")), drbd(Role.PRIMARY), script=script)
        return play(starting.claim_and_start(view(authority(""), drbd())), outside), outside

    def test_is_good_for_three_tries(self) -> None:
        finished, outside = self.start(REFUSED, REFUSED, REFUSED)
        assert (finished.reason, finished.message) == (Reason.START_REFUSED, WHY)
        assert len(outside.effects(fx.Swap)) == 1
        assert len(set(outside.effects(fx.StartGuest))) == 1
        assert outside.names.count("StartGuest") == 3

    def test_until_one_works(self) -> None:
        finished, outside = self.start(REFUSED, fx.Done())
        assert finished.reason is Reason.STARTING
        assert outside.names[-4:] == ["StartGuest", "QueryDrbd", "Wait", "StartGuest"]

    def test_but_not_once_the_device_was_demoted_beneath_it(self) -> None:
        """As by a fence of the last run that ended late: it must be promoted again."""
        outside = Outside(mirror(authority("")), drbd(), script={fx.StartGuest: [REFUSED]})
        finished = play(starting.claim_and_start(view(authority(""), drbd())), outside)
        assert finished.reason is Reason.START_FAILED
        assert outside.names.count("StartGuest") == 1

    def test_but_no_more_once_it_may_be_worth_nothing(self) -> None:
        """Not libvirt refused it: the heartbeat has lapsed, or nobody knows how it ended."""
        finished, outside = self.start(fx.Failed("the heartbeat has lapsed since the claim"))
        assert finished.reason is Reason.START_FAILED
        assert outside.names.count("StartGuest") == 1


class TestRest:
    @pytest.mark.parametrize("rounds", range(1, 12))
    def test_it_doubles_up_to_a_limit(self, rounds: int) -> None:
        pause_s = min(REFUSED_PAUSE_S * 2 ** (rounds - 1), REFUSED_PAUSE_MAX_S)
        resting = at(refused(rounds, pause_s - 0.1))
        assert isinstance(resting, Stay)
        assert resting.reason is Reason.START_REFUSED
        assert WHY in resting.message
        again = at(refused(rounds, pause_s))
        assert isinstance(again, Start)
        assert again.task is Task.START

    def test_a_new_order_is_tried_at_once(self) -> None:
        again = at(refused(3, 1.0, serial=0))
        assert isinstance(again, Start)
        assert again.task is Task.START

    def test_it_is_told_also_after_the_guest_went_elsewhere(self) -> None:
        gone = replace(refused(1, 1.0), guest=view(None, drbd(), assigned=assignment(B)).guest)
        for known in (gone, refused(1, 1.0)):
            told = guest_report(known, Reason.STEADY, "", {})
            assert told is not None
            assert told.refused_start == WHY
