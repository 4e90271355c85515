"""Objects and views with sensible contents, so that a test states only what it is about.

Two hosts, ``a-1`` at site ``a`` and ``b-1`` at site ``b``; one mirror ``m`` and one guest ``g`` in
namespace ``ns``. Never used by the programs. Called by unit tests and ``tandem_scale``.
"""

from collections.abc import Mapping
from dataclasses import replace

from tandem_actuator.core.authority import Facts
from tandem_actuator.core.drbd import DrbdState, DrbdView, VolumeState
from tandem_actuator.core.model import Record, View
from tandem_api.authority import Authority, Eligibility, Instance, Mode
from tandem_api.kinds.guest import Assignment, FencingProof, Guest, GuestStatus, ProofKind
from tandem_api.kinds.mirror import (
    DeviceNumbers,
    Marker,
    Mirror,
    MirrorStatus,
    Protocol,
    ReplicaReport,
)
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, Timing
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role

A, B = "a-1", "b-1"
UID = "uid-m"
INCARNATION = "uid-m"
HERE = Instance(node=A, boot_id="boot1", run_id="run1")
THERE = Instance(node=B, boot_id="boot1", run_id="run1")
ADDRESSES = {A: "198.51.100.11", B: "198.51.100.12"}
YES = Eligibility(eligible=True, reason=Reason.IN_SYNC)
NO = Eligibility(eligible=False, reason=Reason.LINK_LOST)


def authority(owner: str = A, **changes: object) -> Authority:
    """Mirrored at epoch 5, owned by ``owner``'s present instance ("" for nobody), both eligible."""
    instances = {"": "", A: str(HERE), B: str(THERE)}
    base = Authority(
        epoch=5,
        incarnation=INCARNATION,
        owner=owner,
        owner_instance=instances[owner],
        mode=Mode.MIRRORED,
        reason=Reason.CLAIMED,
        eligible={A: YES, B: YES},
    )
    return base.model_copy(update=changes)


def standalone(owner: str = A, **changes: object) -> Authority:
    """The owner may write alone; the other host is out."""
    other = B if owner == A else A
    fields = {"mode": Mode.STANDALONE, "eligible": {owner: YES, other: NO}}
    return authority(owner, **{**fields, **changes})


def mirror(
    held_by: Authority | None,
    *,
    protocol: Protocol = Protocol.C,
    volumes: tuple[str, ...] = ("root",),
    replicas: Mapping[str, ReplicaReport] | None = None,
    holdoff_s: int = 2,
) -> Mirror:
    """The mirror with this authority."""
    spec = {
        "protocol": protocol,
        "volumes": [{"name": name, "size": "1Gi"} for name in volumes],
        "replicas": [
            {"host": host, "devices": {name: f"/dev/vg0/m-{name}" for name in volumes}}
            for host in (A, B)
        ],
        "linkLossHoldoffSeconds": holdoff_s,
    }
    raw = {
        "metadata": {"name": "m", "namespace": "ns", "uid": UID, "resourceVersion": "100"},
        "spec": spec,
    }
    status = MirrorStatus(
        authority=held_by,
        device_numbers=DeviceNumbers(port=7789, minors={n: i for i, n in enumerate(volumes)}),
        replicas=dict(replicas if replicas is not None else {A: report(), B: report()}),
    )
    return Mirror.parse(raw).model_copy(update={"status": status})


def report(*, connection: str = "Connected", marker: Marker | None = None) -> ReplicaReport:
    """What a host says about its replica."""
    return ReplicaReport(connection=connection, marker=marker, role="Secondary")


def assignment(host: str, proof: FencingProof | None = None, serial: int = 1) -> Assignment:
    return Assignment(host=host, serial=serial, reason=Reason.INITIAL_PLACEMENT, proof=proof)


def lease_lost(about: Authority, *, version: str = "70", watchdog: bool = True) -> FencingProof:
    """The controller's proof that the owner's lease ran out."""
    return FencingProof(
        kind=ProofKind.LEASE_LOST,
        host=about.owner,
        instance=about.owner_instance,
        at_epoch=about.epoch,
        lease_version=version,
        watchdog=watchdog,
    )


def heartbeat(
    host: str = B,
    *,
    version: str = "70",
    instance: Instance = THERE,
    timing: Timing | None = DEFAULT,
) -> Heartbeat:
    return Heartbeat(
        host=host, instance=str(instance), version=version, watchdog_armed=True, timing=timing
    )


def guest(assigned: Assignment | None) -> Guest:
    spec = {
        "mirror": "m",
        "domain": {"memory": "64Mi", "disks": [{"volume": "root"}]},
        "shutdownTimeoutSeconds": 30,
    }
    raw = {"metadata": {"name": "g", "namespace": "ns", "uid": "uid-g"}, "spec": spec}
    return Guest.parse(raw).model_copy(update={"status": GuestStatus(assignment=assigned)})


def drbd(
    role: Role = Role.SECONDARY,
    connection: Connection = Connection.CONNECTED,
    *,
    disk: DiskState = DiskState.UP_TO_DATE,
    peer_disk: DiskState | None = None,
    peer_role: Role | None = None,
    resyncing: bool = False,
    out_of_sync_bytes: int = 0,
    suspended: bool = False,
    at_s: float = 1000.0,
) -> DrbdState:
    """One volume. Without a connection, what is known of the peer is Unknown."""
    connected = connection is Connection.CONNECTED
    volume = VolumeState(
        disk=disk,
        peer_disk=peer_disk or (DiskState.UP_TO_DATE if connected else DiskState.UNKNOWN),
        resyncing=resyncing,
        out_of_sync_bytes=out_of_sync_bytes,
    )
    return DrbdState(
        role=role,
        connection=connection,
        peer_role=peer_role or (Role.SECONDARY if connected else Role.UNKNOWN),
        volumes={"root": volume},
        queried_at_s=at_s,
        suspended=frozenset({"fencing"}) if suspended else frozenset(),
    )


def frozen(at_s: float = 1000.0) -> DrbdState:
    """A Primary that has just lost a current peer."""
    return drbd(Role.PRIMARY, Connection.CONNECTING, suspended=True, at_s=at_s)


def lost(disk: DiskState = DiskState.UP_TO_DATE) -> DrbdState:
    """A Secondary without a connection."""
    return drbd(Role.SECONDARY, Connection.CONNECTING, disk=disk)


def record(**changes: object) -> Record:
    base = Record(uid=UID, incarnation=INCARNATION, max_epoch=5, owned_epoch=0, attached=True)
    return replace(base, **changes)  # type: ignore[arg-type]


def facts(state: DrbdView, host: str = A, **changes: object) -> Facts:
    """First-hand facts of ``host`` at 1000 s, the link lost long ago if it is not connected."""
    connected = isinstance(state, DrbdState) and state.connected
    base = Facts(
        host=host,
        peer=B if host == A else A,
        instance=HERE if host == A else THERE,
        record=record(),
        drbd=state,
        now_s=1000.0,
        link_lost_at_s=None if connected else 900.0,
        link_wait_s=DEFAULT.link_wait_s,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def view(
    held_by: Authority | None,
    state: DrbdView,
    *,
    host: str = A,
    assigned: Assignment | None = None,
    domain: DomainState = DomainState.ABSENT,
    the_mirror: Mirror | None = None,
    **changes: object,
) -> View:
    """What ``host`` knows; the guest is assigned to it unless told otherwise."""
    connected = isinstance(state, DrbdState) and state.connected
    base = View(
        host=host,
        instance=HERE if host == A else THERE,
        mirror=the_mirror or mirror(held_by),
        guest=guest(assigned or assignment(host)),
        record=record(owned_epoch=5 if held_by and held_by.owner == host else 0),
        drbd=state,
        domain=domain,
        timing=DEFAULT,
        peer_timing=DEFAULT,
        watchdog_armed=True,
        watchdog_required=True,
        addresses=ADDRESSES,
        link_lost_at_s=None if connected else 900.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]
