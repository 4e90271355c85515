"""The owner says that it still is, or lets go; and when it does not."""

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Settled
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, NotConfigured
from tandem_api.authority import Authority, Fenced, Mode
from tandem_api.kinds.mirror import Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, Role
from unit.builders import (
    HERE,
    A,
    B,
    authority,
    drbd,
    facts,
    frozen,
    lost,
    mirror,
    record,
    standalone,
)

from .verdicts import EARLIER_BOOT, EARLIER_RUN, proposed, reason


class TestAdopt:
    def test_the_same_boot_goes_on(self) -> None:
        held_by = standalone(A, owner_instance=EARLIER_RUN)
        new = proposed(rules.adopt(mirror(held_by), facts(frozen()), "r"))
        assert (new.owner_instance, new.mode, new.eligible) == (
            str(HERE),
            Mode.STANDALONE,
            held_by.eligible,
        )

    def test_its_own_needs_no_adopting(self) -> None:
        assert isinstance(rules.adopt(mirror(authority()), facts(drbd()), "r"), Settled)

    @pytest.mark.parametrize("held_by", [authority(B), authority(A, owner_instance=EARLIER_BOOT)])
    def test_nothing_else_is_adopted(self, held_by: Authority) -> None:
        assert reason(rules.adopt(mirror(held_by), facts(drbd()), "r")) is Reason.NOT_OWNER


class TestAffirm:
    def test_always_a_swap(self) -> None:
        """So that a claim of the peer, made for this epoch, cannot land any more."""
        new = proposed(rules.affirm(mirror(authority()), facts(drbd()), "r"))
        assert (new.epoch, new.owner, new.owner_instance) == (6, A, str(HERE))

    @pytest.mark.parametrize("held_by", [authority(B), authority(A, owner_instance=EARLIER_BOOT)])
    def test_nothing_else_is_affirmed(self, held_by: Authority) -> None:
        assert reason(rules.affirm(mirror(held_by), facts(drbd()), "r")) is Reason.NOT_OWNER


class TestRelease:
    def test_from_mirrored(self) -> None:
        new = proposed(rules.release(mirror(authority()), facts(drbd()), "r"))
        assert (new.owner, new.owner_instance, new.mode) == ("", "", Mode.MIRRORED)
        assert new.fenced[A] == Fenced(instance=str(HERE), epoch=5)

    def test_what_is_not_owned_needs_no_releasing(self) -> None:
        assert isinstance(rules.release(mirror(authority(B)), facts(drbd()), "r"), Settled)

    @pytest.mark.parametrize(
        "state", [drbd(Role.PRIMARY), drbd(Role.UNKNOWN), DrbdUnknown("busy"), NotConfigured(1.0)]
    )
    def test_only_once_secondary(self, state: DrbdState | DrbdUnknown | NotConfigured) -> None:
        verdict = rules.release(mirror(authority()), facts(state), "r")
        assert reason(verdict) is Reason.UNKNOWN_STATE

    def test_standalone_is_kept(self) -> None:
        verdict = rules.release(mirror(standalone()), facts(lost()), "r")
        assert reason(verdict) is Reason.NOT_YET_IN_SYNC

    def test_what_the_peer_lacks_is_kept(self) -> None:
        """DRBD 9 has forgotten it, and both count: only the record knows."""
        verdict = rules.release(
            mirror(authority()), facts(drbd(), record=record(owes_copy=True)), "r"
        )
        assert reason(verdict) is Reason.NOT_YET_IN_SYNC

    def test_without_a_connection_only_with_protocol_c(self) -> None:
        proposed(rules.release(mirror(authority()), facts(lost(DiskState.DISKLESS)), "r"))
        asynchronous = mirror(authority(), protocol=Protocol.A)
        verdict = rules.release(asynchronous, facts(lost()), "r")
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS
        proposed(rules.release(asynchronous, facts(drbd()), "r"))
