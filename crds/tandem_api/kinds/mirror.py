"""Mirror: one DRBD resource, with a replica on one host of each of two sites."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from tandem_api.authority import Authority
from tandem_api.kinds.guest import FencingProof
from tandem_api.meta import (
    Condition,
    InvalidFields,
    Model,
    Name,
    Problem,
    Quantity,
    Resource,
    repeated,
)
from tandem_api.reasons import Reason
from tandem_api.vocabulary import NOT_CONFIGURED, Connection


class Protocol(StrEnum):
    """DRBD's replication protocol: when a write counts as done.

    A  in the local disk and the send buffer: can lose acknowledged writes in a takeover.
    B  in the local disk and the peer's memory: can lose them if both sites lose power.
    C  in both disks.
    """

    A = "A"
    B = "B"
    C = "C"


# No segment begins with a dot: no way out of /dev, and one spelling for one device.
DEVICE_PATTERN = r"^/dev(/[A-Za-z0-9_+:-][A-Za-z0-9_.+:-]*)+$"


class InitialData(StrEnum):
    """What the backing devices hold when the mirror is made.

    BLANK      nothing: a device with recognisable data on it is refused.
    IDENTICAL  the same on both, such as copies of one image; nothing is copied between them.
    """

    BLANK = "Blank"
    IDENTICAL = "Identical"


DevicePath = Annotated[
    str,
    Field(
        pattern=DEVICE_PATTERN,
        max_length=255,
        description="A block device on that host, used for nothing else.",
    ),
]


class Volume(Model):
    """One disk of the mirror. All volumes of a mirror are consistent with each other."""

    name: Name
    size: Quantity


class Replica(Model):
    """Where one side of the mirror is kept."""

    host: Annotated[Name, Field(description="The Host that keeps this replica.")]
    devices: Annotated[
        dict[str, DevicePath],
        Field(
            min_length=1, max_length=16, description="Backing device of every volume, by its name."
        ),
    ]


# As the API server says it; it cannot say which.
NO_DEVICE = "a volume has no device; add one for every volume to both replicas' devices"
NO_VOLUME = "a device is given for what is no volume of this mirror; remove it, or add the volume"
SAME_DEVICE = "a device is there twice; give each volume its own"
PORT_CHANGED = "cannot change once the mirror is set up; set it back, or remove it"
VOLUMES_CHANGED = "cannot be removed, renamed or reordered; set them back"
VOLUMES_ADDED = (
    "cannot be added once the mirror is set up; remove what is new. For another disk make a new"
    " mirror that has all from the beginning, stop the guest, copy the data and set its spec.mirror"
)


class OverrideRequest(Model):
    """A person's order to give a mirror to a host that may lack acknowledged writes."""

    host: Annotated[Name, Field(description="The host that shall own the mirror.")]
    epoch: Annotated[
        int, Field(ge=1, description="status.authority.epoch as the person saw it; else refused.")
    ]
    accept_data_loss: Annotated[
        bool, Field(description="Must be true: writes that only the other side has are given up.")
    ]
    by: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            description="Who decided, by the name that the API server knows; kept in the status.",
        ),
    ]


class MirrorSpec(Model):
    """What a person decides about a mirror."""

    protocol: Protocol = Protocol.C
    volumes: Annotated[tuple[Volume, ...], Field(min_length=1, max_length=16)]
    replicas: Annotated[tuple[Replica, ...], Field(min_length=2, max_length=2)]
    port: Annotated[
        int | None,
        Field(ge=1024, le=65535, description="DRBD's TCP port; chosen by Tandem if absent."),
    ] = None
    resync_rate_max: Annotated[
        Quantity | None, Field(description="Bytes per second a resync may use; 110Mi if absent.")
    ] = None
    initial_data: Annotated[
        InitialData,
        Field(
            description="What the devices hold when the mirror is made. Blank: nothing, a device"
            " with data on it is refused. Identical: the same on both, a person's promise."
            " DRBD's metadata takes the end of each device: make it larger than the size."
        ),
    ] = InitialData.BLANK
    link_loss_holdoff_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=60,
            description="How long writes stay frozen after the replication link is lost before"
            " the owner asks to go on alone: a site that is dying does not get the grant.",
        ),
    ] = 2
    paused: Annotated[
        bool, Field(description="Neither start, stop, move nor take over its guest.")
    ] = False
    override: OverrideRequest | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = self.problems()
        if problems:
            raise InvalidFields(problems)
        return self

    def problems(self) -> list[Problem]:
        """What contradicts itself within this spec; empty if nothing does."""
        found: list[Problem] = []
        names = [volume.name for volume in self.volumes]
        found += [
            Problem("volumes", f"{name} is there twice; remove one") for name in repeated(names)
        ]
        first, second = self.replicas
        if first.host == second.host:
            found.append(
                Problem("replicas", f"both are on host {first.host}; name hosts of two sites")
            )
        for index, replica in enumerate(self.replicas):
            found += _device_problems(f"replicas[{index}].devices", names, replica)
        if self.override and not self.override.accept_data_loss:
            found.append(
                Problem(
                    "override.acceptDataLoss",
                    "is false, so nothing would be done; set it to true, or remove override",
                )
            )
        return found


def _device_problems(field: str, names: list[str], replica: Replica) -> list[Problem]:
    """What is wrong with one replica's devices, given the names of the mirror's volumes."""
    missing = sorted(set(names) - set(replica.devices))
    unknown = sorted(set(replica.devices) - set(names))
    return [
        *(Problem(field, f"{NO_DEVICE}: volume {n} has none") for n in missing),
        *(Problem(field, f"{NO_VOLUME}: {n} is none") for n in unknown),
        *(
            Problem(field, f"{SAME_DEVICE}: {path} is")
            for path in repeated(list(replica.devices.values()))
        ),
    ]


class VolumeReport(Model):
    """One volume as its host sees it."""

    disk: str = ""
    peer_disk: str = ""
    out_of_sync_bytes: int | None = None
    device_bytes: Annotated[
        int | None,
        Field(description="Size of the backing device, with DRBD's metadata at its end."),
    ] = None
    reads_stalled_since: Annotated[
        str | None,
        Field(description="Reads of its guest are under way, and none has ended since then."),
    ] = None
    writes_stalled_since: Annotated[
        str | None,
        Field(description="Writes of its guest are under way, and none has ended since then."),
    ] = None
    disk_stalled_since: Annotated[
        str | None,
        Field(description="The backing device owes answers, and nothing has moved since then."),
    ] = None


class Marker(Model):
    """A host's own durable note that its replica must not be promoted."""

    reason: Reason
    since: str = ""


class ReplicaReport(Model):
    """One replica as its host sees it. Written by that host's actuator alone.

    ``marker`` absent means that the host's durable marker is clear. ``resync_stalled_since``: a
    resync is under way here, and has copied nothing since then. ``sends``: the migration that its
    host has noted durably as its own: its guest goes on beside a Primary. ``receives``: the
    migration for which it is Primary beside its peer, and waits for the guest. ``copied_for``: the
    ``since`` of the peer's marker DifferenceFound after which its host has told DRBD to copy.
    ``link_lost_at_seconds``, ``last_packet_at_seconds``: when its host lost the link, and when the
    peer's last packet came at the latest, by the CLOCK_BOOTTIME that its heartbeat tells; None
    while it is connected, or if that is not known.
    """

    instance: str = ""
    epoch_seen: int = 0
    role: str = ""
    connection: str = ""
    peer_role: str = ""
    suspended: bool = False
    marker: Marker | None = None
    has_metadata: bool = False
    copied_for: str = ""
    not_connected_since: str | None = None
    link_lost_at_seconds: float | None = None
    last_packet_at_seconds: float | None = None
    resync_stalled_since: str | None = None
    sends: str = ""
    receives: str = ""
    volumes: dict[str, VolumeReport] = {}
    reason: Reason | None = None
    message: str = ""

    @property
    def not_up(self) -> bool:
        """Its host cannot tell how the replica is: the kernel does not, or has no such device."""
        return self.connection in ("", Connection.UNKNOWN, NOT_CONFIGURED)

    @property
    def bug(self) -> str:
        """The bug for which its host does nothing with it, in words; empty if there is none."""
        return self.message if self.reason is Reason.INTERNAL_ERROR else ""

    @property
    def connected(self) -> bool:
        return self.connection == Connection.CONNECTED

    @property
    def link_down(self) -> bool:
        """It is certain that the replica is not connected to the other."""
        return self.connection not in ("", Connection.UNKNOWN, Connection.CONNECTED)


class DeviceNumbers(Model):
    """What Tandem allocated for the mirror, the same on both hosts, never changed."""

    port: int
    minors: dict[str, int]


class Accepted(Model):
    """What of the spec was in force when it last passed every check. The controller's own note.

    A later spec is compared with it: what may not change is refused even by a server that does
    not enforce transition rules.
    """

    protocol: Protocol
    volumes: tuple[Volume, ...]
    hosts: tuple[str, ...]

    @classmethod
    def of(cls, spec: MirrorSpec) -> Self:
        """The note of a spec without problems."""
        hosts = tuple(replica.host for replica in spec.replicas)
        return cls(protocol=spec.protocol, volumes=spec.volumes, hosts=hosts)


class Claimant(Model):
    """By the controller's word, a host may claim the mirror, since a guest is assigned to it.

    Without a ``proof`` only if nobody owns it; with one, from exactly the owner that it is about.
    Written before the guest's assignment, so that a claim can be judged from the mirror alone.
    """

    guest: str
    proof: FencingProof | None = None

    @property
    def at_epoch(self) -> int:
        """The epoch that the proof is about; 0 without one."""
        return self.proof.at_epoch if self.proof else 0

    def proves_at(self, authority: Authority | None) -> bool:
        """Whether there is a proof, and it is about just this epoch."""
        return authority is not None and self.at_epoch == authority.epoch


class MirrorStatus(Model):
    """Who may write, and how the replicas are.

    ``claimants`` is by host. Absent: no controller that knows the field has looked at it yet.
    """

    authority: Authority | None = None
    claimants: dict[str, Claimant] | None = None
    device_numbers: DeviceNumbers | None = None
    accepted: Accepted | None = None
    replicas: dict[str, ReplicaReport] = {}
    phase: str = ""
    owner: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Mirror(Resource):
    """A mirrored set of disks."""

    spec: MirrorSpec
    status: MirrorStatus = MirrorStatus()

    @property
    def drbd_name(self) -> str:
        """The name of the DRBD resource. A namespace holds no dot, so this is unambiguous."""
        return f"{self.metadata.namespace}.{self.metadata.name}"

    @property
    def volume_names(self) -> tuple[str, ...]:
        """The volumes in the order of their DRBD volume numbers.

        As they were allocated, ascending, whatever order or choice the spec shows now: two hosts
        that number differently would replicate one disk onto another.
        """
        numbers = self.status.device_numbers
        if numbers is None:
            return tuple(volume.name for volume in self.spec.volumes)
        return tuple(sorted(numbers.minors, key=lambda name: numbers.minors[name]))

    @property
    def added_volumes(self) -> tuple[str, ...]:
        """What the spec has beyond what was set up: nobody acts upon it.

        The server refuses that; the object may have been written without its rules.
        """
        if self.status.authority is None:
            return ()
        known = self.volume_names
        return tuple(volume.name for volume in self.spec.volumes if volume.name not in known)

    def peer_of(self, host: str) -> str:
        """The other replica's host."""
        first, second = self.spec.replicas
        return second.host if host == first.host else first.host

    def replica_on(self, host: str) -> Replica | None:
        """The replica that this host keeps, if it keeps one."""
        return next((r for r in self.spec.replicas if r.host == host), None)
