"""What is known at the moment of each effect, and what its answer changes: the driver's orders."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdUnknown
from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.core.model import FenceProgress
from tandem_actuator.core.report import guest_report
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.api import ApiConflict, ApiUnavailable
from tandem_actuator.ports.libvirt import KilledNotGone
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Connection, DomainState, Role
from unit.builders import HERE, A, B, assignment, authority, drbd, guest, mirror, standalone

from .noted import Noted

LOST = drbd(Role.PRIMARY, Connection.CONNECTING, suspended=True)


@pytest.fixture
def host() -> Noted:
    return Noted()


def fail(error: Exception) -> None:
    raise error


class TestStart:
    async def test_the_guard_looks_before_libvirt_is_told(self, host: Noted) -> None:
        """What is being started may execute at once: the watchdog must not be fed for ever then."""
        seen: list[bool] = []
        host.during["guard"] = lambda: seen.append(host.unit.view(host.node).guest_may_run)
        assert await host.driver.perform(host.unit, fx.StartGuest(1000.0)) == fx.Done()
        assert host.calls == ["guard", "start"]
        assert seen == [True]

    async def test_while_it_is_under_way_the_guest_may_run(self, host: Noted) -> None:
        seen: list[bool] = []
        host.during["start"] = lambda: seen.append(host.unit.view(host.node).guest_may_run)
        await host.driver.perform(host.unit, fx.StartGuest(1000.0))
        assert seen == [True]

    async def test_after_it_the_guest_runs_whatever_the_last_look_was(self, host: Noted) -> None:
        await host.driver.perform(host.unit, fx.StartGuest(1000.0))
        assert (host.unit.domain, host.unit.starting) == (DomainState.RUNNING, False)
        assert host.unit.view(host.node).guest_may_run

    async def test_one_that_failed_is_over(self, host: Noted) -> None:
        host.during["start"] = lambda: fail(CommandFailed("no memory"))
        outcome = await host.driver.perform(host.unit, fx.StartGuest(1000.0))
        assert outcome == fx.Failed("no memory", refused=True)
        assert (host.unit.domain, host.unit.starting) == (DomainState.ABSENT, False)
        assert host.unit.started_by == 0

    async def test_by_which_order_it_was_started_is_known(self, host: Noted) -> None:
        """As that stood when it began: a later one may have been to stop it."""

        def another() -> None:
            later = assignment(HERE.node).model_copy(update={"serial": 9})
            host.unit.guest = guest(later)

        host.during["start"] = another
        await host.driver.perform(host.unit, fx.StartGuest(1000.0))
        assert host.unit.started_by == assignment(HERE.node).serial
        said = guest_report(host.unit.view(host.node), Reason.RUNNING, "", {})
        assert said is not None
        assert said.started_by == assignment(HERE.node).serial

    @pytest.mark.parametrize(
        "sent_ago_s", [None, DEFAULT.self_fence_seconds + 0.1], ids=["never", "lapsed"]
    )
    async def test_none_while_the_guest_may_not_run(
        self, host: Noted, sent_ago_s: float | None
    ) -> None:
        """Rules 10 and 14: the claim was right, and time has passed since."""
        host.unit.drbd = LOST
        now_s = host.clock.now_s
        host.node.renewal_sent_at_s = None if sent_ago_s is None else now_s - sent_ago_s
        outcome = await host.driver.perform(host.unit, fx.StartGuest(now_s))
        assert isinstance(outcome, fx.Failed)
        assert outcome.message.startswith("not starting: ")
        assert host.calls == []

    async def test_none_on_a_claim_from_before_the_heartbeat_lapsed(self, host: Noted) -> None:
        host.node.steady_since_s = host.clock.now_s - 1.0
        outcome = await host.driver.perform(host.unit, fx.StartGuest(host.clock.now_s - 2.0))
        assert isinstance(outcome, fx.Failed)
        assert host.calls == []


class TestLook:
    async def test_the_link_is_lost_from_when_the_look_ended(self, host: Noted) -> None:
        """Later than it was is safe, earlier is not: the wait for the other side begins there."""
        host.found = LOST
        host.during["query"] = lambda: host.clock.advance(3.0)
        outcome = await host.driver.perform(host.unit, fx.QueryDrbd())
        assert host.unit.link_lost_at_s == 1003.0
        assert outcome == fx.DrbdRead(LOST, 1003.0, 1003.0)

    async def test_a_look_that_took_long_does_not_hide_the_lapse_meanwhile(
        self, host: Noted
    ) -> None:
        """Nor does what it shows: until now the guest ran on nothing."""
        host.node.acknowledged = False
        host.unit.domain = DomainState.RUNNING
        host.node.guarding = True
        host.found = drbd(Role.PRIMARY, at_s=1010.0)
        host.during["query"] = lambda: host.clock.advance(10.0)
        await host.driver.query_drbd(host.unit)
        assert host.unit.lapsed
        assert host.unit.lapsed_at_s == 1010.0

    async def test_one_without_an_answer_leaves_the_count_of_the_link(self, host: Noted) -> None:
        host.unit.observe_drbd(LOST, 990.0, "")
        host.found = DrbdUnknown("no answer")
        outcome = await host.driver.perform(host.unit, fx.QueryDrbd())
        assert outcome == fx.DrbdRead(host.found, 1000.0, 990.0)


class TestRead:
    async def test_that_the_api_has_answered_is_noted(self, host: Noted) -> None:
        """A host whose heartbeats come too late finds that out by it."""
        host.node.renewal_sent_at_s = None
        await host.driver.perform(host.unit, fx.ReadMirror())
        assert host.node.answered_at_s == host.clock.boottime_s()

    async def test_what_a_quorum_says_is_what_the_guard_goes_by(self, host: Noted) -> None:
        host.at = mirror(standalone(B))
        await host.driver.perform(host.unit, fx.ReadMirror())
        known = host.unit.mirror.status.authority
        assert known is not None
        assert known.owner == B

    async def test_it_is_judged_by_what_was_noted_before_it_was_asked(self, host: Noted) -> None:
        """What another procedure notes meanwhile may be newer than what a quorum had."""
        noted = host.unit.record

        def another() -> None:
            host.unit.record = replace(noted, max_epoch=9)

        host.during["read"] = another
        outcome = await host.driver.perform(host.unit, fx.ReadMirror())
        assert isinstance(outcome, fx.MirrorRead)
        assert outcome.record == noted

    async def test_no_two_requests_have_one_id(self, host: Noted) -> None:
        found = [await host.driver.perform(host.unit, fx.ReadMirror()) for _ in range(3)]
        assert len({read.request_id for read in found if isinstance(read, fx.MirrorRead)}) == 3


class TestSwap:
    NEW = authority(A, epoch=6)

    async def test_it_is_of_the_mirror_that_this_host_knows(self, host: Noted) -> None:
        """Not of one that was made again under its name, which a watch may have shown by now."""
        again = host.at.metadata.model_copy(update={"uid": "uid-again"})
        host.unit.mirror = host.at.model_copy(update={"metadata": again})
        await host.driver.perform(host.unit, fx.Swap(5, self.NEW))
        assert host.uids == ["uid-m"]

    async def test_no_answer_is_no_refusal(self, host: Noted) -> None:
        host.during["swap"] = lambda: fail(ApiUnavailable("no answer"))
        assert await host.driver.perform(host.unit, fx.Swap(5, self.NEW)) == fx.SwapUnclear(
            "no answer"
        )
        host.during["swap"] = lambda: fail(ApiConflict("another epoch"))
        assert await host.driver.perform(host.unit, fx.Swap(5, self.NEW)) == fx.SwapLost()

    async def test_it_affirms_the_owner_after_a_lapse(self, host: Noted) -> None:
        host.unit.lapse(990.0)
        host.node.renewal_confirmed_at_s = 995.0
        await host.driver.perform(host.unit, fx.Swap(5, self.NEW))
        assert not host.unit.lapsed

    async def test_but_not_after_one_that_came_while_it_was_under_way(self, host: Noted) -> None:
        host.unit.lapse(990.0)
        host.node.renewal_confirmed_at_s = 995.0

        def stands_still() -> None:
            host.unit.lapse(1000.0)
            host.node.renewal_confirmed_at_s = 1001.0

        host.during["swap"] = stands_still
        await host.driver.perform(host.unit, fx.Swap(5, self.NEW))
        assert host.unit.lapsed

    async def test_one_without_an_answer_affirms_nothing(self, host: Noted) -> None:
        host.unit.lapse(990.0)
        host.node.renewal_confirmed_at_s = 995.0
        host.during["swap"] = lambda: fail(ApiUnavailable("no answer"))
        await host.driver.perform(host.unit, fx.Swap(5, self.NEW))
        assert host.unit.lapsed


class TestDevice:
    @pytest.mark.parametrize("fails", [False, True])
    async def test_drbds_question_is_a_promotions_for_as_long_as_it_takes(
        self, host: Noted, fails: bool
    ) -> None:
        seen: list[bool] = []

        def asks() -> None:
            seen.append(host.unit.promoting)
            if fails:
                raise CommandFailed("refused")

        host.during["promote"] = asks
        await host.driver.perform(host.unit, fx.Promote())
        assert (seen, host.unit.promoting) == ([True], False)

    @pytest.mark.parametrize("changed", [True, False])
    async def test_another_resource_file_is_put_into_force(
        self, host: Noted, changed: bool
    ) -> None:
        host.changed = changed
        await host.driver.perform(host.unit, fx.Configure())
        assert host.calls == ["configure", "adjust"][: 1 + changed]

    async def test_another_resource_file_is_made_sure_of_once_more(self, host: Noted) -> None:
        """DRBD may not take it yet, as while both are Primary."""
        host.changed, host.unit.applied = True, "as before"
        await host.driver.perform(host.unit, fx.Configure(apply=False))
        assert (host.calls, host.unit.applied) == (["configure"], "")

    @pytest.mark.parametrize(("sent_ago_s", "may"), [(0.0, True), (2.5, False)])
    async def test_the_link_is_given_up_only_with_a_heartbeat_to_live_on(
        self, host: Noted, sent_ago_s: float, may: bool
    ) -> None:
        host.unit.domain = DomainState.RUNNING
        host.node.renewal_sent_at_s = host.clock.now_s - sent_ago_s
        outcome = await host.driver.perform(host.unit, fx.Disconnect(needs_heartbeat=True))
        assert isinstance(outcome, fx.Done) is may
        assert host.calls == (["disconnect"] if may else [])


class TestDestroy:
    async def test_that_it_is_gone_is_what_libvirt_says_then(self, host: Noted) -> None:
        assert host.unit.guest is not None
        found = []
        for domains in ({}, {domain_name(host.unit.guest): DomainState.RUNNING}):
            host.unit.domain, host.domains = DomainState.PAUSED, domains
            await host.driver.perform(host.unit, fx.DestroyGuest())
            found.append(host.unit.domain)
        assert found == [DomainState.ABSENT, DomainState.RUNNING]
        assert host.calls == 2 * ["destroy", "states"]

    async def test_one_that_a_frozen_disk_holds_is_known_to_be_killed(self, host: Noted) -> None:
        host.unit.domain = DomainState.RUNNING
        host.unit.fence = FenceProgress(since_s=999.0)
        host.during["destroy"] = lambda: fail(KilledNotGone("held"))
        outcome = await host.driver.perform(host.unit, fx.DestroyGuest())
        assert isinstance(outcome, fx.Failed)
        assert host.unit.fence == FenceProgress(since_s=999.0, killed=True)

    async def test_when_it_was_asked_to_stop_is_known(self, host: Noted) -> None:
        host.during["shutdown"] = lambda: host.clock.advance(1.0)
        await host.driver.perform(host.unit, fx.ShutDownGuest())
        assert host.unit.shutdown_sent_at_s == 1000.0
