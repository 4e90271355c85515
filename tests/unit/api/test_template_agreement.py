"""The table of virtual hardware: what passes is rendered, what is refused is named, by both.

What the actuator refuses in a template, validation refuses before: a start must not find out.
"""

import pytest

from tandem_actuator.core.domain_xml import DomainSettings, DomainXmlError, render
from tandem_api.guest import Guest
from tandem_api.validation import Catalogue, guest_problems, parse_problems
from tandem_domains import (
    BAD,
    GOOD,
    NEEDS_FIRMWARE,
    QEMU,
    guest,
    hardware,
    mirror,
    raw_guest,
)

TEMPLATES = (
    "<domain/>",
    "<domain><devices><sound model='ich9'/></devices></domain>",
    f"<domain {QEMU}><qemu:capabilities><qemu:del capability='x'/></qemu:capabilities></domain>",
    f"<domain {QEMU}><qemu:commandline/></domain>",
    "<domain><devices><disk/></devices></domain>",
    "<domain><devices><interface/></devices></domain>",
    "<!DOCTYPE domain><domain/>",
    "<network/>",
    "<domain>",
    "domain",
    f"<domain><metadata>{'<a>' * 30}{'</a>' * 30}</metadata></domain>",
    f"<domain><metadata>{'<a>' * 9_000}{'</a>' * 9_000}</metadata></domain>",
    "<domain><cpu><topology sockets='" + "9" * 9_000 + "'/></cpu></domain>",
    "<domain><cpu><numa><cell memory='"
    + "9" * 9_000
    + "' cpus='0-999999999'/></numa></cpu></domain>",
)
SETTINGS = DomainSettings(kvm=False, serial_dir="/tmp")


def problems(raw: dict[str, object]) -> list[str]:
    """As the controller would have them."""
    found = parse_problems(Guest, raw)
    if not found:
        found = guest_problems(Guest.parse(raw), Catalogue.of(mirrors=[mirror()]))
    return [str(problem) for problem in found]


@pytest.mark.parametrize("template", TEMPLATES)
def test_both_say_yes_or_both_say_no(template: str) -> None:
    raw = raw_guest({**hardware(), "template": template})
    assert (problems(raw) == []) is renders(Guest.parse(raw))


@pytest.mark.parametrize("name", [*GOOD, *NEEDS_FIRMWARE])
def test_what_passes_is_rendered(name: str) -> None:
    domain = {**GOOD, **NEEDS_FIRMWARE}[name]
    assert problems(raw_guest(domain)) == []
    assert renders(guest(domain))


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_place(name: str) -> None:
    domain, words = BAD[name]
    assert tuple(problems(raw_guest(domain))) == words


@pytest.mark.parametrize("name", [name for name in BAD if "template" in BAD[name][0]])
def test_a_host_would_not_start_it_either(name: str) -> None:
    domain, words = BAD[name]
    with pytest.raises(DomainXmlError) as refused:
        render(guest(domain), mirror(), SETTINGS)
    assert str(refused.value) == "; ".join(words)


def renders(wanted: Guest) -> bool:
    try:
        render(wanted, mirror(), SETTINGS)
    except DomainXmlError:
        return False
    return True
