"""Whether the devices of a mirror are as large as its spec says. Decides nothing.

DRBD takes the smaller of two devices, less its metadata, and says nothing of it. Nothing here grows
a device: that is a person's, on the hosts, and what to run is in the message. Called by
``mirror_status``.
"""

from collections.abc import Mapping

from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.meta import Quantity
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Refusal

Measured = Mapping[str, Mapping[str, int]]
"""Bytes by volume, then by host."""

_UNITS = ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"))


def measured(mirror: Mirror, reports: Mapping[str, ReplicaReport]) -> Measured:
    """What hosts have measured, of the volumes that the mirror has; empty if nothing."""
    found = {
        volume.name: {
            host: size
            for host, report in sorted(reports.items())
            if volume.name in report.volumes
            and (size := report.volumes[volume.name].device_bytes) is not None
        }
        for volume in mirror.spec.volumes
    }
    return {name: by_host for name, by_host in found.items() if by_host}


def refusal(mirror: Mirror, known: Measured) -> Refusal | None:
    """The first volume whose devices are too small, else the first whose devices differ."""
    for number, volume in enumerate(mirror.volume_names):
        wanted = next((v.size for v in mirror.spec.volumes if v.name == volume), None)
        if wanted is None or volume not in known:
            continue
        needed = with_metadata(wanted.bytes)
        small = {host: size for host, size in known[volume].items() if size < needed}
        if small:
            return Refusal(Reason.DEVICE_TOO_SMALL, _too_small(mirror, number, wanted, small))
    for volume, by_host in known.items():
        if len(set(by_host.values())) > 1:
            told = " and ".join(f"{_worded(size)} on {host}" for host, size in by_host.items())
            message = (
                f"volume {volume} has devices of {told}: what the larger one has more is not used;"
                " give both the same size"
            )
            return Refusal(Reason.DEVICES_DIFFER, message)
    return None


def with_metadata(size: int) -> int:
    """How large a device must be for a disk of that size: DRBD keeps its metadata at the end.

    DRBD User's Guide, "Estimating meta data size": 8 sectors of bitmap for each 2^18 of data, and
    72 for the rest.
    """
    sectors = -(-size // 512)
    return (sectors + -(-sectors // 2**18) * 8 + 72) * 512


def _too_small(mirror: Mirror, number: int, wanted: Quantity, small: Mapping[str, int]) -> str:
    volume = mirror.volume_names[number]
    needed = with_metadata(wanted.bytes)
    told, orders = [], []
    for host, size in small.items():
        replica = mirror.replica_on(host)
        path = replica.devices[volume] if replica and volume in replica.devices else "its device"
        told.append(f"{path} on {host} has {_worded(size)}")
        orders.append(f"lvextend -L {-(-needed // 2**20)}m {path} on {host}")
    return (
        f"volume {volume} is to have {wanted}, and {' and '.join(told)}, which must hold DRBD's"
        f" metadata as well. Devices are not grown by themselves: run {' and '.join(orders)}, and"
        f" then, while the guest runs and the mirror is redundant, drbdadm resize"
        f" {mirror.drbd_name}/{number} on the guest's host"
    )


def _worded(size: int) -> str:
    for unit, name in _UNITS:
        if size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)
