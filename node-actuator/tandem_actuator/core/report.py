"""What a host says about a replica and a guest, and when: the parts that it alone writes."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from tandem_actuator.core.decision import told_too_late
from tandem_actuator.core.drbd import DrbdState, NotConfigured
from tandem_actuator.core.migration.source import cannot_send
from tandem_actuator.core.mirror import resync
from tandem_actuator.core.mirror.standstill import reads_stalled_since, stalled_since
from tandem_actuator.core.model import Record, View
from tandem_api.authority import Instance
from tandem_api.kinds.guest import GuestReport, HardwareReport
from tandem_api.kinds.mirror import ReplicaReport, VolumeReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import NOT_CONFIGURED, STARTING, Connection, DomainState, Role

BYTES_INTERVAL_S = 2.0
"""How much is out of sync changes with every write: so often it is told when nothing else did."""
UNDER_WAY = (Reason.STARTING, Reason.STOPPING, Reason.DESTROYING)
"""What was begun before a pause was heard of comes to its end: so long it is not in force."""
REPEAT_INTERVAL_S = 3.0
"""A delivered report that the API does not show is sent again after this time."""


def replica_report(
    view: View,
    reason: Reason,
    message: str,
    not_connected_since: str | None,
    now_s: float,
    device_bytes: Mapping[str, int] = MappingProxyType({}),
) -> ReplicaReport:
    """Mirror.status.replicas[host]. Holds nothing that changes while nothing happens."""
    drbd = view.drbd
    common = {
        "instance": str(view.instance),
        "epoch_seen": view.record.max_epoch,
        "marker": view.record.marker,
        "has_metadata": view.record.attached,
        "copied_for": view.record.copied_for,
        "sends": _sends(view),
        "reason": reason,
        "message": message,
    }
    if not isinstance(drbd, DrbdState):
        state = NOT_CONFIGURED if isinstance(drbd, NotConfigured) else Connection.UNKNOWN
        return ReplicaReport.model_validate({**common, "connection": state, "role": Role.UNKNOWN})
    volumes = {
        name: VolumeReport(
            disk=volume.disk,
            peer_disk=volume.peer_disk,
            out_of_sync_bytes=volume.out_of_sync_bytes,
            device_bytes=device_bytes.get(name),
            reads_stalled_since=reads_stalled_since(view.standstill, name, now_s),
            writes_stalled_since=stalled_since(view.standstill.writes.get(name), now_s),
            disk_stalled_since=stalled_since(view.standstill.disks.get(name), now_s),
        )
        for name, volume in drbd.volumes.items()
    }
    return ReplicaReport.model_validate(
        {
            **common,
            "role": drbd.role,
            "connection": drbd.connection,
            "peer_role": drbd.peer_role,
            "suspended": bool(drbd.suspended),
            "not_connected_since": None if drbd.connected else not_connected_since,
            **_link_lost(view, drbd),
            "resync_stalled_since": resync.stalled_since(view.resync, now_s),
            "receives": _receives(view),
            "volumes": volumes,
        }
    )


def _link_lost(view: View, drbd: DrbdState) -> Mapping[str, float | None]:
    """While a socket is open something may come, and the last packet is another at each look."""
    over = not drbd.connected and not view.packets.receiving
    return {
        "link_lost_at_seconds": _later(view.link_lost_at_s if over else None),
        "last_packet_at_seconds": _later(view.packets.last_at_s if over else None),
    }


def _later(at_s: float | None) -> float | None:
    """In whole milliseconds, never earlier than it was."""
    return math.ceil(at_s * 1000) / 1000 if at_s is not None else None


def _sends(view: View) -> str:
    """The migration that is noted as under way from here."""
    note = view.runs_note(view.record.outgoing)
    return note.id if note is not None and not (note.gone or note.over) else ""


def _receives(view: View) -> str:
    """The migration for which everything is ready here."""
    note = view.runs_note(view.record.incoming)
    ready = note is not None and view.receiving is not None and view.receiving.migration == note.id
    return note.id if note is not None and ready and not note.over else ""


def least_replica_report(instance: Instance, record: Record, message: str) -> ReplicaReport:
    """What is told if none can be made: nothing that others could take for better than it is."""
    return ReplicaReport(
        instance=str(instance),
        epoch_seen=record.max_epoch,
        marker=record.marker,
        has_metadata=record.attached,
        copied_for=record.copied_for,
        connection=Connection.UNKNOWN,
        role=Role.UNKNOWN,
        reason=Reason.INTERNAL_ERROR,
        message=message,
    )


def replica_report_is_due(
    report: ReplicaReport, sent: ReplicaReport | None, stored: ReplicaReport | None, age_s: float
) -> bool:
    """Whether to tell the API. None of the reports has a message, but for ``stored``.

    ``sent`` is the one that was delivered last, ``age_s`` ago; ``stored`` is what the API shows, as
    far as the watch tells. They differ if the network held a report back that landed after a newer
    one, and if the API was restored from a backup.
    """
    if report == sent:
        return age_s > REPEAT_INTERVAL_S and not _is_shown(report, stored)
    if sent is None or age_s >= BYTES_INTERVAL_S or not _lags(report):
        return True
    return _without_bytes(report) != _without_bytes(sent)


def guest_report_is_due(
    report: GuestReport, sent: GuestReport | None, stored: GuestReport | None, age_s: float
) -> bool:
    """As ``replica_report_is_due``; everything in it is told at once."""
    return report != sent or (age_s > REPEAT_INTERVAL_S and not _is_shown(report, stored))


def is_settled(
    report: ReplicaReport | GuestReport,
    sent: ReplicaReport | GuestReport | None,
    stored: ReplicaReport | GuestReport | None,
) -> bool:
    """Whether it was delivered, and the API shows it: until it says something else nothing is due,
    however much time passes.
    """
    return report == sent and _is_shown(report, stored)


def _is_shown(
    report: ReplicaReport | GuestReport, stored: ReplicaReport | GuestReport | None
) -> bool:
    return stored is not None and stored.model_copy(update={"message": ""}) == report


def _lags(report: ReplicaReport) -> bool:
    return any(volume.out_of_sync_bytes for volume in report.volumes.values())


def _without_bytes(report: ReplicaReport) -> ReplicaReport:
    volumes = {
        name: volume.model_copy(update={"out_of_sync_bytes": None})
        for name, volume in report.volumes.items()
    }
    return report.model_copy(update={"volumes": volumes})


def guest_report(
    view: View,
    reason: Reason,
    message: str,
    steps: Mapping[str, str],
    hardware: HardwareReport | None = None,
) -> GuestReport | None:
    """Guest.status.hosts[host], or None if there is no guest to speak of.

    A start that is under way does not hear of a later assignment. Until it has ended, nobody may
    conclude that a host which knows that assignment has stopped.
    """
    if view.guest is None:
        return None
    assignment = view.guest.status.assignment
    unseen = view.domain in (DomainState.ABSENT, DomainState.UNKNOWN)
    starting = reason is Reason.STARTING and unseen
    return GuestReport(
        instance=str(view.instance),
        state=STARTING if starting else _told_state(view),
        assignment_serial=assignment.serial if assignment else 0,
        started_at=steps.get("domainStarted") if view.domain.may_run else None,
        started_by=view.started_by if view.domain.may_run else 0,
        reason=reason,
        message=message,
        steps=dict(steps),
        refused_start=_refused_start(view),
        refused_move=_refused_move(view),
        hardware=hardware,
        paused_since="" if reason in UNDER_WAY else view.guest.status.paused_since,
    )


def _told_state(view: View) -> DomainState:
    """libvirt goes on to call a guest running whose process is held. If it tells nothing, that is
    what has to be mended.
    """
    told = view.domain is not DomainState.UNKNOWN
    return DomainState.SHUTTING_DOWN if view.guest_is_dead and told else view.domain


def _refused_move(view: View) -> str:
    """A run that has just begun knows only that it came to nothing."""
    note = view.record.outgoing
    over = note is not None and note.over and note.run != str(view.instance)
    nothing = f"not sent to {view.peer}: it came to nothing" if over else ""
    return view.refused_move or nothing or cannot_send(view)


def _refused_start(view: View) -> str:
    """Why nothing can be started here, whether or not it shall be."""
    if view.refusals:
        return view.refusals.why
    return view.unrecorded or (told_too_late(view) if view.deaf else "")
