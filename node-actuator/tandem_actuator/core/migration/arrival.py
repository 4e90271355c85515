"""Whether a domain that another host sends is the one that this host would start. Pure.

Whoever may hand libvirt a domain of their choice is root here. So what arrives must be the guest
that is expected, and reach nothing of this host that this host's own description does not name:
no disk, network or file, whatever it is called by.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from defusedxml.ElementTree import fromstring

from tandem_actuator.core.guest.domain_xml import QEMU_XMLNS

ADDED = frozenset(
    {"emulator", "controller", "input", "memballoon", "video", "audio", "panic", "watchdog", "rng"}
)
"""Devices that libvirt adds by itself, and that reach a host by a path or not at all."""
FILES = frozenset({"kernel", "initrd", "dtb", "loader", "nvram", "shim", "table", "binary"})
EMULATORS = ("/usr/bin/qemu-system-", "/usr/libexec/qemu-kvm", "/usr/bin/kvm")
NUMBERED = frozenset({"index"})
"""What libvirt tells of a source beside what it is."""

Reached = tuple[object, ...]


def refusal(sent: str, own: str) -> str:
    """Why it is not let in, naming the first thing that differs; empty if it is."""
    try:
        there, here = fromstring(sent), fromstring(own)
    except (ET.ParseError, ValueError) as error:
        return f"its description cannot be read: {error or type(error).__name__}"
    for tag in ("name", "uuid"):
        if there.findtext(tag) != here.findtext(tag):
            return f"its {tag} is {there.findtext(tag)}, and {here.findtext(tag)} is expected"
    known = set(map(_reaches, here.iterfind("devices/*")))
    for device in there.iterfind("devices/*"):
        if device.tag not in ADDED and _reaches(device) not in known:
            return f"it has a {device.tag} that is not expected: {_words(device)}"
    names = set(_names(here))
    for name in _names(there):
        if name not in names and not name.startswith(EMULATORS):
            return f"it names {name}, which this host's description of it does not"
    if _says_as_whom(there, here):
        return "it says as whom its QEMU is to run"
    return "" if _arguments(there) <= _arguments(here) else "it has arguments for QEMU of its own"


def _reaches(device: ET.Element) -> Reached:
    """What of the host a device is connected with. A console is its serial line once more."""
    kind = "serial" if device.tag == "console" else device.tag
    sources = [
        (one.tag, tuple(sorted((k, v) for k, v in one.attrib.items() if k not in NUMBERED)))
        for source in device.iter("source")
        for one in source.iter()
    ]
    return (kind, device.get("type"), *sources)


def _words(device: ET.Element) -> str:
    named = (value for source in device.iter("source") for value in source.attrib.values())
    return " ".join((device.get("type", "of no type"), *named))


def _names(domain: ET.Element) -> Iterator[str]:
    """Every path, anywhere but in the name of its control group, and every file it boots by."""
    for element in (one for part in domain if part.tag != "resource" for one in part.iter()):
        text = (element.text or "").strip()
        yield from (value for value in element.attrib.values() if value.startswith("/"))
        if text.startswith("/") or (text and element.tag in FILES):
            yield text


def _says_as_whom(there: ET.Element, here: ET.Element) -> bool:
    """By a label that this host's description does not have; libvirt makes dynamic ones itself."""
    known = {ET.tostring(label) for label in here.iter("seclabel")}
    return any(
        ET.tostring(label) not in known
        and not (label.get("type") == "dynamic" and label.find("baselabel") is None)
        for label in there.iter("seclabel")
    )


def _arguments(domain: ET.Element) -> set[tuple[str, ...]]:
    """What is said to QEMU past libvirt."""
    return {
        (element.tag, *(f"{name}={value}" for name, value in sorted(element.attrib.items())))
        for element in domain.iter()
        if element.tag.startswith(f"{{{QEMU_XMLNS}}}") and element.attrib
    }
