"""Reads what DRBD says of itself: ``drbdsetup events2`` lines, 8.4's ``/proc/drbd``, 9's ``show``.

Pure: text in, frozen values out. Unknown words become the Unknown of their kind, never a guess;
a text that contradicts itself raises ValueError. Called by ``adapters.drbd`` only.

Two things that the formats do not tell by themselves:

- 8.4 prints ``connection:Connected`` from the first packet on, while the handshake still decides
  who has the newer data. The volumes' replication states tell: only ``Off`` is not connected.
- A resource that was created but holds no disk, no connection and no role is ``Unconfigured`` in
  ``/proc/drbd``. It is NotConfigured here too: bringing it up begins from the start, and every
  step of that may be repeated.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem_actuator.core.drbd import DrbdState, Generation, NotConfigured, Traffic, VolumeState
from tandem_api.kinds.mirror import Protocol
from tandem_api.vocabulary import Connection, DiskState, Role

KIB = 1024
OFF = "Off"
# drbd.h, enum drbd_conns / drbd_repl_state: everything in which the replicas are not just equal
# and following. Verify runs with both sides in sync.
VERIFYING = frozenset({"VerifyS", "VerifyT"})
SETTLED = frozenset({OFF, "Established", "Connected"}) | VERIFYING
UNCONFIGURED = "Unconfigured"
_MOVED_HERE = ("read", "written", "al-writes", "bm-writes")
_MOVED_THERE = ("received", "sent", "out-of-sync")
# What /proc/drbd cannot tell: it says that I/O is suspended, not by whom.
SUSPENDED_FOR_SOME_REASON = frozenset({"unspecified"})


ADDED = (
    "If one was added while the mirror was in use, remove it from spec.volumes and from"
    " status.deviceNumbers.minors (kubectl edit --subresource=status)"
)


PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_ROLES = {role.value: role for role in Role}
_DISKS = {disk.value: disk for disk in DiskState}
_CONNECTIONS = {connection.value: connection for connection in Connection}


def role_of(word: str) -> Role:
    return _ROLES.get(word, Role.UNKNOWN)


def disk_of(word: str) -> DiskState:
    return _DISKS.get(word, DiskState.UNKNOWN)


def _connection(word: str) -> Connection:
    return _CONNECTIONS.get(word, Connection.UNKNOWN)


def all_the_same(roles: Iterable[Role]) -> Role:
    """8.4 keeps roles per volume: a resource has one only if its volumes agree."""
    found = set(roles)
    return found.pop() if len(found) == 1 else Role.UNKNOWN


# --- events2


@dataclass(frozen=True)
class Event:
    """One line: what happened (``exists``, ``change``, …) to what, with its fields."""

    action: str
    kind: str
    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.fields.get("name", "")

    @property
    def skipped(self) -> bool:
        """Whether this line says that others were lost (``- skipped N``)."""
        return self.action == ""

    @property
    def says_connected(self) -> bool:
        """Whether the link to the peer was up at that moment, as far as this line tells."""
        if self.action == "destroy":
            return False
        if self.kind == "connection":
            return self.fields.get("connection") == Connection.CONNECTED
        return self.kind == "peer-device" and self.fields.get("replication", OFF) != OFF

    @property
    def says_lost(self) -> bool:
        """Whether the link to the peer was not up at that moment, as far as this line tells."""
        if self.action == "destroy":
            return self.kind in ("resource", "connection", "peer-device")
        if self.kind == "connection":
            return self.fields.get("connection", Connection.CONNECTED) != Connection.CONNECTED
        return self.kind == "peer-device" and self.fields.get("replication") == OFF

    def role_of(self, kind: str) -> Role | None:
        """This host's (``resource``) or the peer's (``connection``), if this line tells it."""
        told = self.fields.get("role") if self.kind == kind else None
        return role_of(told) if told is not None else None

    @property
    def says_behind(self) -> bool:
        """Whether the local disk was not current at that moment, as far as this line tells."""
        behind = (DiskState.INCONSISTENT, DiskState.OUTDATED)
        return self.kind == "device" and self.fields.get("disk") in behind


def parse_event(line: str) -> Event | None:
    """The event on a line; None for an empty one. ``- skipped N`` has the kind ``-``."""
    words = line.split()
    if not words:
        return None
    if words[0] == "-":
        return Event("", "-", {})
    kind = words[1] if len(words) > 1 else "-"
    pairs = (word.partition(":") for word in words[2:])
    return Event(words[0], kind, {key: value for key, colon, value in pairs if colon})


@dataclass
class ResourceFields:
    """All lines of one resource from a dump; peer devices and devices by volume number."""

    resource: Mapping[str, str]
    connections: list[Mapping[str, str]] = field(default_factory=list)
    devices: dict[int, Mapping[str, str]] = field(default_factory=dict)
    peer_devices: dict[int, Mapping[str, str]] = field(default_factory=dict)


def parse_dump(text: str) -> dict[str, ResourceFields]:
    """``drbdsetup events2 --now --statistics``, by resource name.

    Raises:
        ValueError: a line belongs to no resource, or the dump is cut short.
    """
    found: dict[str, ResourceFields] = {}
    complete = False
    for line in text.splitlines():
        event = parse_event(line)
        if event is None:
            continue
        complete = event.kind == "-"
        _add(found, event, line)
    if not complete:
        raise ValueError("the dump is cut short")
    return found


def _add(found: dict[str, ResourceFields], event: Event, line: str) -> None:
    if event.kind == "resource":
        found[event.name] = ResourceFields(event.fields)
        return
    if event.kind not in ("connection", "device", "peer-device"):
        return
    if event.name not in found:
        raise ValueError(f"a line of no resource: {line!r}")
    entry = found[event.name]
    if event.kind == "connection":
        entry.connections.append(event.fields)
    elif event.kind == "device":
        entry.devices[int(event.fields["volume"])] = event.fields
    else:
        entry.peer_devices[int(event.fields["volume"])] = event.fields


def volumes_in_use(fields: ResourceFields, minors: Mapping[str, int]) -> list[str]:
    """What a Primary works with, in the order of its numbers; empty of any other.

    A volume that was given a number while the mirror was in use is missing there, and it goes on
    without: none that it was promoted with can go. On a Secondary one may have been taken away.
    """
    if role_of(fields.resource.get("role", "")) is not Role.PRIMARY:
        return []
    named = {str(minor): name for name, minor in minors.items()}
    found = [named.get(device.get("minor", "")) for _, device in sorted(fields.devices.items())]
    return [name for name in found if name is not None]


def state_from_dump(
    fields: ResourceFields | None, volumes: Sequence[str], queried_at_s: float
) -> DrbdState | NotConfigured:
    """A resource's state. ``volumes`` are the mirror's volume names in the order of their numbers.

    Raises:
        ValueError: the kernel's resource is not this mirror's (other volumes, more peers).
    """
    if fields is None or not fields.devices:
        return NotConfigured(queried_at_s)
    if set(fields.devices) != set(range(len(volumes))):
        raise ValueError(
            f"its volumes are {sorted(fields.devices)}, not {len(volumes)} in order. {ADDED}"
        )
    if len(fields.connections) > 1:
        raise ValueError(f"it has {len(fields.connections)} peers")
    link = fields.connections[0] if fields.connections else {}
    states = {
        name: _volume_from_dump(fields.devices[number], fields.peer_devices.get(number, {}))
        for number, name in enumerate(volumes)
    }
    replications = {fields.peer_devices.get(n, {}).get("replication", OFF) for n in fields.devices}
    connection = _connection(link.get("connection", Connection.STANDALONE))
    if connection is Connection.CONNECTED and OFF in replications:
        connection = Connection.CONNECTING
    role = role_of(fields.resource.get("role", ""))
    if _nothing_there(role, connection, states):
        return NotConfigured(queried_at_s)
    suspended = fields.resource.get("suspended", "no")
    return DrbdState(
        role=role,
        connection=connection,
        peer_role=role_of(link.get("role", "")),
        volumes=states,
        queried_at_s=queried_at_s,
        suspended=frozenset() if suspended == "no" else frozenset(suspended.split(",")),
    )


def _volume_from_dump(device: Mapping[str, str], peer: Mapping[str, str]) -> VolumeState:
    return VolumeState(
        disk=disk_of(device.get("disk", "")),
        peer_disk=disk_of(peer.get("peer-disk", "")),
        out_of_sync_bytes=int(peer.get("out-of-sync", "0")) * KIB,
        resyncing=peer.get("replication", OFF) not in SETTLED,
        traffic=_traffic(device, peer),
    )


def _traffic(device: Mapping[str, str], peer: Mapping[str, str]) -> Traffic:
    here = (int(device.get(name, "0")) for name in _MOVED_HERE)
    there = (int(peer.get(name, "0")) for name in _MOVED_THERE)
    verifies = peer.get("replication", OFF) in VERIFYING
    return Traffic(
        asked=int(device.get("upper-pending", "0")),
        at_disk=0 if verifies else int(device.get("lower-pending", "0")),
        moved=sum(here) + sum(there),
    )


def lacks_data(peer_device: Mapping[str, str]) -> bool:
    """Whether the bitmap has bits for this peer."""
    return int(peer_device.get("out-of-sync", "0")) > 0


def _nothing_there(role: Role, connection: Connection, volumes: Mapping[str, VolumeState]) -> bool:
    return (
        role is Role.SECONDARY
        and connection is Connection.STANDALONE
        and all(volume.disk is DiskState.DISKLESS for volume in volumes.values())
    )


# --- /proc/drbd (8.4)


# --- show --json (9)


@dataclass(frozen=True)
class Options:
    """What a resource may decide by itself."""

    quorum: str
    auto_promote: bool


def parse_options(text: str, name: str) -> Options:
    """``drbdsetup show --json`` of one resource, which leaves out what is as by default.

    Raises:
        ValueError: it is something else, or of another resource.
    """
    shown: Any = json.loads(text)
    match shown:
        case [{"resource": found}] if found == name:
            options: Mapping[str, Any] = shown[0].get("options", {})
        case _:
            raise ValueError(f"drbdsetup show says nothing of {name}: {text.strip()!r}")
    promotes = options.get("auto-promote", True) not in (False, "no")
    return Options(quorum=str(options.get("quorum", "off")), auto_promote=promotes)


# --- get-gi


_IDENTIFIER = re.compile(r"[0-9A-F]{16}", re.IGNORECASE)
_PRIMARY_BIT = 1


def parse_generation(text: str) -> Generation:
    """``drbdadm get-gi`` of one volume: current:bitmap:history:history, then flags.

    Raises:
        ValueError: it is something else.
    """
    words = text.strip().split(":")
    if len(words) < 4 or not all(_IDENTIFIER.fullmatch(word) for word in words[:2]):
        raise ValueError(f"not identifiers of generations: {text.strip()!r}")
    current, bitmap = (int(word, 16) for word in words[:2])
    return Generation(f"{current & ~_PRIMARY_BIT:016X}", parted=bitmap != 0)
