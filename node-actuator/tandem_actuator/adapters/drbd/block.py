"""What the kernel's block layer counts of a device: what is under way, and how much has ended.

Its text is described in the kernel's Documentation/block/stat.rst and ABI/stable/sysfs-block.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tandem_actuator.core.drbd import DrbdState, VolumeState

SYS_BLOCK = Path("/sys/block")
_READS, _WRITES, _DISCARDS_AND_FLUSHES = 0, 4, (11, 15)
"""Places in ``stat``; some kernels do not have the latter."""


def with_requests(
    view: DrbdState, minors: Mapping[str, int], folder: Path = SYS_BLOCK
) -> DrbdState:
    """The same, with the guest's requests where DRBD has anything to answer.

    A look must not fail for want of these counts: without them nothing counts as under way.
    """
    if not any(volume.traffic.asked for volume in view.volumes.values()):
        return view
    volumes = {
        name: _counted(volume, folder / f"drbd{minors[name]}") if name in minors else volume
        for name, volume in view.volumes.items()
    }
    return replace(view, volumes=volumes)


def _counted(volume: VolumeState, device: Path) -> VolumeState:
    """What has ended is read first: a request that is under way after that, and still is when no
    more have ended, was so all the time.
    """
    try:
        counts = [int(word) for word in (device / "stat").read_text().split()]
        reads, writes = (int(word) for word in (device / "inflight").read_text().split())
        read, written = counts[_READS], counts[_WRITES]
    except (OSError, ValueError, IndexError):
        return volume
    written += sum(counts[place] for place in _DISCARDS_AND_FLUSHES if place < len(counts))
    seen = replace(volume.traffic, reads=reads, read=read, writes=writes, written=written)
    return replace(volume, traffic=seen)
