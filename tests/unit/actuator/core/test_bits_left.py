"""DRBD calls both replicas current, but its bitmap has bits: docs/drbd.md, "Reconnecting"."""

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core import effects as fx
from tandem_actuator.core import procedures
from tandem_actuator.core.model import Role
from tandem_api.reasons import Reason
from tandem_sim.builders import B, authority, drbd, facts, mirror, standalone, view


def test_a_marker_stays() -> None:
    known = view(authority(B), drbd())
    procedure = procedures.clear_marker(known)
    assert isinstance(next(procedure), fx.QueryDrbd)
    with pytest.raises(StopIteration) as end:
        procedure.send(fx.DrbdRead(drbd(out_of_sync_bytes=4096), 1000.0, None))
    assert end.value.value.reason is Reason.NOT_YET_IN_SYNC
    assert "4096 bytes differ" in end.value.value.message
    assert not end.value.value.progress


def test_the_owner_does_not_say_mirrored() -> None:
    state = drbd(Role.PRIMARY, out_of_sync_bytes=4096)
    verdict = rules.restore(mirror(standalone()), facts(state), "r")
    assert isinstance(verdict, rules.Refusal)
    assert "4096 bytes differ" in verdict.message
