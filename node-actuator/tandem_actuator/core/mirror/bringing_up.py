"""Bringing a replica up: from a backing device to one that is marked or not, and connects.

Called by the rules (``core/order``).
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace

from tandem_actuator.core.drbd import DrbdState, Generation, Metadata
from tandem_actuator.core.effects import (
    KEEP,
    Attach,
    Configure,
    Connect,
    CreateMetadata,
    DrbdRead,
    Effect,
    Failed,
    Finished,
    GenerationsRead,
    InspectMetadata,
    Keep,
    MetadataRead,
    MirrorRead,
    Outcome,
    Procedure,
    QueryDrbd,
    ReadGenerations,
    ReadMirror,
    SkipFirstSync,
    UpdateRecord,
)
from tandem_actuator.core.mirror.procedures import sequence
from tandem_actuator.core.mirror.transaction import failed, words
from tandem_actuator.core.model import Record, View
from tandem_api.kinds.mirror import Marker, Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState


def bring_up(view: View, wall: str) -> Procedure:
    """Configure, make metadata on brand-new disks, attach, mark if stale, connect.

    The marker comes between attach and connect (rule 8): a frozen Primary that meets a Consistent
    peer has its in-flight writes acknowledged without having asked anybody.
    """
    outcome = yield Configure()
    if isinstance(outcome, Failed):
        return failed("writing the resource file", outcome)
    refusal = yield from _ensure_metadata(view)
    if refusal:
        return refusal
    outcome = yield Attach()
    if isinstance(outcome, Failed):
        return failed("attaching the disks", outcome)
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead) or not isinstance(fresh.drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=True)
    authority = view.mirror.status.authority
    update = UpdateRecord(attached=True, unparted_boot_id="")
    if not fresh.drbd.own_up_to_date:
        update = yield from _judged_by_generation(view, fresh.drbd, wall)
    elif authority is not None and authority.initialised and not view.record.attached:
        # Whatever the lost record held, it may have been a marker.
        update = replace(update, marker=Marker(reason=Reason.RECORD_MISSING, since=wall))
    stored = yield update
    if isinstance(stored, Failed):
        return failed("the durable record", stored)
    return (
        yield from sequence(Reason.CONNECTING, "connecting to the peer", ("connect", Connect()))
    )


def _judged_by_generation(
    view: View, drbd: DrbdState, wall: str
) -> Generator[Effect, Outcome, UpdateRecord]:
    """DRBD alone cannot tell whether a disk that it attached is current. Its generations tell two
    things more (rule 8): a disk that the peer was not copied from to the end is no older than the
    peer's; and an owner whose generation is the one of when both counted wrote nothing alone.
    """
    read = yield ReadGenerations()
    found = read.generations if isinstance(read, GenerationsRead) else {}
    marker: Marker | Keep = Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE, since=wall)
    if view.record.marker or (is_ahead(drbd, found) and view.record.attached):
        marker = KEEP  # what is known of a disk that failed is more than what this look tells
    return UpdateRecord(
        attached=True,
        marker=marker,
        unparted_boot_id=view.instance.boot_id if is_unparted(view.record, found) else "",
    )


def is_ahead(drbd: DrbdState, found: Mapping[str, Generation]) -> bool:
    """Whether each volume is one that DRBD calls current, or that the peer lacks data of."""
    ahead = {name for name, generation in found.items() if generation.parted}
    return bool(drbd.volumes) and all(
        volume.disk is DiskState.UP_TO_DATE
        or (volume.disk is DiskState.CONSISTENT and name in ahead)
        for name, volume in drbd.volumes.items()
    )


def is_unparted(record: Record, found: Mapping[str, Generation]) -> bool:
    """Whether the generations are those of when this host, as the owner, said that both count."""
    noted = {
        name: Generation(current, parted=False) for name, current in record.generations.items()
    }
    return bool(noted) and found == noted


def _ensure_metadata(view: View) -> Generator[Effect, Outcome, Finished | None]:
    """Metadata is made only where no data can be: the mirror was never in sync, this disk new."""
    found = yield InspectMetadata()
    if isinstance(found, Failed):
        return failed("looking at the backing devices", found)
    if not isinstance(found, MetadataRead) or Metadata.UNKNOWN in found.metadata.values():
        return Finished(
            Reason.UNKNOWN_STATE,
            "whether the backing devices carry DRBD metadata is not known",
            progress=False,
            failed=True,
        )
    foreign = {name: seen for name, seen in found.metadata.items() if seen in OTHER_DRBD}
    if foreign:
        message = _to_convert(view, foreign)
        return Finished(Reason.METADATA_OF_OTHER_DRBD, message, progress=False, failed=True)
    missing = tuple(name for name, seen in found.metadata.items() if seen is Metadata.ABSENT)
    if not missing:
        return None
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    authority = read.mirror.status.authority
    if authority is None or authority.initialised or view.record.attached:
        message = _metadata_missing(view, missing)
        return Finished(Reason.METADATA_MISSING, message, progress=False, failed=True)
    made = yield CreateMetadata(missing)
    return failed("create-md", made) if isinstance(made, Failed) else None


OTHER_DRBD = {Metadata.V08: "8.4", Metadata.V09: "9"}
"""The DRBD whose format of metadata this is."""


def conversion(mirror: Mirror, host: str, name: str, seen: Metadata) -> str:
    """The commands that make a volume's metadata those of the DRBD that this host runs.

    The first succeeds only where there is such metadata. The second converts it then, without a
    question, and keeps its generation; which blocks the peer lacks is not kept (docs/drbd.md).
    """
    replica, numbers = mirror.replica_on(host), mirror.status.device_numbers
    device = replica.devices.get(name, "") if replica else ""
    minor = numbers.minors.get(name, 0) if numbers else 0
    options = "--force --max-peers=1" if seen is Metadata.V08 else "--force"
    volume = f"{mirror.drbd_name}/{mirror.volume_names.index(name)}"
    return (
        f"drbdmeta {minor} {seen.value} {device} internal apply-al"
        f" && drbdadm create-md {options} {volume}"
    )


def _to_convert(view: View, foreign: Mapping[str, Metadata]) -> str:
    told = _named(view, foreign)
    versions = " and ".join(sorted({OTHER_DRBD[seen] for seen in foreign.values()}))
    steps = (conversion(view.mirror, view.host, name, seen) for name, seen in foreign.items())
    return (
        f"volume {told} has the metadata of DRBD {versions}, which is not the DRBD that {view.host}"
        f" runs. To convert it, run on {view.host}: {' && '.join(steps)}. Or boot {view.host} with"
        f" DRBD {versions} again"
    )


def _named(view: View, volumes: Iterable[str]) -> str:
    """Each with its device."""
    replica = view.mirror.replica_on(view.host)
    paths = replica.devices if replica else {}
    return " and ".join(f"{name} ({paths.get(name, 'no device')})" for name in volumes)


def _metadata_missing(view: View, missing: Sequence[str]) -> str:
    """Each volume by its own name: another's metadata is all that knows of its data."""
    mirror, names = view.mirror, view.mirror.volume_names
    told = _named(view, missing)
    commands = " && ".join(
        f"drbdadm create-md {mirror.drbd_name}/{names.index(n)}" for n in missing
    )
    return (
        f"volume {told} has no DRBD metadata on {view.host} although the mirror has been in use:"
        f" wrong or replaced disk? To give it a new, empty replica run on {view.host}: {commands}"
    )


def first_sync(view: View, blank: Sequence[str]) -> Procedure:
    """Declare two brand-new replicas equal. Asks the API again: never on a mirror in use.

    ``blank``: the volumes that are new at both hosts. Others may have been declared before a disk
    failed.
    """
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    authority = read.mirror.status.authority
    if authority is None or authority.initialised:
        return Finished(Reason.STEADY, "the mirror has been in use", progress=False)
    step = ("first sync", SkipFirstSync(tuple(blank)))
    return (yield from sequence(Reason.FIRST_SYNC, "declared both new replicas equal", step))
