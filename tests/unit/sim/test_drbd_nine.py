"""What the simulated DRBD 9 does in between, where the suite of sequences does not look."""

from conformance.language import IN_SYNC, parse_step
from conformance.simulated import VOLUME, Simulated
from sim.drbd.version import EIGHT, NINE, Version
from tandem_api.vocabulary import Connection, DiskState

LOOK_S = 0.005


def played(version: Version, *steps: str) -> Simulated:
    """After all of these have settled but for the last, which has just been done."""
    both = Simulated(version=version)
    for step in (*IN_SYNC, *steps[:-1]):
        _do(both, step)
        both.settle()
    _do(both, steps[-1])
    return both


def _do(both: Simulated, step: str) -> None:
    for command in parse_step(step):
        both.do(command)


def disks_of(both: Simulated, side: str, for_s: float) -> list[DiskState]:
    """Each state that its disk goes through, in order."""
    seen: list[DiskState] = []
    until_s = both.kernel.now_s + for_s
    while both.kernel.now_s < until_s:
        replica = both.nodes[side].replica
        assert replica is not None
        disk = replica.volumes[VOLUME].disk
        if not seen or seen[-1] is not disk:
            seen.append(disk)
        both.kernel.run_until(both.kernel.now_s + LOOK_S)
    return seen


def test_who_loses_its_primary_is_consistent_for_a_moment() -> None:
    current, doubts = DiskState.UP_TO_DATE, DiskState.CONSISTENT
    lost = played(NINE, "a primary; a write", "cut")
    assert disks_of(lost, "b", 5.0) == [current, doubts, current]
    assert disks_of(lost, "a", 5.0) == [current]
    assert disks_of(played(EIGHT, "a primary; a write", "cut"), "b", 5.0) == [current]
    assert disks_of(played(NINE, "a write", "cut"), "b", 5.0) == [current], "nobody was Primary"


MEETS_REBOOTED = ("a primary; a write", "cut; a write", "b crash", "b boot; b attach; b connect")


def test_a_handshake_that_stands_still_holds_up_whoever_wants_to_part() -> None:
    """It ends as the time for it is over, and then the command is carried out."""
    both = played(NINE, *MEETS_REBOOTED, "heal")
    both.kernel.run_until(both.kernel.now_s + 1.5)
    a = both.nodes["a"].replica
    assert a is not None
    assert both.pair.committing(a)
    _do(both, "a disconnect")
    both.kernel.run_until(both.kernel.now_s + 1.0)
    assert both.results[-1] == "running"
    assert both.writes[2] == "pending"
    both.settle()
    assert both.results[-1] == "ok"
    assert a.connection is Connection.STANDALONE


def test_on_8_4_it_is_over_at_once() -> None:
    both = played(EIGHT, *MEETS_REBOOTED, "heal")
    both.kernel.run_until(both.kernel.now_s + 1.5)
    assert both.writes[2] == "acknowledged"


def test_a_generation_begins_with_the_write_that_the_peer_does_not_get() -> None:
    both = played(NINE, "a primary; a write", "a disconnect")
    both.settle()
    mine, theirs = (both.nodes[side].backings[VOLUME] for side in ("a", "b"))
    assert mine.current == theirs.current
    _do(both, "a write")
    assert (mine.bitmap, mine.current) != (0, theirs.current)
    assert mine.bitmap == theirs.current


def test_on_8_4_it_begins_as_they_part() -> None:
    both = played(EIGHT, "a primary; a write", "a disconnect")
    both.settle()
    mine, theirs = (both.nodes[side].backings[VOLUME] for side in ("a", "b"))
    assert mine.current != theirs.current
