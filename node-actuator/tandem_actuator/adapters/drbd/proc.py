"""The text of ``/proc/drbd``, as 8.4 writes it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from tandem_actuator.adapters.drbd.text import (
    ADDED,
    KIB,
    PROTOCOLS,
    SETTLED,
    SUSPENDED_FOR_SOME_REASON,
    UNCONFIGURED,
    VERIFYING,
    all_the_same,
    disk_of,
    role_of,
)
from tandem_actuator.core.drbd import DrbdState, NotConfigured, Traffic, VolumeState
from tandem_api.kinds.mirror import Protocol
from tandem_api.vocabulary import Connection

# /proc/drbd of 8.4 has one state per volume for what later are two.
PROC_NOT_CONNECTED: Mapping[str, Connection] = {
    UNCONFIGURED: Connection.STANDALONE,
    "StandAlone": Connection.STANDALONE,
    "Disconnecting": Connection.DISCONNECTING,
    "Unconnected": Connection.UNCONNECTED,
    "Timeout": Connection.TIMEOUT,
    "BrokenPipe": Connection.BROKEN_PIPE,
    "NetworkFailure": Connection.NETWORK_FAILURE,
    "ProtocolError": Connection.PROTOCOL_ERROR,
    "TearDown": Connection.TEAR_DOWN,
    "WFConnection": Connection.CONNECTING,
    "WFReportParams": Connection.CONNECTING,
}


PROC_CONNECTED = frozenset(
    {
        *("Connected", "VerifyS", "VerifyT", "Ahead", "Behind"),
        *("StartingSyncS", "WFBitMapS", "SyncSource", "PausedSyncS"),
        *("StartingSyncT", "WFBitMapT", "WFSyncUUID", "SyncTarget", "PausedSyncT"),
    }
)


_DEVICE = re.compile(
    r"^ *(?P<minor>\d+): cs:(?P<cs>\w+)"
    r"(?: ro:(?P<role>\w+)/(?P<peer_role>\w+) ds:(?P<disk>\w+)/(?P<peer_disk>\w+)"
    r" (?P<protocol>.) (?P<flags>\S+))?"
)


_COUNT = re.compile(r"\b(ns|nr|dw|dr|al|bm|lo|ap|oos):(\d+)")
_MOVED = ("ns", "nr", "dw", "dr", "al", "bm", "oos")


@dataclass(frozen=True)
class ProcDevice:
    """One device of ``/proc/drbd``. The defaults are what an unconfigured one is."""

    cs: str
    role: str = "Secondary"
    peer_role: str = "Unknown"
    disk: str = "Diskless"
    peer_disk: str = "DUnknown"
    suspended: bool = False
    protocol: str = ""
    out_of_sync_kib: int = 0
    traffic: Traffic = field(default_factory=Traffic)


def parse_proc(text: str) -> dict[int, ProcDevice]:
    """The devices of ``/proc/drbd`` by minor number."""
    found: dict[int, ProcDevice] = {}
    minor = -1
    for line in text.splitlines():
        head = _head(line)
        if head is not None:
            minor, found[minor] = head
            continue
        if minor in found:
            found[minor] = _counted(found[minor], line)
    return found


@lru_cache(maxsize=4096)
def _counted(device: ProcDevice, line: str) -> ProcDevice:
    """With a line of counts, which say the same at most looks at a guest that does nothing."""
    counts = {name: int(amount) for name, amount in _COUNT.findall(line)}
    if "oos" not in counts:
        return device
    traffic = Traffic(
        asked=counts.get("ap", 0),
        at_disk=0 if device.cs in VERIFYING else counts.get("lo", 0),
        moved=sum(counts.get(name, 0) for name in _MOVED),
    )
    return replace(device, out_of_sync_kib=counts["oos"], traffic=traffic)


@lru_cache(maxsize=4096)
def _read(line: str) -> tuple[int, ProcDevice] | None:
    """A device's first line, which says the same at most looks: its number and the rest."""
    head = _DEVICE.match(line)
    return None if head is None else (int(head["minor"]), _proc_device(head))


def _head(line: str) -> tuple[int, ProcDevice] | None:
    """Of any other line, which may be another at each look, nothing is kept here."""
    return _read(line) if ": cs:" in line else None


def _proc_device(head: re.Match[str]) -> ProcDevice:
    if head["cs"] == UNCONFIGURED:
        return ProcDevice(UNCONFIGURED)
    if head["role"] is None:
        raise ValueError(f"/proc/drbd has a line of another format: {head.string!r}")
    return ProcDevice(
        cs=head["cs"],
        role=head["role"],
        peer_role=head["peer_role"],
        disk=head["disk"],
        peer_disk=head["peer_disk"],
        suspended=head["flags"].startswith("s"),
        protocol=head["protocol"].strip(),
    )


def state_from_proc(
    devices: Mapping[int, ProcDevice], minors: Mapping[str, int], queried_at_s: float
) -> DrbdState | NotConfigured:
    """A resource's state from its devices. ``minors`` is keyed by the mirror's volume names.

    Raises:
        ValueError: only some of its devices are there.
    """
    present = tuple((name, devices[minor]) for name, minor in minors.items() if minor in devices)
    if all(device.cs == UNCONFIGURED for _, device in present):
        return NotConfigured(queried_at_s)
    if len(present) != len(minors):
        there = ", ".join(sorted(name for name, _ in present))
        raise ValueError(f"only {there} of its volumes are there. {ADDED}")
    return replace(_state(present), queried_at_s=queried_at_s)


@lru_cache(maxsize=4096)
def _state(present: tuple[tuple[str, ProcDevice], ...]) -> DrbdState:
    """But for the time of the look. Nearly all resources of a host are in one of a few states."""
    devices = [device for _, device in present]
    suspended = any(device.suspended for device in devices)
    return DrbdState(
        role=all_the_same(role_of(device.role) for device in devices),
        connection=_weakest(device.cs for device in devices),
        peer_role=all_the_same(role_of(device.peer_role) for device in devices),
        volumes={name: _volume_from_proc(device) for name, device in present},
        queried_at_s=0.0,
        suspended=SUSPENDED_FOR_SOME_REASON if suspended else frozenset(),
        protocol=_weakest_protocol(devices),
    )


def _weakest_protocol(devices: Iterable[ProcDevice]) -> Protocol | None:
    """None while the resource has nothing to connect with."""
    return PROTOCOLS.get(min((one.protocol for one in devices if one.protocol), default=""))


def _volume_from_proc(device: ProcDevice) -> VolumeState:
    return VolumeState(
        disk=disk_of(device.disk),
        peer_disk=disk_of(device.peer_disk),
        out_of_sync_bytes=device.out_of_sync_kib * KIB,
        resyncing=device.cs in PROC_CONNECTED and device.cs not in SETTLED,
        traffic=device.traffic,
    )


def _weakest(words: Iterable[str]) -> Connection:
    """Volumes shake hands one by one: the resource is connected when the last one is."""
    found = [
        Connection.CONNECTED
        if word in PROC_CONNECTED
        else PROC_NOT_CONNECTED.get(word, Connection.UNKNOWN)
        for word in words
    ]
    if Connection.UNKNOWN in found:
        return Connection.UNKNOWN
    return min(found, key=_CONNECTION_ORDER.index)


_CONNECTION_ORDER = list(Connection)
