"""The readings of DRBD, over what real DRBD printed (see captured/README.md)."""

from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.proc import parse_proc, state_from_proc
from tandem_actuator.adapters.drbd.text import (
    Options,
    parse_dump,
    parse_event,
    parse_generation,
    parse_options,
    state_from_dump,
)
from tandem_actuator.core.drbd import DrbdState, Generation, NotConfigured
from tandem_api.kinds.mirror import Protocol
from tandem_api.vocabulary import Connection, DiskState, Role

CAPTURED = Path(__file__).parent / "captured"
MINORS = {"root": 20, "data": 21}
NAME = "t.m5"
PROC_STATES = sorted(path.stem for path in CAPTURED.glob("*.proc"))


def from_proc(state: str) -> DrbdState | NotConfigured:
    text = (CAPTURED / f"{state}.proc").read_text()
    return state_from_proc(parse_proc(text), MINORS, 5.0)


def from_dump(state: str) -> DrbdState | NotConfigured:
    text = (CAPTURED / f"{state}.events2").read_text()
    return state_from_dump(parse_dump(text).get(NAME), list(MINORS), 5.0)


def known(view: DrbdState | NotConfigured) -> DrbdState:
    assert isinstance(view, DrbdState)
    return view


@pytest.mark.parametrize("state", PROC_STATES)
def test_both_sources_tell_the_same(state: str) -> None:
    proc, dump = from_proc(state), from_dump(state)
    if isinstance(proc, NotConfigured) or isinstance(dump, NotConfigured):
        assert proc == dump
        return
    assert (proc.role, proc.connection, proc.peer_role) == (
        dump.role,
        dump.connection,
        dump.peer_role,
    )
    assert bool(proc.suspended) == bool(dump.suspended)
    for name, volume in proc.volumes.items():
        other = dump.volumes[name]
        assert (volume.disk, volume.peer_disk, volume.resyncing) == (
            other.disk,
            other.peer_disk,
            other.resyncing,
        )


def test_connected_and_in_sync() -> None:
    state = known(from_proc("8.4-connected"))
    assert state.in_sync
    assert state.role is Role.SECONDARY
    assert state.peer_role is Role.SECONDARY
    assert state.queried_at_s == 5.0


def test_a_resync_of_one_volume_is_not_in_sync() -> None:
    state = known(from_proc("8.4-sync-target"))
    assert state.connected
    assert not state.in_sync
    assert state.volumes["root"].resyncing
    assert state.volumes["root"].disk is DiskState.INCONSISTENT
    assert state.volumes["root"].out_of_sync_bytes == 31688 * 1024
    assert not state.volumes["data"].resyncing


def test_frozen() -> None:
    assert known(from_dump("8.4-frozen")).suspended == {"fencing"}
    state = known(from_proc("8.4-frozen"))
    assert state.suspended
    assert state.connection is Connection.CONNECTING
    assert {volume.peer_disk for volume in state.volumes.values()} == {DiskState.UNKNOWN}


def test_one_volume_without_a_disk() -> None:
    state = known(from_proc("8.4-one-diskless"))
    assert state.volumes["data"].disk is DiskState.DISKLESS
    assert state.volumes["root"].disk is DiskState.UP_TO_DATE


@pytest.mark.parametrize("state", ["8.4-unconfigured", "8.4-down"])
def test_nothing_attached_nothing_connected_is_not_configured(state: str) -> None:
    assert from_proc(state) == NotConfigured(5.0)


def test_drbd_9_with_its_own_words() -> None:
    state = known(from_dump("9-connected"))
    assert state.role is Role.PRIMARY
    assert state.connected
    assert state.volumes["root"].peer_disk is DiskState.UP_TO_DATE
    assert state.volumes["data"].resyncing
    assert not state.in_sync


NINES = sorted(path.name.removesuffix(".show.json") for path in CAPTURED.glob("*.show.json"))


@pytest.mark.parametrize("version", NINES)
class TestNine:
    """What 9 was seen to print in each state."""

    def test_in_sync(self, version: str) -> None:
        state = known(from_dump(f"{version}-connected"))
        assert state.in_sync
        assert (state.role, state.peer_role) == (Role.PRIMARY, Role.SECONDARY)
        assert not state.out_of_sync_bytes
        assert state.protocol is None

    def test_frozen(self, version: str) -> None:
        state = known(from_dump(f"{version}-frozen"))
        assert state.frozen
        assert state.suspended == {"fencing"}
        assert state.connection is Connection.CONNECTING
        assert {volume.peer_disk for volume in state.volumes.values()} == {DiskState.UNKNOWN}

    def test_a_secondary_that_lost_its_primary(self, version: str) -> None:
        state = known(from_dump(f"{version}-lost-its-primary"))
        assert not state.connected
        assert not state.suspended
        assert state.role is Role.SECONDARY
        assert state.own_up_to_date

    def test_a_primary_that_writes_alone(self, version: str) -> None:
        state = known(from_dump(f"{version}-alone"))
        assert not state.suspended
        assert {volume.peer_disk for volume in state.volumes.values()} == {DiskState.OUTDATED}
        assert state.volumes["root"].out_of_sync_bytes == 24 * 1024 * 1024
        assert state.volumes["data"].out_of_sync_bytes == 0

    def test_both_ends_of_a_resync(self, version: str) -> None:
        source = known(from_dump(f"{version}-sync-source")).volumes["root"]
        target = known(from_dump(f"{version}-sync-target")).volumes["root"]
        assert source.resyncing
        assert target.resyncing
        assert (source.disk, source.peer_disk) == (DiskState.UP_TO_DATE, DiskState.INCONSISTENT)
        assert (target.disk, target.peer_disk) == (DiskState.INCONSISTENT, DiskState.UP_TO_DATE)

    def test_one_volume_without_a_disk(self, version: str) -> None:
        state = known(from_dump(f"{version}-one-diskless"))
        assert state.connected
        assert state.volumes["data"].disk is DiskState.DISKLESS
        assert state.volumes["root"].disk is DiskState.UP_TO_DATE

    def test_alone_by_order(self, version: str) -> None:
        assert known(from_dump(f"{version}-standalone")).connection is Connection.STANDALONE

    def test_bits_that_a_verification_finds_are_of_two_current_replicas(self, version: str) -> None:
        """It may still be under way: that is no resync."""
        state = known(from_dump(f"{version}-bits-left"))
        assert state.in_sync
        assert state.out_of_sync_bytes == 12 * 1024

    def test_nothing_decides_beside_the_authority(self, version: str) -> None:
        shown = (CAPTURED / f"{version}.show.json").read_text()
        assert parse_options(shown, NAME) == Options(quorum="off", auto_promote=False)


def test_nine_was_seen() -> None:
    assert NINES == ["9.2.19", "9.3.3"]


def test_a_link_that_still_shakes_hands_is_not_connected() -> None:
    """8.4 says connection:Connected before the volumes agree on who has the newer data."""
    text = (CAPTURED / "8.4-connected.events2").read_text()
    text = text.replace("volume:1 replication:Established", "volume:1 replication:Off")
    view = state_from_dump(parse_dump(text)[NAME], list(MINORS), 5.0)
    assert known(view).connection is Connection.CONNECTING


def test_volumes_that_disagree_have_no_common_role() -> None:
    text = (CAPTURED / "8.4-connected.proc").read_text()
    text = text.replace("ro:Secondary/Secondary", "ro:Primary/Secondary", 1)
    view = state_from_proc(parse_proc(text), MINORS, 5.0)
    assert known(view).role is Role.UNKNOWN
    assert known(view).peer_role is Role.SECONDARY


def test_the_weakest_volume_is_the_connection() -> None:
    text = (CAPTURED / "8.4-connected.proc").read_text()
    text = text.replace("21: cs:Connected", "21: cs:WFReportParams")
    assert known(state_from_proc(parse_proc(text), MINORS, 5.0)).connection is Connection.CONNECTING


def test_words_of_the_future_are_unknown() -> None:
    text = (CAPTURED / "8.4-connected.proc").read_text()
    text = text.replace("cs:Connected", "cs:Entangled").replace("ds:UpToDate", "ds:Superposed")
    state = known(state_from_proc(parse_proc(text), MINORS, 5.0))
    assert state.connection is Connection.UNKNOWN
    assert state.volumes["root"].disk is DiskState.UNKNOWN
    assert not state.own_up_to_date


def test_a_dump_that_is_cut_short_is_refused() -> None:
    text = (CAPTURED / "8.4-connected.events2").read_text().removesuffix("exists -\n")
    with pytest.raises(ValueError, match="cut short"):
        parse_dump(text)


def test_a_resource_with_other_volumes_is_refused() -> None:
    dump = parse_dump((CAPTURED / "8.4-connected.events2").read_text())
    with pytest.raises(ValueError, match="volumes"):
        state_from_dump(dump[NAME], ["root"], 5.0)


def test_a_resource_with_two_peers_is_refused() -> None:
    text = (CAPTURED / "9-connected.events2").read_text()
    second = "exists connection name:t.m5 peer-node-id:2 conn-name:c connection:Connected\n"
    text = text.replace("exists device", f"{second}exists device", 1)
    with pytest.raises(ValueError, match="2 peers"):
        state_from_dump(parse_dump(text)[NAME], list(MINORS), 5.0)


def test_some_volumes_missing_is_refused() -> None:
    devices = parse_proc((CAPTURED / "8.4-connected.proc").read_text())
    with pytest.raises(ValueError, match="only root"):
        state_from_proc({20: devices[20]}, MINORS, 5.0)


@pytest.mark.parametrize(
    ("line", "connected"),
    [
        (
            "change connection name:r peer-node-id:0 conn-name:p connection:Connected role:Primary",
            True,
        ),
        ("change peer-device name:r peer-node-id:0 volume:0 replication:Established", True),
        ("change connection name:r peer-node-id:0 conn-name:p connection:NetworkFailure", False),
        ("change peer-device name:r peer-node-id:0 volume:0 replication:Off", False),
        ("destroy connection name:r peer-node-id:0 conn-name:p", False),
        ("call helper name:r peer-node-id:0 conn-name:p helper:fence-peer", False),
    ],
)
def test_events_that_say_that_the_link_is_up(line: str, connected: bool) -> None:
    event = parse_event(line)
    assert event is not None
    assert event.name == "r"
    assert event.says_connected is connected


def test_lost_events_are_noticed() -> None:
    lost, end = parse_event("- skipped 3"), parse_event("exists -")
    assert lost is not None and lost.skipped
    assert end is not None and not end.skipped
    assert parse_event("\n") is None


@pytest.mark.parametrize(
    ("letters", "protocol"),
    [("CC", Protocol.C), ("AA", Protocol.A), ("CB", Protocol.B), ("  ", None)],
)
def test_the_protocol_in_use_is_told(letters: str, protocol: Protocol | None) -> None:
    """8.4 shows it for each device of a connection, and a blank where there is none."""
    text = "".join(
        f"{minor:>2}: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate {letter} r-----\n"
        for minor, letter in zip(MINORS.values(), letters, strict=True)
    )
    assert known(state_from_proc(parse_proc(text), MINORS, 5.0)).protocol is protocol


NONE = "0000000000000000"
FLAGS = "1:1:1:1:0:0:0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"76F6905ED73F6EAD:{NONE}:{NONE}:{NONE}:{FLAGS}\n", ("76F6905ED73F6EAC", False)),
        (f"76F6905ED73F6EAC:{NONE}:{NONE}:{NONE}:{FLAGS}\n", ("76F6905ED73F6EAC", False)),
        (f"5BB88AE546BAC67F:76F6905ED73F6EAD:{NONE}:{NONE}:{FLAGS}", ("5BB88AE546BAC67E", True)),
        (f"5bb88ae546bac67f:{NONE}:{NONE}:{NONE}:{FLAGS}", ("5BB88AE546BAC67E", False)),
    ],
)
def test_a_generation_is_told_alike_by_both_sides(text: str, expected: tuple[str, bool]) -> None:
    """As printed by DRBD 8.4.11 on an owner, its peer, an owner that writes alone."""
    assert parse_generation(text) == Generation(*expected)


@pytest.mark.parametrize(
    "text", ["", "\n", "76F6905ED73F6EAD", f"76F6:{NONE}:{NONE}:{NONE}", "No valid meta data found"]
)
def test_anything_else_is_no_generation(text: str) -> None:
    with pytest.raises(ValueError, match="not identifiers of generations"):
        parse_generation(text)
