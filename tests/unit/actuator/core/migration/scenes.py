"""A guest on its way from A to B, as either host knows it: what the tests of this folder share."""

from dataclasses import replace

from tandem_actuator.core.model import Job, JobState, MigrationNote, Receiving, View
from tandem_actuator.core.order import Decision, Start, Stay, Task, decide
from tandem_api.authority import Authority, Migration, Mode
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import (
    HERE,
    THERE,
    A,
    B,
    assignment,
    authority,
    drbd,
    mirror,
    record,
    report,
    view,
)

NOW = 1000.0
M = "m1"
LIVE = assignment(B).model_copy(update={"live": True})
WAY = Migration(id=M, source=A, target=B, by_events=True)
UNDER_WAY = authority(mode=Mode.MIGRATING, migration=WAY)
HANDED = authority(B, handed_over=M)
EARLIER_RUN, EARLIER_BOOT = f"{A}/boot1/run0", f"{A}/boot0/run0"
OUT = MigrationNote(M, str(HERE), NOW - 1)
IN = MigrationNote(M, str(THERE), NOW - 1)
BOTH = drbd(Role.PRIMARY, peer_role=Role.PRIMARY)
SENT = Job(M, NOW - 5, NOW - 1, JobState.SUCCEEDED)
"""libvirt has said that all of it is at the target."""
SENDING = Job(M, NOW - 5)
GONE = replace(OUT, gone=True)
OVER = replace(OUT, over=True)
ALONE = drbd(Role.PRIMARY, Connection.CONNECTING)
BACK = assignment(A)
NO_DATA = replace(
    drbd(Role.PRIMARY, Connection.CONNECTING, disk=DiskState.DISKLESS),
    suspended=frozenset({"no-data"}),
)
NO_DISK = drbd(Role.PRIMARY, Connection.CONNECTING, disk=DiskState.DISKLESS)


def decided(known: View) -> Decision:
    return decide(known, NOW, "2026-01-01T00:00:00Z")


def task(known: View) -> Task:
    decision = decided(known)
    assert isinstance(decision, Start), decision
    assert decision.message
    return decision.task


def stays(known: View) -> Reason:
    decision = decided(known)
    assert isinstance(decision, Stay), decision
    return decision.reason


def said(known: View) -> str:
    return decided(known).message


def telling(held_by: Authority = UNDER_WAY, *, sends: str = M, receives: str = "") -> Mirror:
    """A says which migration it has noted; B which run it is, and for which one it is ready."""
    out = report().model_copy(update={"sends": sends})
    ready = report().model_copy(update={"instance": str(THERE), "receives": receives})
    return mirror(held_by, replicas={A: out, B: ready})


def source(
    note: MigrationNote | None = OUT, held_by: Authority = UNDER_WAY, /, **changes: object
) -> View:
    """A, on which the guest runs; it has noted that it sends it."""
    known = view(
        held_by,
        BOTH,
        assigned=LIVE,
        domain=DomainState.RUNNING,
        record=record(owned_epoch=5, outgoing=note, started_boot_id=HERE.boot_id),
        renewal_sent_at_s=NOW - 1,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def target(
    note: MigrationNote | None = IN, held_by: Authority = UNDER_WAY, /, **changes: object
) -> View:
    """B, to which it is sent; it has noted that, and is ready."""
    ready = None if note is None else Receiving(note.id, NOW - 1)
    known = view(
        held_by,
        BOTH if note is not None else drbd(Role.SECONDARY, peer_role=Role.PRIMARY),
        host=B,
        assigned=LIVE,
        record=record(incoming=note),
        receiving=ready,
    )
    known = replace(known, mirror=telling(held_by))
    return replace(known, **changes)  # type: ignore[arg-type]
