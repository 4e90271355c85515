"""While a guest is on its way: when two may be Primary, and who may execute it."""

from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdUnknown
from tandem_actuator.core.host.permission import judge, run_permission
from tandem_actuator.core.migration import keeps_primary, may_both_be_primary
from tandem_actuator.core.model import MigrationNote, View
from tandem_actuator.core.report import guest_report, replica_report
from tandem_api.authority import Authority, Migration, Mode
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState, Role
from unit.builders import HERE, THERE, A, B, authority, drbd, frozen, guest, record, standalone

from .scenes import (
    BOTH,
    EARLIER_BOOT,
    EARLIER_RUN,
    HANDED,
    IN,
    LIVE,
    NOW,
    OUT,
    UNDER_WAY,
    M,
    source,
    target,
)

GONE, OVER = replace(OUT, gone=True), replace(OUT, over=True)
OTHER = UNDER_WAY.model_copy(update={"migration": Migration(id="m0", source=A, target=B)})
LOOKED_UNTIL_S = 1000.0 + DEFAULT.query_freshness_seconds


class TestKeepsPrimary:
    """While the target would take the source's demotion for the handover."""

    def test_the_source_stays_primary(self) -> None:
        assert keeps_primary(source())
        assert keeps_primary(source(OVER))
        assert keeps_primary(source(OUT, authority(B)))

    @pytest.mark.parametrize(
        "known",
        [
            source(None),
            source(GONE),
            source(replace(OUT, run=EARLIER_BOOT)),
            source(drbd=drbd(Role.PRIMARY)),
            source(drbd=frozen()),
            source(drbd=drbd(Role.SECONDARY, peer_role=Role.PRIMARY)),
            source(drbd=DrbdUnknown("busy")),
            target(),
        ],
        ids=[
            *("nothing", "gone", "rebooted", "peer-secondary", "link-lost", "secondary"),
            *("unknown", "target"),
        ],
    )
    def test_else_it_need_not(self, known: View) -> None:
        assert not keeps_primary(known)


class TestMayExecuteUnowned:
    """What was sent runs at the target before the source's swap."""

    SENT = replace(IN, resumed=True)

    def allowed(self, note: MigrationNote | None, held_by: Authority = UNDER_WAY) -> bool:
        known = target(note, held_by, domain=DomainState.RUNNING, drbd=drbd(Role.PRIMARY))
        return run_permission(known, NOW, NOW).allowed

    def test_what_libvirt_was_told_to_let_go_on(self) -> None:
        assert self.allowed(self.SENT)
        assert self.allowed(self.SENT, HANDED)

    @pytest.mark.parametrize(
        "note",
        [
            None,
            IN,
            replace(SENT, over=True),
            replace(SENT, run=f"{B}/boot0/run0"),
            replace(SENT, id="m0"),
        ],
        ids=["none", "half", "over", "rebooted", "another"],
    )
    def test_nothing_else(self, note: MigrationNote | None) -> None:
        assert not self.allowed(note)

    @pytest.mark.parametrize("held_by", [authority(), standalone(), authority("")])
    def test_nor_once_the_authority_has_gone_on_without_it(self, held_by: Authority) -> None:
        assert not self.allowed(self.SENT, held_by)

    def test_two_are_forbidden_as_soon_as_it_goes_on(self) -> None:
        assert may_both_be_primary(UNDER_WAY, record(incoming=IN), THERE)
        assert not may_both_be_primary(UNDER_WAY, record(incoming=self.SENT), THERE)


class TestMayBothBePrimary:
    @pytest.mark.parametrize(
        ("note", "allowed"),
        [
            (OUT, True),
            (replace(OUT, run=EARLIER_RUN), True),
            (replace(OUT, run=EARLIER_BOOT), False),
            (replace(OUT, id="m0"), False),
            (GONE, False),
            (OVER, False),
            (None, False),
        ],
        ids=["noted", "restarted", "rebooted", "another", "gone", "over", "not-noted"],
    )
    def test_at_the_source_while_its_part_is_not_over(
        self, note: MigrationNote | None, allowed: bool
    ) -> None:
        assert may_both_be_primary(UNDER_WAY, record(outgoing=note), HERE) is allowed

    @pytest.mark.parametrize(
        ("note", "allowed"),
        [(IN, True), (replace(IN, over=True), False), (replace(IN, run=f"{B}/boot0/r"), False)],
        ids=["noted", "over", "rebooted"],
    )
    def test_at_the_target_likewise(self, note: MigrationNote, allowed: bool) -> None:
        assert may_both_be_primary(UNDER_WAY, record(incoming=note), THERE) is allowed

    @pytest.mark.parametrize(
        "held_by",
        [None, authority(), standalone(), HANDED, OTHER, authority(mode=Mode.HOLD)],
        ids=["none", "mirrored", "standalone", "handed-over", "another", "hold"],
    )
    def test_only_while_the_authority_says_that_it_is_under_way(
        self, held_by: Authority | None
    ) -> None:
        assert not may_both_be_primary(held_by, record(outgoing=OUT), HERE)
        assert not may_both_be_primary(held_by, record(incoming=IN), THERE)

    def test_a_part_that_is_over_does_not_hide_another(self) -> None:
        both = record(outgoing=replace(OUT, id="m0", over=True), incoming=IN)
        assert may_both_be_primary(UNDER_WAY, both, THERE)


class TestLink:
    """Without a heartbeat a guest lives on the sight of its peer, which is a Secondary, or, for a
    source, the target that it sends to.
    """

    def allowed(self, known: View) -> bool:
        permission = run_permission(known, None, NOW)
        assert not permission.allowed or permission.until_s == LOOKED_UNTIL_S
        return permission.allowed

    @pytest.mark.parametrize(
        ("note", "allowed"),
        [
            (OUT, True),
            (OVER, True),
            (replace(OUT, run=EARLIER_RUN), True),
            (GONE, False),
            (replace(OUT, run=EARLIER_BOOT), False),
            (None, False),
        ],
        ids=["sends", "given-up", "restarted", "gone", "rebooted", "not-noted"],
    )
    def test_beside_a_primary_only_as_a_source_that_still_has_it(
        self, note: MigrationNote | None, allowed: bool
    ) -> None:
        assert self.allowed(source(note)) is allowed

    def test_beside_a_secondary_as_ever(self) -> None:
        for note in (None, OUT, GONE):
            assert self.allowed(source(note, drbd=drbd(Role.PRIMARY)))

    def test_a_target_does_not_live_on_the_sight_of_its_source(self) -> None:
        assert not self.allowed(target(IN, domain=DomainState.RUNNING))

    @pytest.mark.parametrize(
        "changes",
        [{"drbd": frozen()}, {"drbd": drbd(Role.PRIMARY, peer_role=Role.UNKNOWN)}],
        ids=["link-lost", "role-unknown"],
    )
    def test_nor_anybody_without_a_sight_of_it(self, changes: dict[str, object]) -> None:
        assert not self.allowed(source(OUT, **changes))

    def test_nor_of_an_old_one(self) -> None:
        old = replace(BOTH, queried_at_s=NOW - DEFAULT.query_freshness_seconds)
        assert not self.allowed(source(OUT, drbd=old))

    def test_once_handed_over_nothing_counts(self) -> None:
        permission = run_permission(source(OUT, HANDED), NOW, NOW)
        assert (permission.allowed, permission.reason) == (False, Reason.PEER_OWNS)


class TestHalf:
    """What was sent of a guest executes nothing until it is resumed."""

    def test_a_half_is_no_guest_that_may_run(self) -> None:
        known = target(IN, domain=DomainState.PAUSED)
        assert (known.holds_half, known.guest_may_run) == (True, False)
        assert judge([known], None, NOW).fence == ()

    def test_a_start_that_is_under_way_counts_all_the_same(self) -> None:
        known = target(IN, domain=DomainState.PAUSED, starting=True)
        assert known.guest_may_run

    @pytest.mark.parametrize(
        ("note", "domain"),
        [
            (None, DomainState.PAUSED),
            (replace(IN, run=f"{B}/boot0/run0"), DomainState.PAUSED),
            (IN, DomainState.RUNNING),
        ],
        ids=["not-noted", "rebooted", "runs"],
    )
    def test_anything_else_is(self, note: MigrationNote | None, domain: DomainState) -> None:
        known = target(note, domain=domain)
        assert (known.holds_half, known.guest_may_run) == (False, True)
        assert judge([known], None, NOW).fence == (known.mirror.key,)

    def test_a_half_of_an_earlier_run_is_one_still(self) -> None:
        assert target(replace(IN, run=f"{B}/boot1/run0"), domain=DomainState.PAUSED).holds_half

    def test_a_source_that_stands_still_holds_no_half(self) -> None:
        known = source(OUT, domain=DomainState.PAUSED)
        assert (known.holds_half, known.guest_may_run) == (False, True)

    def test_unknown_is_no_half(self) -> None:
        """Then it counts whether a guest was ever started here on this boot."""
        known = target(IN, domain=DomainState.UNKNOWN)
        assert (known.holds_half, known.guest_may_run) == (False, False)
        begun = replace(known, record=replace(known.record, started_boot_id=THERE.boot_id))
        assert begun.guest_may_run


class TestReport:
    def receives(self, known: View) -> str:
        return replica_report(known, Reason.RECEIVING, "", None, NOW).receives

    def test_a_target_tells_for_which_migration_it_is_ready(self) -> None:
        assert self.receives(target()) == M

    @pytest.mark.parametrize(
        "known",
        [
            target(None),
            target(receiving=None),
            target(replace(IN, over=True)),
            target(replace(IN, id="m0"), receiving=target().receiving),
            target(replace(IN, run=f"{B}/boot0/run0")),
            source(),
        ],
        ids=["none", "restarted", "over", "another", "rebooted", "source"],
    )
    def test_and_for_none_while_it_is_not(self, known: View) -> None:
        assert self.receives(known) == ""

    def sends(self, known: View) -> str:
        return replica_report(known, Reason.MIGRATING, "", None, NOW).sends

    def test_a_source_tells_which_migration_it_has_noted(self) -> None:
        assert self.sends(source()) == M
        assert self.sends(source(drbd=DrbdUnknown("busy"))) == M

    @pytest.mark.parametrize(
        "known",
        [
            source(None),
            source(replace(OUT, over=True)),
            source(replace(OUT, gone=True)),
            source(replace(OUT, run=f"{A}/boot0/run0")),
            target(),
        ],
        ids=["none", "over", "gone", "rebooted", "target"],
    )
    def test_and_none_in_any_other_case(self, known: View) -> None:
        assert self.sends(known) == ""

    def refused(self, known: View) -> str:
        told = guest_report(known, Reason.RUNNING, "", {})
        assert told is not None
        return told.refused_move

    def test_a_source_tells_why_it_could_not_be_sent(self) -> None:
        assert self.refused(source(OVER, refused_move="no room")) == "no room"

    def test_a_run_that_has_just_begun_knows_only_that_it_came_to_nothing(self) -> None:
        earlier = replace(OVER, run=EARLIER_RUN)
        assert self.refused(source(earlier)) == f"not sent to {B}: it came to nothing"

    def test_what_is_under_way_or_gone_is_not_refused(self) -> None:
        for note in (None, OUT, GONE):
            assert self.refused(source(note)) == ""

    def test_nor_is_a_new_order_for_what_became_of_the_one_before(self) -> None:
        """The target has not let go of that yet; of this one nothing was tried."""
        later = guest(LIVE.model_copy(update={"serial": 2}))
        assert self.refused(source(OVER, guest=later)) == ""
