"""The table of virtual hardware, judged by all who judge: controller, webhook and actuator.

What the actuator refuses in a template, the others refuse before, in the same words: a start must
not find out. And what they refuse no host starts, whoever wrote it past them.
"""

from typing import Any

import kopf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_actuator.core.guest.domain_xml import DomainSettings, DomainXmlError, render
from tandem_actuator.core.guest.hardware import needs
from tandem_api.check.catalogue import Catalogue
from tandem_api.check.guests import guest_problems
from tandem_api.check.validation import parse_problems
from tandem_api.kinds.guest import Guest
from tandem_controller.edge.admission import Admission
from tandem_domains import (
    GOOD,
    NEEDS_FIRMWARE,
    QEMU,
    Raw,
    devices,
    guest,
    hardware,
    mirror,
    raw_guest,
)
from tandem_domains.bad import BAD

HARMLESS = (
    "<domain/>",
    " <domain/> ",
    "<domain><!-- <devices><disk/></devices> --></domain>",
    "<?xml version='1.0'?><domain><devices/></domain>",
    "<domain><devices><sound model='ich9'/></devices></domain>",
    f"<domain {QEMU}><qemu:capabilities><qemu:del capability='x'/></qemu:capabilities></domain>",
    f"<domain><metadata>{'<a>' * 30}{'</a>' * 30}</metadata></domain>",
    "<domain><cpu><topology sockets='" + "9" * 9_000 + "'/></cpu></domain>",
    "<domain><cpu><topology sockets='-2' cores='x'/></cpu></domain>",
)
"""As far as Tandem judges: some of these libvirt refuses, when it is asked beforehand."""
HOSTILE = (
    f"<domain {QEMU}><qemu:commandline/></domain>",
    "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:override/></domain>",
    "<domain xmlns='http://example.org/'><devices><disk/></devices></domain>",
    "<domain><d:devices xmlns:d='http://example.org/'><d:disk/></d:devices></domain>",
    "<domain><devices><disk/></devices></domain>",
    "<domain><devices/><devices><disk/></devices></domain>",
    "<domain><devices><d:disk xmlns:d='http://example.org/'/></devices></domain>",
    "<domain><devices><filesystem/></devices></domain>",
    "<domain><devices><interface/></devices></domain>",
    "<domain><devices><hostdev type='SCSI'/></devices></domain>",
    "<domain><devices><serial><source path='&#47;dev&#47;sda'/></serial></devices></domain>",
    "<domain><devices><console><![CDATA[ /dev/sda ]]></console></devices></domain>",
    "<!DOCTYPE domain><domain/>",
    '<!DOCTYPE d [<!ENTITY a "<disk/>">]><domain><devices>&a;</devices></domain>',
    "<network/>",
    "<domain>",
    "<domain/><domain/>",
    "<domain><title>&nbsp;</title></domain>",
    "<domain><metadata><n:disk xmlns:n='}'>kept</n:disk></metadata></domain>",
    "domain",
    "\ufffe<domain/>",
    "<domain><title>\x00</title></domain>",
    f"<domain><metadata>{'<a>' * 9_000}{'</a>' * 9_000}</metadata></domain>",
    "<domain><cpu><numa><cell memory='"
    + "9" * 9_000
    + "' cpus='0-999999999'/></numa></cpu></domain>",
)
SETTINGS = DomainSettings(kvm=False, serial_dir="/tmp")
CLIENT: Any = None
"""The webhook asks the server nothing about a spec."""


def problems(raw: Raw) -> list[str]:
    """As the controller would have them."""
    found = parse_problems(Guest, raw)
    if not found:
        found = guest_problems(Guest.parse(raw), Catalogue.of(mirrors=[mirror()]))
    return [str(problem) for problem in found]


def refused_by_webhook(raw: Raw) -> str:
    """Its words; none if it lets the object through."""
    try:
        Admission(CLIENT).spec("Guest", None, raw, {"username": "ana"})
    except kopf.AdmissionError as refused:
        return str(refused)
    return ""


def refused_by_actuator(raw: Raw) -> str:
    """Its words; none if it renders a domain. Nothing else may raise."""
    wanted = Guest.parse(raw)
    needs(wanted)
    try:
        render(wanted, mirror(), SETTINGS)
    except DomainXmlError as refused:
        return str(refused)
    return ""


def verdict(raw: Raw) -> str:
    """What all three say."""
    words = "; ".join(problems(raw))
    assert refused_by_webhook(raw) == words
    assert refused_by_actuator(raw) == words
    return words


@pytest.mark.parametrize("template", HARMLESS)
def test_what_is_harmless_all_let_through(template: str) -> None:
    assert verdict(raw_guest({**hardware(), "template": template})) == ""


@pytest.mark.parametrize("template", HOSTILE)
def test_what_is_hostile_all_refuse_alike(template: str) -> None:
    words = verdict(raw_guest({**hardware(), "template": template}))
    assert words.startswith("spec.domain.template: ")


@pytest.mark.parametrize("name", [*GOOD, *NEEDS_FIRMWARE])
def test_what_passes_is_rendered(name: str) -> None:
    assert verdict(raw_guest({**GOOD, **NEEDS_FIRMWARE}[name])) == ""


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_place(name: str) -> None:
    domain, words = BAD[name]
    assert tuple(problems(raw_guest(domain))) == words


@pytest.mark.parametrize("name", [name for name in BAD if "template" in BAD[name][0]])
def test_a_host_would_not_start_it_either(name: str) -> None:
    domain, words = BAD[name]
    assert verdict(raw_guest(domain)) == "; ".join(words)


def test_a_host_judges_what_was_accepted_and_not_what_was_edited() -> None:
    """By the same judge: what an earlier release accepted is no less of a danger."""
    bad, words = BAD["a-folder-of-the-host"]
    accepted, edited = guest(bad), guest(hardware())
    status = edited.status.model_copy(update={"accepted": accepted.spec})
    with pytest.raises(DomainXmlError) as refused:
        render(edited.model_copy(update={"status": status}), mirror(), SETTINGS)
    assert str(refused.value) == "; ".join(words)


TAGS = (
    "disk", "filesystem", "interface", "hostdev", "serial", "rng", "controller", "input", "source",
    "block", "boot", "cpu", "numa", "cell", "topology", "os", "loader", "type", "devices", "memory",
)  # fmt: skip
VALUES = (
    "usb", "scsi", "pci", "none", "q35", "/dev/drbd7", "//dev/sda", "/dev/null", "0-3", "64", "x",
)  # fmt: skip
ATTRIBUTES = st.dictionaries(
    st.sampled_from(("type", "model", "bus", "path", "cpus", "memory", "unit", "machine")),
    st.sampled_from(VALUES),
    max_size=3,
)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    tag = draw(st.sampled_from(TAGS))
    said = "".join(f" {name}='{value}'" for name, value in draw(ATTRIBUTES).items())
    inner = draw(st.lists(elements(depth=depth - 1), max_size=3)) if depth else []
    return f"<{tag}{said}>{''.join(inner) or draw(st.sampled_from(VALUES))}</{tag}>"


@settings(max_examples=150, deadline=None)
@given(elements(), st.booleans())
def test_whatever_is_written_all_three_say_the_same(inner: str, is_device: bool) -> None:
    verdict(raw_guest(devices(inner) if is_device else hardware(inner)))
