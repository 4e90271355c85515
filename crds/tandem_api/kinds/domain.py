"""The hardware of a guest: ``Guest.spec.domain``."""

import hashlib
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Self

from pydantic import Field, model_validator

from tandem_api.meta import InvalidFields, Model, Name, Problem, Quantity, repeated

# No segment begins with a dot: one spelling for one file.
SOURCE_PATTERN = r"^(/[A-Za-z0-9_+:~-][A-Za-z0-9_.+:~-]*)+$"
# The second digit is even: an odd one marks a multicast address, which no card can have.
MAC_PATTERN = r"^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$"

IDE_MAX = 4
"""A PC has two IDE channels with two drives each, and libvirt knows no more."""

# As the API server says it; it cannot say which.
SAME_BOOT = "a boot number is given twice; number disks, cdroms and networks 1, 2, …"
SAME_MAC = "a mac is used twice; give each card its own"
NO_IDE = "ide needs firmware BIOS; use sata or virtio"
TOO_MANY_IDE = (
    f"more than {IDE_MAX} drives are on the bus ide, which has no more; use virtio or sata"
)


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
