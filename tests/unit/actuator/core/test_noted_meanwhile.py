"""Two procedures of one mirror at once: what one has noted, the other goes by."""

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.mirror import handler
from tandem_api.reasons import Reason
from unit.builders import authority, frozen, record, view


def test_a_handler_that_waited_goes_by_what_its_host_knows_by_now() -> None:
    """Meanwhile the worker noted epoch 6, and the API was restored to epoch 5."""
    known = view(authority(epoch=5), frozen(), record=record(max_epoch=5))
    procedure = handler.link_loss(known)
    assert isinstance(next(procedure), fx.Wait)
    assert isinstance(procedure.send(fx.Done()), fx.ReadMirror)
    by_now = fx.MirrorRead(known.mirror, "r1", record(max_epoch=6))
    assert isinstance(procedure.send(by_now), fx.QueryDrbd)
    with pytest.raises(StopIteration) as end:
        procedure.send(fx.DrbdRead(known.drbd, 1000.0, None))
    assert end.value.value.reason is Reason.HOLD_EPOCH_REGRESSED
