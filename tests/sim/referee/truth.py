"""What is so in the simulated world, whatever its programs believe. Only ever looked at.

Written without the deciding code, so that both cannot be wrong in the same way. Called by the
referee's checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sim.apiserver import Server
from sim.drbd.disk import Backing, better
from sim.drbd.replica import Replica
from sim.drbd.state import attached
from sim.host.host import Host
from sim.libvirt.guest import Run
from sim.network.links import REPLICATION, Network
from tandem_api.authority import PROTOCOL, Authority, Mode
from tandem_api.kinds.guest import Guest, Policy
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host as HostObject
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import NAME
from tandem_api.meta import ObjectKey, condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, Role


@dataclass
class Truth:
    """``guests``: guest → the key of its mirror. ``programs_well``: whether all of a host's run."""

    server: Server
    network: Network
    hosts: Mapping[str, Host]
    programs_well: Callable[[str], bool]
    guests: dict[str, ObjectKey] = field(default_factory=dict)

    # -- the API's word

    def mirror(self, guest: str) -> Mirror | None:
        found = self.server.objects.get(("Mirror", self.guests[guest]))
        return found if isinstance(found, Mirror) else None

    def authority(self, guest: str) -> Authority | None:
        mirror = self.mirror(guest)
        return mirror.status.authority if mirror else None

    def holders(self, guest: str) -> list[Host]:
        """The hosts that have disks of its mirror."""
        name = name_of(self.guests[guest])
        return [host for host in self.hosts.values() if name in host.backings]

    def peer_of(self, host: str, guest: str) -> Host:
        """The other one that holds its mirror."""
        return next(other for other in self.holders(guest) if other.name != host)

    def said_to_be_off(self, instance: str) -> bool:
        """Whether a person has given their word for this boot."""
        node, _, rest = instance.partition("/")
        found = self.server.objects.get(("Host", ObjectKey(namespace="", name=node)))
        word = found.spec.confirmed_down if isinstance(found, HostObject) else None
        return bool(word) and word == rest.partition("/")[0]

    def stop_is_wanted(self, run: Run) -> bool:
        """Whether the objects as they are ask for the guest to stop, or to run elsewhere."""
        key = self.guests[run.guest]
        guest = self.server.objects.get(("Guest", key))
        if not isinstance(guest, Guest) or guest.metadata.deletion_timestamp:
            return True
        here = self.hosts[run.host].site
        preferred = guest.spec.placement.preferred_site
        back = guest.spec.failback.policy is Policy.AUTOMATIC and preferred not in (None, "", here)
        by_hand = any(
            not found.ended and (found.metadata.namespace, found.spec.guest) == guest.key
            for found in self.server.every(GuestMove)
        )
        return self.closed(run.host) or back or by_hand or not guest.spec.running

    def paused(self, guest: str) -> bool:
        """Whether a person has paused anything that it may run on, or all."""
        key, mirror = self.guests[guest], self.mirror(guest)
        replicas = [replica.host for replica in mirror.spec.replicas] if mirror else []
        names = [("Host", host) for host in replicas]
        names += [("Site", self.hosts[host].site) for host in replicas] + [("Tandem", NAME)]
        found = [(kind, ObjectKey(namespace="", name=name)) for kind, name in names]
        for where in (("Guest", key), ("Mirror", key), *found):
            obj = self.server.objects.get(where)
            if obj is not None and obj.spec.paused:  # type: ignore[attr-defined]  # each may be
                return True
        return False

    def closed(self, host: str) -> bool:
        """Whether people have put it, or its site, into maintenance."""
        names = (("Host", host), ("Site", self.hosts[host].site))
        found = (self.server.objects.get((kind, _cluster(name))) for kind, name in names)
        return any(isinstance(one, Site | HostObject) and one.spec.maintenance for one in found)

    def promised_to_leave(self, guest: str) -> bool:
        """Whether people are told that it is neither started nor stopped now."""
        found = self.server.objects.get(("Guest", self.guests[guest]))
        if not isinstance(found, Guest):
            return False
        told = condition(found.status.conditions, "Paused")
        return told is not None and told.status == "True"

    # -- what a host has

    def held(self, host: Host, guest: str) -> bool:
        """Rule 2: whether its own record contradicts the mirror that the API has."""
        mirror, record = self.mirror(guest), host.record(name_of(self.guests[guest]))
        if mirror is None or record is None:
            return mirror is None
        authority = mirror.status.authority
        if record.uid != mirror.metadata.uid or authority is None:
            return record.uid != mirror.metadata.uid or record.max_epoch > 0
        other = record.incarnation not in ("", authority.incarnation)
        newer = authority.min_protocol > PROTOCOL
        return other or newer or record.max_epoch > authority.epoch

    def replica(self, host: Host, guest: str) -> Replica | None:
        machine = host.machine
        return machine.replicas.get(name_of(self.guests[guest])) if machine else None

    def backings(self, host: Host, guest: str) -> Mapping[str, Backing]:
        return host.backings[name_of(self.guests[guest])]

    def out(self, host: Host, guest: str) -> bool:
        """Whether its replica is locally and durably unpromotable, also after a boot."""
        record = host.record(name_of(self.guests[guest]))
        if self._in_use(guest) and (record is None or not record.attached):
            return True  # who remembers nothing of a mirror in use marks it as it attaches
        if (record is not None and record.marker) or self.held(host, guest):
            return True
        replica = self.replica(host, guest)
        return any(
            _volume_out(replica, name, backing)
            for name, backing in self.backings(host, guest).items()
        )

    def knows_of_a_difference(self, host: Host, guest: str) -> bool:
        """Whether it has noted durably that its replica lacks what a verification has found."""
        record = host.record(name_of(self.guests[guest]))
        marker = record.marker if record is not None else None
        return marker is not None and marker.reason is Reason.DIFFERENCE_FOUND

    def _in_use(self, guest: str) -> bool:
        authority = self.authority(guest)
        return authority is not None and bool(authority.owner)

    def promises_writes(self, guest: str) -> bool:
        """Only protocol C has both sides hold what is acknowledged."""
        mirror = self.mirror(guest)
        return mirror is None or mirror.spec.protocol.value == "C"

    def may_be_promoted(self, host: Host, guest: str) -> bool:
        """Whether nothing but the proof about the other host is missing for a claim."""
        authority = self.authority(guest)
        if authority is None or not authority.may_own(host.name):
            return False
        mirrored = authority.mode is Mode.MIRRORED
        alone = authority.mode is Mode.STANDALONE and authority.owner in ("", host.name)
        return (mirrored or alone) and not self.out(host, guest)

    def calm(self, run: Run) -> bool:
        """A healthy guest: connected, in sync, owned by its host, every program there runs."""
        peer = self.peer_of(run.host, run.guest)
        replica, other = run.replica, self.replica(peer, run.guest)
        if other is None or not replica.connected or other.session != replica.session:
            return False
        authority = self.authority(run.guest)
        mirrored = authority is not None and authority.mode is Mode.MIRRORED
        return (
            mirrored
            and authority is not None
            and authority.owner == run.host
            and not run.asked_to_stop
            and run.group.awake
            and self.network.up(REPLICATION, run.host, peer.name)
            and not self.network.narrow
            and (replica.role, other.role) == (Role.PRIMARY, Role.SECONDARY)
            and not (replica.suspended or replica.hangs or other.hangs)
            and all(in_sync(one) for one in (replica, other))
            and all(self.programs_well(name) for name in (run.host, peer.name))
        )


def name_of(mirror: ObjectKey) -> str:
    """The name of its DRBD resource."""
    return f"{mirror.namespace}.{mirror.name}"


def in_sync(replica: Replica) -> bool:
    """Every volume UpToDate here."""
    return all(volume.disk is DiskState.UP_TO_DATE for volume in replica.volumes.values())


def writes_alone(replica: Replica) -> bool:
    """Whether a write to this device could be acknowledged that the peer does not get."""
    if replica.role is not Role.PRIMARY or replica.suspended:
        return False
    return any(
        attached(volume.disk) and not (replica.connected and attached(volume.peer_disk))
        for volume in replica.volumes.values()
    )


def _volume_out(replica: Replica | None, name: str, backing: Backing) -> bool:
    """By its state, if it is attached; else by what an attach will make of its metadata.

    One that attaches as Consistent is marked before it is connected.
    """
    volume = replica.volumes.get(name) if replica else None
    if replica is None or volume is None or not attached(volume.disk):
        current = backing.has_metadata and backing.consistent and backing.was_up_to_date
        return not (current and backing.peer_outdated)
    if volume.disk is DiskState.CONSISTENT:
        return replica.connection.value == "StandAlone"
    return not better(volume.disk, DiskState.OUTDATED)


def _cluster(name: str) -> ObjectKey:
    return ObjectKey(namespace="", name=name)
