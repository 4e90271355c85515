"""Guest: one virtual machine on one mirror."""

import hashlib
from enum import StrEnum
from functools import lru_cache
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
    condition,
    repeated,
)
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState


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


BootOrder = Annotated[
    int | None,
    Field(
        ge=1,
        le=16,
        description="Boot order among disks, cdroms and networks; lowest first. Without any, the"
        " first disk boots.",
    ),
]


class Disk(Model):
    """One volume of the mirror as a disk of the guest."""

    volume: Annotated[Name, Field(description="A volume of the mirror.")]
    bus: DiskBus = DiskBus.VIRTIO
    boot: BootOrder = None


class CdromBus(StrEnum):
    """How the guest sees a CD-ROM drive."""

    SATA = "sata"
    SCSI = "scsi"
    IDE = "ide"


# No segment begins with a dot: one spelling for one file.
SOURCE_PATTERN = r"^(/[A-Za-z0-9_+:~-][A-Za-z0-9_.+:~-]*)+$"


class Cdrom(Model):
    """An image or a device that the guest only reads, such as an installer's."""

    source: Annotated[
        str,
        Field(
            pattern=SOURCE_PATTERN,
            max_length=255,
            description="A file, or a device below /dev, on both hosts. It is not mirrored. Where"
            " it is missing the guest starts with an empty drive, and is not protected until it is"
            " there or removed from here.",
        ),
    ]
    bus: CdromBus = CdromBus.SATA
    boot: BootOrder = None


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
    model: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9_-]{1,40}$",
            description="What the guest sees: virtio, e1000e, rtl8139 or another that QEMU has.",
        ),
    ] = "virtio"
    boot: BootOrder = None


NETWORK_MODELS = (
    "virtio",
    "virtio-transitional",
    "virtio-non-transitional",
    "e1000e",
    "e1000",
    "igb",
    "rtl8139",
    "vmxnet3",
    "pcnet",
    "ne2k_pci",
    "i82550",
    "i82557b",
    "i82559er",
)
"""What QEMU's PC machines have for cards. Not a type's own check: an object that was stored before
it was must still be read."""

IDE_MAX = 4
"""A PC has two IDE channels with two drives each, and libvirt knows no more."""

# As the API server says it; it cannot say which.
SAME_BOOT = "a boot number is given twice; number disks, cdroms and networks 1, 2, …"
SAME_MAC = "a mac is used twice; give each card its own"
NO_IDE = "ide needs firmware BIOS; use sata or virtio"
TOO_MANY_IDE = (
    f"more than {IDE_MAX} drives are on the bus ide, which has no more; use virtio or sata"
)


class Domain(Model):
    """The virtual hardware."""

    cpus: Annotated[int, Field(ge=1, le=512)] = 1
    memory: Quantity
    firmware: Annotated[
        Firmware,
        Field(
            description="With UEFI the firmware's variables begin anew at every start, on either"
            " host: boot from EFI/BOOT/BOOTX64.EFI, or by the boot order of these fields."
        ),
    ] = Firmware.BIOS
    disks: Annotated[tuple[Disk, ...], Field(min_length=1, max_length=16)]
    cdroms: Annotated[tuple[Cdrom, ...], Field(max_length=4)] = ()
    networks: Annotated[tuple[Network, ...], Field(max_length=16)] = ()
    template: Annotated[
        str | None,
        Field(
            max_length=65536,
            description="libvirt domain XML for what the fields cannot say. Merged: name, uuid,"
            " memory, CPUs, disks, boot order, networks and firmware always come from the fields."
            " Nothing in it may keep state on one host, such as a TPM.",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = self.problems()
        if problems:
            raise InvalidFields(problems)
        return self

    @property
    def fingerprint(self) -> str:
        """Of what differs from the defaults, so that a new field does not change all of them."""
        return _fingerprint(self)

    def problems(self) -> list[Problem]:
        """What contradicts itself within this hardware; empty if nothing does."""
        volumes = [disk.volume for disk in self.disks]
        macs = [network.mac.lower() for network in self.networks]
        return [
            *self._ide(),
            *(Problem("disks", f"volume {v} is used twice; remove one") for v in repeated(volumes)),
            *self._boot_orders(),
            *(Problem("networks", f"{SAME_MAC}: {m} is") for m in repeated(macs)),
        ]

    @property
    def ide_drives(self) -> tuple[str, ...]:
        """The fields of the drives on that bus, such as ``disks[0].bus``."""
        disks = (f"disks[{n}].bus" for n, each in enumerate(self.disks) if each.bus == "ide")
        drives = (f"cdroms[{n}].bus" for n, each in enumerate(self.cdroms) if each.bus == "ide")
        return (*disks, *drives)

    def _ide(self) -> list[Problem]:
        if self.firmware is Firmware.UEFI:
            return [Problem(field, NO_IDE) for field in self.ide_drives]
        return [Problem("disks", TOO_MANY_IDE)] if len(self.ide_drives) > IDE_MAX else []

    def _boot_orders(self) -> list[Problem]:
        """Where a number is there for the second time."""
        seen: set[int] = set()
        found = []
        orders = [
            *(("disks", disk.boot) for disk in self.disks),
            *(("cdroms", drive.boot) for drive in self.cdroms),
            *(("networks", network.boot) for network in self.networks),
        ]
        for field, number in orders:
            if number is not None and number in seen:
                found.append(Problem(field, f"{SAME_BOOT}: {number} is"))
            seen.update([number] if number is not None else ())
        return found


@lru_cache(maxsize=8192)
def _fingerprint(domain: Domain) -> str:
    """Asked for in every plan, and the objects are the same in most."""
    said = domain.model_dump_json(by_alias=True, exclude_defaults=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


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


class HardwareReport(Model):
    """What a host found as it tried whether it could start this hardware.

    ``fingerprint``: which (``Domain.fingerprint``); empty: none yet. ``problems``: what keeps it
    from being started there as it is meant, each with its field.
    """

    fingerprint: str = ""
    problems: tuple[str, ...] = ()


class GuestReport(Model):
    """The guest as one host sees it. Written by that host's actuator alone.

    ``refused_start``: why it could not be started here, tried several times. It is forgotten once
    the guest was edited or is assigned here again, or this host's libvirt or actuator restarted.

    No ``hardware``: an actuator that does not know of it.
    """

    instance: str = ""
    state: str = ""
    assignment_serial: int = 0
    started_at: str | None = None
    reason: Reason | None = None
    message: str = ""
    steps: dict[str, str] = {}
    refused_start: str = ""
    hardware: HardwareReport | None = None

    def has_stopped(self, assignment: Assignment) -> bool:
        """Whether the host, knowing this assignment, says that the guest certainly does not run
        there, nor is being started.
        """
        return self.state == DomainState.ABSENT and self.assignment_serial >= assignment.serial


class Takeover(Model):
    """The last takeover, with the time of each step, for people."""

    source: str
    target: str
    reason: Reason
    lease_lost_at: str
    steps: dict[str, str] = {}


class GuestStatus(Model):
    """Where the guest is and why.

    ``accepted``: the spec as it last passed every check, the controller's own note. It is what is
    run while an edit does not pass (``Guest.in_force``).
    """

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
    accepted: GuestSpec | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Guest(Resource):
    """A virtual machine."""

    spec: GuestSpec
    status: GuestStatus = GuestStatus()

    @property
    def in_force(self) -> GuestSpec:
        """What a host runs: the spec once the controller has found it valid, as it stands.

        Until then, and while it is not valid, the last one that was; of a guest that never had one,
        what is written. Not ``accepted`` alone: a controller of an older release leaves that as it
        was, and judges all the same.
        """
        accepted, judged = self.status.accepted, condition(self.status.conditions, "SpecValid")
        this = judged is not None and judged.observed_generation == self.metadata.generation
        valid = this and judged is not None and judged.status == "True"
        return self.spec if accepted is None or valid else accepted

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
            report.has_stopped(assignment) for report in self.status.hosts.values()
        )
        return self.spec.mirror if stopped else assignment.mirror
