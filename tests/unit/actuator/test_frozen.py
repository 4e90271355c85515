"""Since when writes are frozen and nobody asks for leave to go on."""

from dataclasses import replace

from tandem_actuator.core.drbd import DrbdState, VolumeState
from tandem_actuator.core.model import Record
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import Connection, DiskState, Role
from tandem_hostile import mirror

FROZEN = DrbdState(
    queried_at_s=0.0,
    role=Role.PRIMARY,
    connection=Connection.CONNECTING,
    peer_role=Role.UNKNOWN,
    volumes={"root": VolumeState(DiskState.UP_TO_DATE, DiskState.UNKNOWN)},
    suspended=frozenset({"fencing"}),
)


def test_it_is_counted_anew_after_each_question() -> None:
    """DRBD takes a moment to act on an answer: asking again at once would only disturb it."""
    parsed = Mirror.parse(mirror("m"))
    unit = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
    unit.observe_drbd(FROZEN, 1.0, "")
    with unit.being_asked():
        unit.observe_drbd(FROZEN, 8.0, "")
        assert (unit.handlers, unit.frozen_since_s) == (1, 1.0)
    assert unit.handlers == 0
    unit.observe_drbd(FROZEN, 9.0, "")
    assert unit.frozen_since_s == 9.0


def test_data_are_away_however_often_drbd_asks_as_it_is_connected_again() -> None:
    """Else a guest whose peer refuses each handshake was told to run."""
    parsed = Mirror.parse(mirror("m"))
    unit = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
    without = replace(FROZEN, volumes={"root": VolumeState(DiskState.DISKLESS, DiskState.UNKNOWN)})
    unit.observe_drbd(without, 1.0, "")
    with unit.being_asked():
        unit.observe_drbd(without, 8.0, "")
    unit.observe_drbd(without, 9.0, "")
    assert (unit.without_data_since_s, unit.frozen_since_s) == (1.0, 9.0)
    unit.observe_drbd(FROZEN, 10.0, "")
    assert unit.without_data_since_s is None


def test_data_are_away_after_a_connection_that_brought_none() -> None:
    """It has ended the suspension, and nobody asks anything: writes fail."""
    parsed = Mirror.parse(mirror("m"))
    unit = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
    dead = {"root": VolumeState(DiskState.DISKLESS, DiskState.DISKLESS)}
    connected = replace(
        FROZEN, connection=Connection.CONNECTED, volumes=dead, suspended=frozenset()
    )
    unit.observe_drbd(connected, 1.0, "")
    lost = {"root": VolumeState(DiskState.DISKLESS, DiskState.UNKNOWN)}
    unit.observe_drbd(replace(FROZEN, volumes=lost, suspended=frozenset()), 8.0, "")
    assert (unit.without_data_since_s, unit.frozen_since_s) == (1.0, None)
