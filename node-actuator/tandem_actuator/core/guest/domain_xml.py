"""Writes the libvirt domain of a guest. Pure: values in, XML out.

The structured fields of ``spec.domain`` say what the machine is. ``spec.domain.template`` may add
what the fields cannot say; it never decides which disks the guest writes to, which network it is
on, what it is called, or what happens when it ends, since those are what Tandem answers for.
Called by ``driver`` before a start; ``domain_name`` is used wherever a domain is named.
"""

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from tandem_api.check.template import needs_usb, parsed, template_problems, usb_controllers
from tandem_api.kinds.domain import Cdrom, Disk, Domain, Firmware, Network
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror

TANDEM_XMLNS = "https://tandem.dev/xmlns/domain/1"
QEMU_XMLNS = "http://libvirt.org/schemas/domain/qemu/1.0"
METADATA_TAG = f"{{{TANDEM_XMLNS}}}guest"
METADATA_PREFIX = "tandem"

# Seed of the domains' uuids: they follow from the guest's uid, so a guest has the same everywhere.
_UUID_SEED = uuid.uuid5(uuid.NAMESPACE_URL, TANDEM_XMLNS)

TARGET_PREFIX: Mapping[str, str] = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
# virtio-blk shows at most this much of a serial number to the guest.
DISK_SERIAL_MAX = 20

FROM_FIELDS = (
    "name", "uuid", "memory", "currentMemory", "maxMemory", "vcpu", "vcpus",
    "on_poweroff", "on_reboot", "on_crash",
)  # fmt: skip

ET.register_namespace("qemu", QEMU_XMLNS)
ET.register_namespace(METADATA_PREFIX, TANDEM_XMLNS)


class DomainXmlError(ValueError):
    """The guest's fields cannot be turned into a domain; the message names the field."""


@dataclass(frozen=True)
class DomainSettings:
    """What is the same for all domains of a host.

    ``kvm``: whether the machine has hardware virtualisation. ``serial_dir``: where serial
    consoles are logged, as ``<domain name>.log``.
    """

    kvm: bool
    serial_dir: str


def domain_name(guest: Guest) -> str:
    """The domain's name. A namespace holds no dot, so this is unambiguous."""
    return f"{guest.metadata.namespace}.{guest.metadata.name}"


def domain_uuid(guest: Guest) -> str:
    """The domain's uuid, the same on every host."""
    return str(uuid.uuid5(_UUID_SEED, guest.metadata.uid))


def device_path(minor: int) -> str:
    """The block device of a DRBD volume."""
    return f"/dev/drbd{minor}"


def render(guest: Guest, mirror: Mirror, settings: DomainSettings) -> str:
    """The XML for a transient domain. The same values always give the same text.

    Raises:
        DomainXmlError: the template cannot be read or says what only fields may say, a disk's
            volume has no device.
    """
    spec = guest.in_force.domain
    problems = template_problems(spec)
    if problems:
        raise DomainXmlError("; ".join(map(str, problems)))
    domain = parsed(spec.template) if spec.template else ET.Element("domain")
    for tag in FROM_FIELDS:
        _remove(domain, tag)
    domain.set("type", "kvm" if settings.kvm else "qemu")
    _identity(domain, guest)
    _hardware(domain, guest, settings)
    devices = _child(domain, "devices")
    orders, targets = _boot_orders(spec), _targets(spec)
    for disk in spec.disks:
        devices.append(_disk(disk, targets.pop(0), _device(disk, mirror), orders.pop(0)))
    for drive in spec.cdroms:
        devices.append(_cdrom(drive, targets.pop(0), orders.pop(0)))
    for network in spec.networks:
        devices.append(_interface(network, orders.pop(0)))
    _default_devices(domain, devices, guest, settings)
    if not settings.kvm:
        _quick_start_without_kvm(domain)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _identity(domain: ET.Element, guest: Guest) -> None:
    for tag, text in (("uuid", domain_uuid(guest)), ("name", domain_name(guest))):
        element = ET.Element(tag)
        element.text = text
        domain.insert(0, element)
    metadata = _child(domain, "metadata")
    _remove(metadata, METADATA_TAG)
    attributes = {
        "uid": guest.metadata.uid,
        "namespace": guest.metadata.namespace,
        "name": guest.metadata.name,
    }
    ET.SubElement(metadata, METADATA_TAG, attributes)


def _hardware(domain: ET.Element, guest: Guest, settings: DomainSettings) -> None:
    spec = guest.in_force.domain
    memory = ET.SubElement(domain, "memory", unit="bytes")
    memory.text = str(spec.memory.bytes)
    ET.SubElement(domain, "vcpu").text = str(spec.cpus)
    system = _child(domain, "os")
    if spec.firmware is Firmware.UEFI:
        system.set("firmware", "efi")
    _remove(system, "boot")  # the order stands with the disks
    if system.find("type") is None:
        machine = "q35" if spec.firmware is Firmware.UEFI else "pc"
        ET.SubElement(system, "type", arch="x86_64", machine=machine).text = "hvm"
    features = _child(domain, "features")
    for name in ("acpi", "apic"):
        _child(features, name)
    if settings.kvm and domain.find("cpu") is None:
        ET.SubElement(domain, "cpu", mode="host-model")
    if domain.find("clock") is None:
        ET.SubElement(domain, "clock", offset="utc")
    # A transient domain that ends is gone: what comes next is the actuator's to decide.
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        ET.SubElement(domain, f"on_{event}").text = action


def _device(disk: Disk, mirror: Mirror) -> str:
    numbers = mirror.status.device_numbers
    if numbers is None or disk.volume not in numbers.minors:
        raise DomainXmlError(
            f"spec.domain.disks: volume {disk.volume} is no volume of mirror {mirror.key}"
        )
    return device_path(numbers.minors[disk.volume])


def _buses(spec: Domain) -> list[str]:
    return [*(str(disk.bus) for disk in spec.disks), *(str(drive.bus) for drive in spec.cdroms)]


def _targets(spec: Domain) -> list[str]:
    """vda, vdb, … by bus, for each disk and then each drive; one prefix shares the letters."""
    found: list[str] = []
    for bus in _buses(spec):
        prefix = TARGET_PREFIX[bus]
        position = sum(name.startswith(prefix) for name in found)
        found.append(prefix + chr(ord("a") + position))
    return found


def _boot_orders(spec: Domain) -> list[int | None]:
    """For each disk, each drive, each card: as given; if none has one, the first disk boots."""
    given = [
        *(disk.boot for disk in spec.disks),
        *(drive.boot for drive in spec.cdroms),
        *(network.boot for network in spec.networks),
    ]
    if not any(given):
        given[0] = 1
    return given


def _disk(disk: Disk, target: str, device: str, order: int | None) -> ET.Element:
    """Cache none, so that what the guest was told is written is written on both sites."""
    element = ET.Element("disk", type="block", device="disk")
    ET.SubElement(element, "driver", name="qemu", type="raw", cache="none", io="native")
    ET.SubElement(element, "source", dev=device)
    ET.SubElement(element, "target", dev=target, bus=disk.bus.value)
    if len(disk.volume) <= DISK_SERIAL_MAX:
        ET.SubElement(element, "serial").text = disk.volume
    _boots(element, order)
    return element


def _cdrom(drive: Cdrom, target: str, order: int | None) -> ET.Element:
    """Let go of where it is missing: an image must not keep a guest from being taken over."""
    kind, attribute = ("block", "dev") if drive.source.startswith("/dev/") else ("file", "file")
    element = ET.Element("disk", type=kind, device="cdrom")
    ET.SubElement(element, "driver", name="qemu", type="raw")
    ET.SubElement(element, "source", {attribute: drive.source, "startupPolicy": "optional"})
    ET.SubElement(element, "target", dev=target, bus=drive.bus.value)
    ET.SubElement(element, "readonly")
    _boots(element, order)
    return element


def _interface(network: Network, order: int | None) -> ET.Element:
    element = ET.Element("interface", type="bridge")
    ET.SubElement(element, "mac", address=network.mac.lower())
    ET.SubElement(element, "source", bridge=network.bridge)
    ET.SubElement(element, "model", type=network.model)
    _boots(element, order)
    return element


def _boots(element: ET.Element, order: int | None) -> None:
    if order is not None:
        ET.SubElement(element, "boot", order=str(order))


def _default_devices(
    domain: ET.Element, devices: ET.Element, guest: Guest, settings: DomainSettings
) -> None:
    """What every guest has unless its template says otherwise; nothing that only costs time."""
    spec = guest.in_force.domain
    kinds = {element.get("type") for element in devices.findall("controller")}
    if "scsi" in _buses(spec) and "scsi" not in kinds:
        ET.SubElement(devices, "controller", type="scsi", model="virtio-scsi")
    if not usb_controllers(domain):
        model = "qemu-xhci" if needs_usb(domain) else "none"
        ET.SubElement(devices, "controller", type="usb", model=model)
    if devices.find("memballoon") is None:
        ET.SubElement(devices, "memballoon", model="none")
    if devices.find("serial") is None and devices.find("console") is None:
        serial = ET.SubElement(devices, "serial", type="file")
        log = f"{settings.serial_dir}/{domain_name(guest)}.log"
        ET.SubElement(serial, "source", path=log, append="on")
        ET.SubElement(serial, "target", port="0")


def _quick_start_without_kvm(domain: ET.Element) -> None:
    """Spare libvirt from asking an emulated processor about each of its features."""
    capabilities = _child(domain, f"{{{QEMU_XMLNS}}}capabilities")
    ET.SubElement(capabilities, f"{{{QEMU_XMLNS}}}del", capability="cpu-unavailable-features")


def _child(parent: ET.Element, tag: str) -> ET.Element:
    """The child of that name, made if it is not there."""
    found = parent.find(tag)
    return ET.SubElement(parent, tag) if found is None else found


def _remove(parent: ET.Element, tag: str) -> None:
    for element in parent.findall(tag):
        parent.remove(element)
