"""Whether a domain that another host sends is the one that this host would start. Pure.

Whoever may hand libvirt a domain of their choice is root here. So what arrives must be the guest
that is expected, on no disk, file or bridge that this host's own description of it does not name.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from defusedxml.ElementTree import fromstring

from tandem_actuator.core.guest.domain_xml import QEMU_XMLNS

PLAIN = frozenset(
    {"emulator", "disk", "interface", "controller", "serial", "console", "input", "memballoon"}
    | {"graphics", "video", "audio", "rng", "panic", "watchdog", "channel", "vsock"}
)
"""Devices that reach nothing of this host but by the paths and bridges that they name."""
EMULATORS = ("/usr/bin/qemu-system-", "/usr/libexec/qemu-kvm", "/usr/bin/kvm")
BRIDGES = ("bridge", "network")


def refusal(sent: str, own: str) -> str:
    """Why it is not let in, naming the first thing that differs; empty if it is."""
    try:
        there, here = fromstring(sent), fromstring(own)
    except ET.ParseError as error:
        return f"its description cannot be read: {error}"
    for tag in ("name", "uuid"):
        if there.findtext(tag) != here.findtext(tag):
            return f"its {tag} is {there.findtext(tag)}, and {here.findtext(tag)} is expected"
    known = set(_reaches(here))
    for device in there.iterfind("devices/*"):
        if device.tag not in PLAIN and here.find(f"devices/{device.tag}") is None:
            return f"it has a device that is not expected: {device.tag}"
    for reached in _reaches(there):
        if reached not in known and not reached.startswith(EMULATORS):
            return f"it reaches {reached}, which this host's description of it does not name"
    return "" if _arguments(there) <= _arguments(here) else "it has arguments for QEMU of its own"


def _reaches(domain: ET.Element) -> Iterator[str]:
    """Every path and bridge that it names, anywhere but in the name of its control group."""
    for element in (one for part in domain if part.tag != "resource" for one in part.iter()):
        for name, value in element.attrib.items():
            if value.startswith("/") or name in BRIDGES:
                yield value
        text = (element.text or "").strip()
        if text.startswith("/"):
            yield text


def _arguments(domain: ET.Element) -> set[tuple[str, ...]]:
    """What is said to QEMU past libvirt."""
    return {
        (element.tag, *(f"{name}={value}" for name, value in sorted(element.attrib.items())))
        for element in domain.iter()
        if element.tag.startswith(f"{{{QEMU_XMLNS}}}") and element.attrib
    }
