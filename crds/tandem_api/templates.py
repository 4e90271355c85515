"""What is wrong with a guest's libvirt XML template.

A template adds what the fields cannot say. It must not name a disk or a card: a disk that is not
mirrored would be lost with its site, and a card that Tandem does not know would not be cut off
when the guest is fenced. Called by ``validation``.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from tandem_api.meta import Problem

FIELD = "spec.domain.template"

_QEMU_COMMANDLINE = "{http://libvirt.org/schemas/domain/qemu/1.0}commandline"
_STORAGE_HOSTDEVS = ("scsi", "scsi_host", "storage")

MAX_DEPTH = 32
"""libvirt's own domains are about 8 deep."""

_DISKS_FIX = "disks come from spec.domain.disks and the mirror alone; remove it"
_CARDS_FIX = "cards come from spec.domain.networks alone; remove it"


def template_problems(template: str) -> list[Problem]:
    """Everything wrong with a template; empty if it can be merged."""
    try:
        domain = fromstring(template, forbid_dtd=True)
    except ParseError as error:
        return [Problem(FIELD, f"is no valid XML ({error}); correct it, or remove template")]
    except DefusedXmlException:
        return [Problem(FIELD, "has a document type or entities; remove them")]
    if domain.tag != "domain":
        return [
            Problem(FIELD, f"starts with <{domain.tag}>; it must be one libvirt <domain> element")
        ]
    if deeper_than(domain, MAX_DEPTH):
        return [Problem(FIELD, f"is nested more than {MAX_DEPTH} deep; make it flatter")]
    return [Problem(FIELD, message) for message in _forbidden(domain)]


def deeper_than(element: Element, levels: int) -> bool:
    """Whether elements are nested deeper: what writes XML calls itself for each level."""
    return any(levels == 0 or deeper_than(child, levels - 1) for child in element)


def _forbidden(domain: Element) -> Iterator[str]:
    for disk in domain.iterfind("devices/disk"):
        yield f"names a disk ({_source(disk)}); {_DISKS_FIX}"
    for shared in domain.iterfind("devices/filesystem"):
        yield f"names a folder of the host ({_source(shared)}); {_DISKS_FIX}"
    for card in domain.iterfind("devices/interface"):
        yield f"names a network card ({_source(card)}); {_CARDS_FIX}"
    for device in domain.iterfind("devices/hostdev"):
        if device.get("type") in _STORAGE_HOSTDEVS or device.find("source/block") is not None:
            yield f"hands a host's disk to the guest; {_DISKS_FIX}"
    if domain.find(_QEMU_COMMANDLINE) is not None:
        yield "has <qemu:commandline>, which could open any disk or card; remove it"


def _source(element: Element) -> str:
    """What the element stands for, as its own words say it."""
    source = element.find("source")
    values = list(source.attrib.values()) if source is not None else []
    return values[0] if values else element.get("type") or "without a source"
