"""DRBD's tools for the suite's commands, as 8.4 and 9 want them, and how each shows a resource.

Runs in a lab host, and decides nothing. Standard library alone. Its only caller is
``host_server``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION = Path("/proc/drbd")
ATTACH = ("--on-io-error=detach", "--al-extents=7")
FENCING = "--fencing=resource-and-stonith"
# A crashed Primary has the whole small device copied: at once.
RESYNC = ("--c-plan-ahead=0", "--resync-rate=100M")
NO_DATA = "--on-no-data-accessible=suspend-io"
# A dead link is noticed 3 to 4 s after the cut: a step has that long to be done.
NET = (
    *("--protocol=C", "--ping-int=1", "--ping-timeout=30", "--timeout=9", "--connect-int=1"),
    *("--ko-count=5", "--after-sb-0pri=disconnect", "--after-sb-1pri=disconnect"),
    *("--after-sb-2pri=disconnect", "--rr-conflict=disconnect"),
)
PAIRED = re.compile(r"([a-z-]+):(\S*)")


@dataclass
class Resource:
    """One volume. ``node``: 0 or 1, by which 9 tells the two ends apart.

    ``two_primaries``: yes or no, as its file would say.
    """

    name: str
    minor: int
    node: int
    volume: str
    mine: str
    theirs: str
    two_primaries: str = "no"

    @property
    def net(self) -> tuple[str, ...]:
        """The options of its connection."""
        return (*NET, allowed(self.two_primaries))


def allowed(two_primaries: str) -> str:
    return f"--allow-two-primaries={two_primaries}"


class Eight:
    """``look``: how drbdsetup is asked."""

    setup = "/lib/drbd/drbdsetup-84"
    metadata = "v08"
    create: Sequence[str] = ("create-md",)

    def argv(self, of: Resource, verb: str, options: Sequence[str]) -> list[list[str]]:
        """The arguments of drbdsetup for a command; the last one's exit code counts."""
        minor = str(of.minor)
        disk = ("internal", *ATTACH, FENCING, *RESYNC)
        found: Mapping[str, list[list[str]]] = {
            "attach": [
                ["new-resource", of.name, NO_DATA],
                ["new-minor", of.name, minor, "0"],
                ["attach", minor, of.volume, of.volume, *disk],
            ],
            "connect": [["connect", of.name, of.mine, of.theirs, *of.net, *options]],
            "disconnect": [["disconnect", of.mine, of.theirs, *options]],
            "first-sync": [["new-current-uuid", minor, "--clear-bitmap"]],
            "primary": [["primary", minor, *options]],
            "secondary": [["secondary", minor]],
            "resume-io": [["resume-io", minor]],
            "outdate": [["outdate", minor]],
            "two-primaries": [["net-options", of.mine, of.theirs, *map(allowed, options)]],
            "pause-sync": [["pause-sync", minor]],
            "resume-sync": [["resume-sync", minor]],
            "down": [["down", of.name]],
        }
        return found[verb]

    def line(self, of: Resource, look: Callable[[str], str]) -> str:
        """What /proc/drbd shows of it; empty if it is not configured."""
        for line in Path("/proc/drbd").read_text().splitlines():
            head, _, rest = line.strip().partition(": ")
            if head == str(of.minor):
                return "" if "Unconfigured" in rest else rest
        return ""


class Nine:
    """Who has no peer asks nobody, so there is one from the beginning, as Tandem does it."""

    setup = "drbdsetup"
    metadata = "v09"
    create: Sequence[str] = ("create-md", "1")

    def argv(self, of: Resource, verb: str, options: Sequence[str]) -> list[list[str]]:
        """The arguments of drbdsetup for a command; the last one's exit code counts."""
        minor, peer = str(of.minor), (of.name, str(1 - of.node))
        resource = ("--auto-promote=no", "--quorum=off", "--twopc-timeout=50", NO_DATA)
        found: Mapping[str, list[list[str]]] = {
            "attach": [
                ["new-resource", of.name, str(of.node), *resource],
                ["new-minor", of.name, minor, "0"],
                ["new-peer", *peer, "--_name=peer", FENCING, *of.net],
                ["new-path", *peer, of.mine, of.theirs],
                ["peer-device-options", *peer, "0", *RESYNC],
                ["attach", minor, of.volume, of.volume, "internal", *ATTACH],
            ],
            "connect": [["connect", *peer, *options]],
            "disconnect": [["disconnect", *peer, *options]],
            "first-sync": [["new-current-uuid", minor, "--clear-bitmap"]],
            "primary": [["primary", of.name, *options]],
            "secondary": [["secondary", of.name]],
            "resume-io": [["resume-io", minor]],
            "outdate": [["outdate", minor]],
            "two-primaries": [["net-options", *peer, *map(allowed, options)]],
            "pause-sync": [["pause-sync", *peer, "0"]],
            "resume-sync": [["resume-sync", *peer, "0"]],
            "down": [["down", of.name]],
        }
        return found[verb]

    def line(self, of: Resource, look: Callable[[str], str]) -> str:
        """The same words as 8.4's, from ``events2``; no more than what was made is shown."""
        return line_of(look(of.name))


def line_of(events: str) -> str:
    """cs:… ro:…/… ds:…/… C s---- from what events2 shows; empty if nothing is configured."""
    objects: dict[str, dict[str, str]] = {}
    for event in events.splitlines():
        words = event.split(maxsplit=2)
        if len(words) == 3 and words[0] == "exists":
            objects[words[1]] = dict(PAIRED.findall(words[2]))
    if "resource" not in objects:
        return ""
    resource, device = objects["resource"], objects.get("device", {})
    link, peer = objects.get("connection", {}), objects.get("peer-device", {})
    role, disk = resource.get("role", "Secondary"), device.get("disk", "Diskless")
    connection = link.get("connection", "StandAlone")
    if (role, disk, connection) == ("Secondary", "Diskless", "StandAlone"):
        return ""
    if connection == "Connecting":
        connection = "WFConnection"
    replication = peer.get("replication", "Off")
    if connection == "Connected" and replication not in ("Established", "Off"):
        connection = replication
    flag = "r" if resource.get("suspended", "no") == "no" else "s"
    roles = f"{role}/{link.get('role', 'Unknown')}"
    disks = f"{disk}/{peer.get('peer-disk', 'DUnknown')}"
    return f"cs:{connection} ro:{roles} ds:{disks} C {flag}-----"


def tools_of_this_host() -> "Eight | Nine":
    """By the module that is loaded."""
    first = VERSION.read_text().splitlines()[0]
    return Eight() if first.startswith("version: 8") else Nine()
