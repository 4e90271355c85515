"""Guest: one virtual machine on one mirror."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

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


class Firmware(StrEnum):
    """What the machine boots with."""

    BIOS = "BIOS"
    UEFI = "UEFI"


class DiskBus(StrEnum):
    """How the guest sees a disk."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"


class Disk(Model):
    """One volume of the mirror as a disk of the guest."""

    volume: Annotated[Name, Field(description="A volume of the mirror.")]
    bus: DiskBus = DiskBus.VIRTIO
    boot: Annotated[int | None, Field(ge=1, le=16, description="Boot order; lowest first.")] = None


# The second digit is even: an odd one marks a multicast address, which no card can have.
MAC_PATTERN = r"^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$"


class Network(Model):
    """One network card."""

    bridge: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$", description="A bridge on both hosts.")
    ]
    mac: Annotated[
        str,
        Field(
            pattern=MAC_PATTERN,
            max_length=17,
            description="Its address, the same at both sites. Write it in quotes.",
        ),
    ]
    model: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,20}$")] = "virtio"


# As the API server says it; it cannot say which.
SAME_BOOT = "a boot number is given twice; number the disks 1, 2, …"
SAME_MAC = "a mac is used twice; give each card its own"


class Domain(Model):
    """The virtual hardware."""

    cpus: Annotated[int, Field(ge=1, le=512)] = 1
    memory: Quantity
    firmware: Firmware = Firmware.BIOS
    disks: Annotated[tuple[Disk, ...], Field(min_length=1, max_length=16)]
    networks: Annotated[tuple[Network, ...], Field(max_length=16)] = ()
    template: Annotated[
        str | None,
        Field(
            max_length=65536,
            description="libvirt domain XML for what the fields cannot say. Merged: name, uuid,"
            " memory, CPUs, disks and networks always come from the fields.",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = self.problems()
        if problems:
            raise InvalidFields(problems)
        return self

    def problems(self) -> list[Problem]:
        """What contradicts itself within this hardware; empty if nothing does."""
        volumes = [disk.volume for disk in self.disks]
        orders = [str(disk.boot) for disk in self.disks if disk.boot is not None]
        macs = [network.mac.lower() for network in self.networks]
        modern = self.firmware is Firmware.UEFI
        return [
            *(
                Problem(f"disks[{index}].bus", "ide needs firmware BIOS; use sata or virtio")
                for index, disk in enumerate(self.disks)
                if modern and disk.bus is DiskBus.IDE
            ),
            *(Problem("disks", f"volume {v} is used twice; remove one") for v in repeated(volumes)),
            *(Problem("disks", f"{SAME_BOOT}: {n} is") for n in repeated(orders)),
            *(Problem("networks", f"{SAME_MAC}: {m} is") for m in repeated(macs)),
        ]


class Placement(Model):
    """Where the guest prefers to be."""

    preferred_site: Annotated[
        Name | None, Field(description="A Site; the one with the highest priority if absent.")
    ] = None


class Policy(StrEnum):
    """Whether Tandem acts by itself or a person orders it."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class Failover(Model):
    """What happens when the guest's host is lost."""

    policy: Policy = Policy.AUTOMATIC


class Failback(Model):
    """What happens when the preferred site is back."""

    policy: Policy = Policy.MANUAL
    after_seconds: Annotated[
        int,
        Field(ge=0, le=604800, description="How long the mirror must have been redundant first."),
    ] = 600


class GuestSpec(Model):
    """What a person decides about a guest."""

    running: bool = True
    mirror: Annotated[Name, Field(description="A Mirror in the same namespace.")]
    domain: Domain
    placement: Placement = Placement()
    failover: Failover = Failover()
    failback: Failback = Failback()
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    shutdown_timeout_seconds: Annotated[
        int, Field(ge=0, le=3600, description="How long a stop waits before it pulls the plug.")
    ] = 120


class ProofKind(StrEnum):
    """Why the controller believes that the guest runs nowhere else (rules 12 to 14)."""

    UNOWNED = "Unowned"
    SAME_HOST = "SameHost"
    LEASE_LOST = "LeaseLost"
    FENCED = "Fenced"
    REBOOTED = "Rebooted"
    PERSON = "Person"


class FencingProof(Model):
    """Evidence about exactly one instance at exactly one epoch.

    It is worth nothing once the authority's epoch, the owner's instance or the lease's version
    is another: the host that uses it compares all three with what it reads itself.
    """

    kind: ProofKind
    host: str = ""
    instance: str = ""
    at_epoch: int
    lease_version: str = ""
    watchdog: bool = False


class Assignment(Model):
    """Where the controller wants the guest to be, on which mirror. No ``host``: nowhere."""

    host: str = ""
    site: str = ""
    mirror: str = ""
    serial: int
    reason: Reason
    message: str = ""
    proof: FencingProof | None = None
    since: str = ""


ABSENT = "Absent"
"""How a host reports a guest that certainly does not run there, nor is being started."""
STARTING = "Starting"
"""How a host reports a guest that it is about to start: it may run any moment."""
UNKNOWN = "Unknown"
"""How a host reports a guest of which libvirt does not tell, and which it is not starting."""


class GuestReport(Model):
    """The guest as one host sees it. Written by that host's actuator alone."""

    instance: str = ""
    state: str = ""
    assignment_serial: int = 0
    started_at: str | None = None
    reason: Reason | None = None
    message: str = ""
    steps: dict[str, str] = {}


class Takeover(Model):
    """The last takeover, with the time of each step, for people."""

    source: str
    target: str
    reason: Reason
    lease_lost_at: str
    steps: dict[str, str] = {}


class GuestStatus(Model):
    """Where the guest is and why."""

    assignment: Assignment | None = None
    hosts: dict[str, GuestReport] = {}
    phase: str = ""
    site: str = ""
    host: str = ""
    mirror: str = ""
    protected: str = ""
    reason: str = ""
    message: str = ""
    last_takeover: Takeover | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Guest(Resource):
    """A virtual machine."""

    spec: GuestSpec
    status: GuestStatus = GuestStatus()

    @property
    def mirror_in_use(self) -> str:
        """The mirror that it is on: the one it was assigned with, until it has stopped.

        Not simply ``spec.mirror``: that may be edited while the guest runs, and nobody may then
        take it for stopped, or start it on the other mirror beside itself.
        """
        assignment = self.status.assignment
        if assignment is None or not assignment.mirror:
            return self.spec.mirror
        stopped = not assignment.host and all(
            report.state == ABSENT and report.assignment_serial >= assignment.serial
            for report in self.status.hosts.values()
        )
        return self.spec.mirror if stopped else assignment.mirror
