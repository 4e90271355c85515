"""What a guest's hardware needs of a host, and what is to be said where it is not there. Pure.

Each host of a mirror tries the guest's hardware before it is needed: a takeover is no time to find
out that libvirt refuses it. Called by ``inspection``.
"""

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping

from tandem_api.check.template import BadTemplate, parsed
from tandem_api.kinds.guest import Guest

BRIDGES = "/sys/class/net/{}/bridge"
TRIAL = "tandem-trial"


def needs(guest: Guest) -> Mapping[str, str]:
    """Paths that must be there, each with its field and what it is."""
    spec = guest.in_force.domain
    found = {
        drive.source: f"spec.domain.cdroms[{index}].source: {drive.source}"
        for index, drive in enumerate(spec.cdroms)
    }
    for index, network in enumerate(spec.networks):
        path = BRIDGES.format(network.bridge)
        found[path] = f"spec.domain.networks[{index}].bridge: a bridge {network.bridge}"
    for path in _of_template(spec.template):
        found[path] = f"spec.domain.template: {path}"
    return found


def _of_template(template: str | None) -> list[str]:
    """What the guest boots from outside of its disks."""
    try:
        domain = parsed(template) if template else ET.Element("domain")
    except BadTemplate:
        return []
    named = (domain.findtext(f"os/{tag}") for tag in ("kernel", "initrd"))
    return [path.strip() for path in named if path and path.strip().startswith("/")]


def told(host: str, wanted: Mapping[str, str], missing: Collection[str]) -> list[str]:
    """What to say of those that are missing."""
    return [
        f"{what} is not on {host}; put it there, or correct the field"
        for path, what in wanted.items()
        if path in missing
    ]


def refused(host: str, words: str) -> str:
    """What to say where libvirt refuses it."""
    return f"spec.domain: the libvirt of {host} refuses it ({words}); correct spec.domain.template"


def for_trial(xml: str) -> str:
    """The same domain under another name and uuid: to define a guest's own would change it."""
    domain = ET.fromstring(xml)
    name, identity = domain.find("name"), domain.find("uuid")
    assert name is not None and identity is not None
    name.text = f"{TRIAL}-{name.text}"
    identity.text = str(uuid.uuid5(uuid.UUID(identity.text), TRIAL))
    return ET.tostring(domain, encoding="unicode")
