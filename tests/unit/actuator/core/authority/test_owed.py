"""An owner that has noted that its peer lacks something says so, also after a reboot."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core import effects as fx
from tandem_actuator.core.authority import Settled
from tandem_actuator.core.drbd import DrbdUnknown, DrbdView, NotConfigured
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.order import Start, Task, decide
from tandem_api.authority import Authority, Mode, Override
from tandem_api.kinds.mirror import Marker, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, DomainState, Role
from unit.builders import (
    HERE,
    A,
    B,
    assignment,
    authority,
    drbd,
    facts,
    lost,
    mirror,
    record,
    standalone,
    view,
)

from ..outside import Outside, play
from .verdicts import EARLIER_BOOT, proposed, reason

OWING = record(owned_epoch=5, owes_copy=True)
BOOTED = authority(owner_instance=EARLIER_BOOT)
MARKED = replace(OWING, marker=Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE))


@pytest.mark.parametrize(
    ("state", "noted"),
    [
        (NotConfigured(1.0), OWING),
        (DrbdUnknown("busy"), OWING),
        (drbd(), OWING),
        (lost(DiskState.CONSISTENT), MARKED),
    ],
    ids=["not-up", "unknown", "in-sync", "alone"],
)
@pytest.mark.parametrize("instance", [EARLIER_BOOT, str(HERE)], ids=["booted", "same-boot"])
def test_the_peer_is_out_and_the_owner_stays_as_it_is(
    state: DrbdView, noted: Any, instance: str
) -> None:
    """Not a claim: whoever starts the guest still has to make one."""
    held_by = authority(owner_instance=instance)
    said = proposed(rules.owed(mirror(held_by), facts(state, record=noted), "r"))
    assert (said.mode, said.owner, said.owner_instance) == (Mode.STANDALONE, A, instance)
    assert (said.may_own(A), said.may_own(B)) == (True, False)
    assert said.epoch == held_by.epoch + 1


@pytest.mark.parametrize(
    ("held_by", "known", "why"),
    [
        (authority(B), {}, Reason.NOT_OWNER),
        (authority(""), {}, Reason.NOT_OWNER),
        (BOOTED, {"record": record(owned_epoch=5)}, Reason.STEADY),
        (
            BOOTED,
            {"record": replace(OWING, marker=Marker(reason=Reason.LOCAL_DISK_FAILED))},
            Reason.STEADY,
        ),
    ],
    ids=["taken-over", "nobodys", "owes-nothing", "disk-failed"],
)
def test_but_nobody_else_says_so(held_by: Authority, known: dict[str, Any], why: Reason) -> None:
    verdict = rules.owed(mirror(held_by), facts(drbd(), **{"record": OWING, **known}), "r")
    assert reason(verdict) is why


@pytest.mark.parametrize(
    "disk", [DiskState.INCONSISTENT, DiskState.OUTDATED, DiskState.FAILED, DiskState.DISKLESS]
)
def test_a_copy_that_is_behind_is_not_put_before_another(disk: DiskState) -> None:
    verdict = rules.owed(mirror(BOOTED), facts(lost(disk), record=OWING), "r")
    assert reason(verdict) is Reason.STEADY


def test_not_beside_a_peer_that_follows_another_authority() -> None:
    """The API was restored: the peer may be the owner of what came after this."""
    restored = mirror(BOOTED)
    restored.status.replicas[B] = ReplicaReport(role=Role.PRIMARY)
    verdict = rules.owed(restored, facts(NotConfigured(1.0), record=OWING), "r")
    assert reason(verdict) is Reason.PEER_STILL_PRIMARY


def test_once_is_enough() -> None:
    known = facts(drbd(), record=OWING)
    assert isinstance(rules.owed(mirror(standalone()), known, "r"), Settled)


def test_what_is_claimed_with_a_copy_owed_is_claimed_alone() -> None:
    """Whatever DRBD says of the two: the peer is copied to first."""
    restored = mirror(authority("", owner_instance=""))
    for noted, mode in ((OWING, Mode.STANDALONE), (record(), Mode.MIRRORED)):
        known = facts(drbd(), record=noted)
        claimed = proposed(rules.claim(restored, known, assignment(A), None, "r"))
        assert claimed.mode is mode
        assert claimed.may_own(B) is (mode is Mode.MIRRORED)


class TestRule:
    def decided(self, state: DrbdView, **changes: Any) -> Task | None:
        changes = {"record": OWING, "drbd_major": 9, "domain": DomainState.UNKNOWN, **changes}
        decision = decide(view(changes.pop("held_by", BOOTED), state, **changes), 1000.0, "now")
        return decision.task if isinstance(decision, Start) else None

    @pytest.mark.parametrize(
        "state", [NotConfigured(1.0), DrbdUnknown("busy"), drbd()], ids=["not-up", "unknown", "up"]
    )
    def test_before_all_that_takes_time(self, state: DrbdView) -> None:
        assert self.decided(state) is Task.DEGRADE
        assert self.decided(state, record=record(owned_epoch=5)) is not Task.DEGRADE

    def test_but_after_the_epoch_is_noted(self) -> None:
        higher = replace(OWING, max_epoch=BOOTED.epoch - 1)
        assert self.decided(NotConfigured(1.0), record=higher) is Task.NOTE_EPOCH

    def test_a_primary_notes_what_nine_forgets_first(self) -> None:
        running = drbd(Role.PRIMARY, out_of_sync_bytes=0)
        assert self.decided(running, held_by=authority()) is Task.NOTE_COPY

    def test_it_is_swapped_in_and_nothing_else_is_done(self) -> None:
        known = view(BOOTED, NotConfigured(1.0), record=OWING, drbd_major=9)
        decision = decide(known, 1000.0, "now")
        assert isinstance(decision, Start)
        outside = Outside(known.mirror, NotConfigured(1.0), record=OWING)
        assert play(decision.make(), outside).reason is Reason.PEER_DISK_NOT_UP_TO_DATE
        assert set(outside.names) <= {"ReadMirror", "QueryDrbd", "Swap", "UpdateRecord"}
        said = outside.at.status.authority
        assert said is not None
        assert (said.mode, said.owner_instance) == (Mode.STANDALONE, EARLIER_BOOT)


@pytest.mark.parametrize(
    ("owner", "winner", "forgotten"),
    [("", B, False), ("", A, None), ("", "", None), (A, B, None)],
    ids=["given-to-the-peer", "given-to-this-host", "released", "still-the-owner"],
)
def test_a_person_who_gives_it_to_the_peer_ends_the_debt(
    owner: str, winner: str, forgotten: bool | None
) -> None:
    given = Override(by="ana", at_epoch=4, accept_data_loss=True, host=winner) if winner else None
    known = view(authority(owner, override=given), drbd(), record=OWING)
    outside = Outside(known.mirror, drbd())
    play(procedures.note_epoch(known), outside)
    (noted,) = outside.effects(fx.UpdateRecord)
    assert isinstance(noted, fx.UpdateRecord)
    assert (noted.owes_copy, noted.bits_gone) == (forgotten, forgotten)
