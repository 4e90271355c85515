"""What is wrong with a guest's libvirt XML template.

A template adds what the fields cannot say. It must not name a disk or a card: a disk that is not
mirrored would be lost with its site, and a card that Tandem does not know would not be cut off
when the guest is fenced. It must not keep state on one host, nor contradict a field, since libvirt
would believe the template. What it may hold is a closed list: what is misspelt would be passed over
in silence. Whether libvirt takes the whole is asked of libvirt itself, on the hosts.

The one judge of templates: the controller and the webhook ask it by ``validation``, the actuator
before it renders a domain. So no host refuses at a start what was accepted, nor starts what was
refused.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from math import prod
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from tandem_api.kinds.domain import Domain, Firmware
from tandem_api.meta import Problem, repeated

FIELD = "spec.domain.template"

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
MAX_DEPTH = 32
"""libvirt's own domains are about 8 deep."""

_DISKS_FIX = "disks come from spec.domain.disks and the mirror alone; remove it"
_CARDS_FIX = "cards come from spec.domain.networks alone; remove it"
_ONE_HOST = "lies on one host and would be lost with it; remove it"

# fmt: off
_TOP = {
    "name", "uuid", "genid", "hwuuid", "title", "description", "metadata",
    "memory", "maxMemory", "currentMemory", "vcpu", "vcpus", "memtune", "memoryBacking",
    "on_poweroff", "on_reboot", "on_crash", "on_lockfailure",
    "blkiotune", "iothreads", "iothreadids", "defaultiothread", "cputune", "numatune", "resource",
    "sysinfo", "os", "features", "cpu", "clock", "pm", "perf", "devices",
    "seclabel", "keywrap", "launchSecurity", f"{QEMU}capabilities", f"{QEMU}deprecation",
}
_OS = {
    "type", "boot", "bootmenu", "smbios", "bios", "acpi", "firmware", "kernel", "initrd", "cmdline",
}
_DEVICES = {
    "emulator", "controller", "input", "hub", "graphics", "video", "audio", "sound", "serial",
    "parallel", "console", "channel", "smartcard", "redirdev", "redirfilter", "rng", "watchdog",
    "memballoon", "panic", "vsock", "iommu", "shmem", "hostdev", "crypto",
}
# fmt: on
_EMULATOR = re.compile(r"/usr/(local/)?(bin|libexec)/(qemu-system-\w+|qemu-kvm|kvm)")
_HARMLESS_DEVICES = re.compile(
    r"/dev/(null|zero|u?random|hwrng|kvm|uinput|(tty|parport|sgx_)\w*"
    r"|(pts|serial|input|dri|snd|vfio|bus|shm|hugepages)/.*|net/tun|vhost-\w+)"
)
_UNITS: Mapping[str, int] = {
    **dict.fromkeys(("b", "bytes"), 1),
    **{f"{letter}b": 1000 ** (power + 1) for power, letter in enumerate("kmgt")},
    **{letter: 1024 ** (power + 1) for power, letter in enumerate("kmgt")},
    **{f"{letter}ib": 1024 ** (power + 1) for power, letter in enumerate("kmgt")},
}


class BadTemplate(ValueError):
    """It cannot be read, or is no domain."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(FIELD, message)


def parsed(template: str) -> Element:
    """The template's <domain>.

    Raises:
        BadTemplate: it is no XML, is no domain, or could not be written again.
    """
    try:
        domain = fromstring(template, forbid_dtd=True)
    except DefusedXmlException:
        raise BadTemplate("has a document type or entities; remove them") from None
    except (ParseError, ValueError) as error:
        raise BadTemplate(f"is no valid XML ({error}); correct it, or remove template") from error
    if domain.tag != "domain":
        raise BadTemplate(f"starts with <{domain.tag}>; it must be one libvirt <domain> element")
    if _deeper_than(domain, MAX_DEPTH):
        raise BadTemplate(f"is nested more than {MAX_DEPTH} deep; make it flatter")
    found: Element = domain
    return found


def _deeper_than(element: Element, levels: int) -> bool:
    """Whether elements are nested deeper: what writes XML calls itself for each level."""
    return any(levels == 0 or _deeper_than(child, levels - 1) for child in element)


def template_problems(spec: Domain) -> list[Problem]:
    """Everything wrong with the template of this hardware; empty if it can be merged."""
    if not spec.template:
        return []
    try:
        domain = parsed(spec.template)
    except BadTemplate as bad:
        return [bad.problem]
    found = [message for check in _CHECKS for message in check(domain, spec)]
    return [Problem(FIELD, message) for message in found]


def needs_usb(domain: Element) -> bool:
    """Whether a device of it sits on a USB bus."""
    devices = (child for part in domain.findall("devices") for child in part)
    return any(_is_usb(device) for device in devices)


def _is_usb(device: Element) -> bool:
    bus, kind, model = device.get("bus"), device.get("type"), device.get("model")
    target = device.find("target")
    match device.tag:
        case "input":
            return bus == "usb" or (bus is None and kind == "tablet")
        case "hub" | "redirdev" | "smartcard":
            return True
        case "hostdev":
            return kind == "usb"
        case "sound":
            return model == "usb"
        case "controller":
            return kind == "ccid"
        case "serial":
            return target is not None and target.get("type") == "usb-serial"
    return False


def usb_controllers(domain: Element) -> list[Element]:
    """The USB controllers that it brings."""
    return [each for each in domain.iterfind("devices/controller") if each.get("type") == "usb"]


# -- what it may hold


def _closed_lists(domain: Element, spec: Domain) -> Iterator[str]:
    tags = [child.tag for child in domain]
    for tag in repeated(tags):
        yield f"has <{_name(tag)}> twice; make it one"
    for tag in sorted({*tags} - _TOP):
        if tag == f"{QEMU}commandline":
            yield "has <qemu:commandline>, which could open any disk or card; remove it"
        elif tag == f"{QEMU}override":
            yield "has <qemu:override>, which could change any disk or card; remove it"
        else:
            yield f"has <{_name(tag)}>, which no template may have; correct or remove it"
    for tag in sorted({child.tag for child in domain.iterfind("os/*")} - _OS):
        yield from _refused_firmware(tag, spec)
    known = {*_DEVICES, *_REFUSED_DEVICES}
    for tag in sorted({child.tag for child in domain.iterfind("devices/*")} - known):
        yield f"has a device <{_name(tag)}>, which no template may have; correct or remove it"


def _name(tag: str) -> str:
    return tag.replace(QEMU, "qemu:")


def _refused_firmware(tag: str, spec: Domain) -> Iterator[str]:
    if tag in ("loader", "nvram", "varstore"):
        yield (
            f"has <os><{tag}>; the firmware comes from spec.domain.firmware, which is"
            f" {spec.firmware}; remove it"
        )
    else:
        yield f"has <os><{_name(tag)}>, which no template may have; correct or remove it"


def _firmware(domain: Element, spec: Domain) -> Iterator[str]:
    for system in domain.iterfind("os"):
        wanted = "efi" if spec.firmware is Firmware.UEFI else "bios"
        found = system.get("firmware", wanted)
        if found != wanted or (spec.firmware is Firmware.BIOS and "firmware" in system.attrib):
            yield (
                f'has <os firmware="{found}">, and spec.domain.firmware is {spec.firmware};'
                " remove the attribute"
            )
        if spec.firmware is Firmware.BIOS and system.find("firmware") is not None:
            yield "has <os><firmware>, which needs spec.domain.firmware: UEFI; remove it"
        yield from _machine(system, spec)


def _machine(system: Element, spec: Domain) -> Iterator[str]:
    kind = system.find("type")
    if kind is None:
        return
    if (kind.text or "hvm").strip() != "hvm" or kind.get("arch", "x86_64") != "x86_64":
        yield 'has an <os><type> that is not hvm on x86_64; write <type arch="x86_64">hvm</type>'
    machine = kind.get("machine", "")
    if "q35" in machine and spec.ide_drives:
        yield (
            f"has the machine {machine}, which has no ide, and a disk's bus is ide; use sata or"
            " virtio, or remove the machine"
        )


# -- devices


def _devices(domain: Element, spec: Domain) -> Iterator[str]:
    for device in domain.iterfind("devices/*"):
        if device.tag in _REFUSED_DEVICES:
            yield _REFUSED_DEVICES[device.tag](device)
            continue
        if device.tag == "hostdev":
            yield from _hostdev(device)
        if device.tag == "emulator" and not _EMULATOR.fullmatch((device.text or "").strip()):
            yield f"names a program ({device.text}) that is not QEMU; remove <emulator>"
        if device.find("boot") is not None:
            yield (
                f"has a boot order in <{device.tag}>; the order stands with the disks, cdroms"
                " and networks; remove it"
            )
        for path in _dangerous_paths(device):
            yield f"names {path} in <{device.tag}>, which may be a disk; {_DISKS_FIX}"


_REFUSED_DEVICES: Mapping[str, Callable[[Element], str]] = {
    "disk": lambda device: (
        f"names a disk ({_source(device)}); disks come from spec.domain.disks and the mirror"
        " alone, and images of CDs from spec.domain.cdroms; remove it"
        if device.get("device") in ("cdrom", "floppy")
        else f"names a disk ({_source(device)}); {_DISKS_FIX}"
    ),
    "filesystem": lambda device: f"names a folder of the host ({_source(device)}); {_DISKS_FIX}",
    "interface": lambda device: f"names a network card ({_source(device)}); {_CARDS_FIX}",
    "tpm": lambda device: f"has a TPM, whose state {_ONE_HOST}, or run this guest elsewhere",
    "nvram": lambda device: f"has <nvram>, whose state {_ONE_HOST}",
    "pstore": lambda device: f"has <pstore>, whose state {_ONE_HOST}",
    "lease": lambda device: f"has <lease>, whose file {_ONE_HOST}",
    "memory": lambda device: (
        "has a device <memory>; memory comes from spec.domain.memory alone; remove it"
    ),
}


def _hostdev(device: Element) -> Iterator[str]:
    kind = device.get("type") or "of no type"
    if kind in ("scsi", "scsi_host", "storage") or device.find("source/block") is not None:
        yield f"hands a host's disk to the guest; {_DISKS_FIX}"
    elif kind not in ("usb", "mdev"):
        yield (
            f"hands a device of the host ({kind}) to the guest, which may be a disk or a card;"
            " remove it"
        )


def _dangerous_paths(device: Element) -> list[str]:
    words = (word for each in device.iter() for word in (*each.attrib.values(), each.text or ""))
    return sorted({word.strip() for word in words if _may_be_a_disk(word.strip())})


def _may_be_a_disk(path: str) -> bool:
    """By whatever way it leads to /dev: also //dev, /srv/../dev, and another process's root."""
    real = posixpath.normpath(re.sub("/+", "/", path))
    if not real.startswith("/dev/"):
        return real.startswith("/proc/")
    return ".." in path or not _HARMLESS_DEVICES.fullmatch(real)


def _source(element: Element) -> str:
    """What the element stands for, as its own words say it."""
    source = element.find("source")
    values = list(source.attrib.values()) if source is not None else []
    return values[0] if values else element.get("type") or "without a source"


def _usb(domain: Element, spec: Domain) -> Iterator[str]:
    models = [each.get("model") for each in usb_controllers(domain)]
    if needs_usb(domain) and models and all(model == "none" for model in models):
        yield (
            'has a USB device and <controller type="usb" model="none"/>; remove the controller,'
            " and one is added"
        )


# -- processors and memory


def _topology(domain: Element, spec: Domain) -> Iterator[str]:
    for topology in domain.iterfind("cpu/topology"):
        parts = ("sockets", "dies", "clusters", "cores", "threads")
        numbers = [topology.get(part, "1") for part in parts]
        if not all(_is_number(number) for number in numbers):
            continue  # libvirt says it
        found = prod(map(int, numbers))
        if found != spec.cpus:
            shape = " x ".join(f"{n} {p}" for p, n in topology.attrib.items())
            yield (
                f"has a <cpu><topology> of {shape} = {found} processors, and spec.domain.cpus is"
                f" {spec.cpus}; make them equal"
            )


def _numa(domain: Element, spec: Domain) -> Iterator[str]:
    cells = domain.findall("cpu/numa/cell")
    if not cells:
        return
    sizes = [_bytes(cell) for cell in cells]
    total, wanted = sum(size or 0 for size in sizes), spec.memory.bytes
    if None in sizes:
        yield "has a <cpu><numa><cell> whose memory cannot be read; write memory and unit"
    elif total != wanted:
        yield (
            f"has <cpu><numa> cells of {_worded(total)} in all, and spec.domain.memory is"
            f" {spec.memory} ({_worded(wanted)}): the guest would get what the cells say; make"
            " them equal"
        )
    held = [cpu for cell in cells for cpu in _cpu_set(cell.get("cpus", ""))]
    if sorted(held) != list(range(spec.cpus)):
        yield (
            "has <cpu><numa> cells that do not share out the processors"
            f" 0 to {spec.cpus - 1} of spec.domain.cpus; name each in one cell"
        )


def _bytes(cell: Element) -> int | None:
    number, unit = cell.get("memory", ""), cell.get("unit", "KiB").lower()
    return int(number) * _UNITS[unit] if _is_number(number) and unit in _UNITS else None


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= 15


def _worded(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _cpu_set(text: str) -> set[int]:
    """libvirt's "0-3,^2,7"; what cannot be read is left out, and libvirt says it."""
    held: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        first, _, last = part.removeprefix("^").partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            continue
        if len(first) > 4 or len(last) > 4:
            continue
        numbers = range(int(first), int(last or first) + 1)
        held = held - {*numbers} if part.startswith("^") else held | {*numbers}
    return held


_CHECKS: tuple[Callable[[Element, Domain], Iterator[str]], ...] = (
    _closed_lists,
    _firmware,
    _devices,
    _usb,
    _topology,
    _numa,
)
