"""A control group of the node's own in every hierarchy, for its kubelet to keep pods in.

Both layouts that Linux has: a hierarchy for each controller (v1), and one for all (v2). They are
removed when everything in them has ended. Called by the nodes.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tandem_lab.settings import LabError

MOUNTS = Path("/sys/fs/cgroup")
V1_CONTROLLERS = (
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "systemd",
    # Where systemd mounts v2 beside v1, containers make groups there, too.
    "unified",
)
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
NEEDED = ("cpu", "cpuset", "memory", "pids")
"""A kubelet without one of them does not start, and says so in its log only."""
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def is_unified(mounts: Path = MOUNTS) -> bool:
    """Whether this machine has the one hierarchy of v2."""
    return (mounts / "cgroup.controllers").exists()


def hierarchies(mounts: Path = MOUNTS) -> list[Path]:
    """The folders that a group has to be made in."""
    if is_unified(mounts):
        return [mounts]
    return [mounts / name for name in V1_CONTROLLERS if (mounts / name).is_dir()]


def require(mounts: Path = MOUNTS) -> None:
    """Raises: LabError: a kubelet cannot run on this machine. It names what is missing."""
    if is_unified(mounts):
        found = (mounts / "cgroup.controllers").read_text().split()
        fix = "boot a kernel that has them"
    else:
        found = [folder.name for folder in hierarchies(mounts)]
        fix = f"mount them under {mounts}, as `mount -t cgroup -o cpu cpu {mounts}/cpu`"
    missing = [name for name in NEEDED if name not in found]
    if missing:
        what = ", ".join(missing)
        raise LabError(f"a kubelet needs control groups that are not mounted here: {what}; {fix}")


def make_group(name: str, mounts: Path = MOUNTS) -> None:
    """Make the group; a kubelet finds it under `/name`."""
    for hierarchy in hierarchies(mounts):
        if is_unified(mounts):
            _delegate(hierarchy)
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # In v1 a group without processors and memory nodes takes no process.
        for file in CPUSET_FILES:
            if hierarchy.name == "cpuset" and not (group / file).read_text().strip():
                (group / file).write_text((hierarchy / file).read_text())


def remove_group(name: str, mounts: Path = MOUNTS) -> None:
    """Remove the group and those below it. OSError if something still runs in one."""
    for hierarchy in hierarchies(mounts):
        group = hierarchy / name
        if not group.is_dir():
            continue
        below = (path for path in group.rglob("*") if path.is_dir())
        for path in sorted(below, key=lambda path: len(path.parts), reverse=True):
            path.rmdir()
        group.rmdir()


def processes(name: str, mounts: Path = MOUNTS) -> list[int]:
    """The processes in the group and below it, by the numbers that this machine knows them by."""
    hierarchy = mounts if is_unified(mounts) else mounts / "pids"
    found: list[int] = []
    for file in (hierarchy / name).rglob("cgroup.procs"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, file.read_text().split())
    return found


def _delegate(hierarchy: Path) -> None:
    """Let the groups below have the controllers; those that the kernel lacks are left out."""
    for controller in V2_CONTROLLERS:
        with suppress(OSError):
            (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
