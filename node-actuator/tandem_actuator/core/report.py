"""What a host says about a replica and a guest: the parts of their status that it alone writes."""

from collections.abc import Mapping

from tandem_actuator.core.model import DrbdState, NotConfigured, View
from tandem_api.guest import GuestReport
from tandem_api.mirror import ReplicaReport, VolumeReport
from tandem_api.reasons import Reason


def replica_report(
    view: View, reason: Reason, message: str, not_connected_since: str | None
) -> ReplicaReport:
    """Mirror.status.replicas[host]. Holds nothing that changes while nothing happens."""
    drbd = view.drbd
    common = {
        "instance": str(view.instance),
        "epoch_seen": view.record.max_epoch,
        "marker": view.record.marker,
        "has_metadata": view.record.attached,
        "reason": reason,
        "message": message,
    }
    if not isinstance(drbd, DrbdState):
        state = "NotConfigured" if isinstance(drbd, NotConfigured) else "Unknown"
        return ReplicaReport.model_validate({**common, "connection": state, "role": "Unknown"})
    volumes = {
        name: VolumeReport(
            disk=volume.disk,
            peer_disk=volume.peer_disk,
            out_of_sync_bytes=volume.out_of_sync_bytes,
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
            "volumes": volumes,
        }
    )


def guest_report(
    view: View, reason: Reason, message: str, steps: Mapping[str, str]
) -> GuestReport | None:
    """Guest.status.hosts[host], or None if there is no guest to speak of."""
    if view.guest is None:
        return None
    assignment = view.guest.status.assignment
    return GuestReport(
        instance=str(view.instance),
        state=view.domain,
        assignment_serial=assignment.serial if assignment else 0,
        started_at=steps.get("domainStarted") if view.domain.may_run else None,
        reason=reason,
        message=message,
        steps=dict(steps),
    )
