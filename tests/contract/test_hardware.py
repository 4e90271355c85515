"""What passes the checks, and a real libvirtd with its own schema: it takes every one of them."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tandem_actuator.core.domain_xml import DomainSettings, domain_name, render
from tandem_domains import GOOD, NEEDS_FIRMWARE, Raw, guest, hardware, mirror
from tandem_lab.lab import Lab
from tandem_lab.site_host import SiteHost

from .remote_ports import RemotePort

pytestmark = pytest.mark.lab

SETTINGS = DomainSettings(kvm=False, serial_dir="/site/serial")
CODE, VARIABLES = "/usr/share/fw/code.fd", "/usr/share/fw/variables.fd"
DESCRIPTOR: dict[str, Any] = {
    "description": "Halts at once",
    "interface-types": ["uefi"],
    "mapping": {
        "device": "flash",
        "executable": {"filename": CODE, "format": "raw"},
        "nvram-template": {"filename": VARIABLES, "format": "raw"},
    },
    "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*", "pc-i440fx-*"]}],
    "features": [],
    "tags": [],
}


@pytest.fixture(scope="module")
def host(contract_lab: Lab) -> SiteHost:
    """A host that has firmware for UEFI, of a kind."""
    found = contract_lab.hosts[0]
    text = shlex.quote(json.dumps(DESCRIPTOR))
    found.shell(
        f"mkdir -p /etc/qemu/firmware /usr/share/fw && echo {text} >/etc/qemu/firmware/50-test.json"
        f" && head -c 3653632 /dev/zero | tr '\\0' '\\364' >{CODE}"
        f" && head -c 540672 /dev/zero >{VARIABLES}"
    )
    return found


def defined(host: SiteHost, name: str, domain: Raw) -> str:
    """What ``virsh define --validate`` says against it; nothing if it is defined."""
    wanted = guest(domain, name)
    host.share.joinpath("domain.xml").write_text(render(wanted, mirror(), SETTINGS))
    undefine = f"virsh -q undefine --nvram {domain_name(wanted)}"
    return host.shell(
        f"if said=$(virsh -q define --validate /site/domain.xml 2>&1); then {undefine} >&2;"
        ' else echo "$said"; fi'
    ).strip()


def test_libvirt_takes_all_that_passes(host: SiteHost) -> None:
    table = {**GOOD, **NEEDS_FIRMWARE}
    said = {name: defined(host, name, domain) for name, domain in table.items()}
    assert {name: words for name, words in said.items() if words} == {}


def test_validation_would_notice(host: SiteHost) -> None:
    """An attribute that only libvirt's schema knows to be wrong."""
    wrong = hardware("<features><hyperv><relaxed state='perhaps'/></hyperv></features>")
    assert "relaxed" in defined(host, "wrong", wrong) or "schema" in defined(host, "wrong", wrong)


async def test_variables_begin_anew_at_every_start(host: SiteHost, contract_lab: Lab) -> None:
    libvirt: Any = RemotePort(host, contract_lab.settings, "libvirt")
    host.create_volume("efi-root", "16M")
    host.shell("ln -sfn /dev/vg0/efi-root /dev/drbd0")
    wanted = guest(hardware(firmware="UEFI", memory="32Mi"), "efi")
    name, xml = domain_name(wanted), render(wanted, mirror(), SETTINGS)
    variables = Path(f"/var/lib/libvirt/qemu/nvram/{name}_VARS.fd")
    for _ in range(2):
        await libvirt.start(wanted, xml)
        assert host.shell(f"head -c 4 {variables} | od -An -tx1").split() == ["00"] * 4
        await libvirt.destroy(name)
        host.shell(f"printf mark | dd of={variables} conv=notrunc status=none")


async def test_an_image_that_is_missing_is_let_go(host: SiteHost, contract_lab: Lab) -> None:
    libvirt: Any = RemotePort(host, contract_lab.settings, "libvirt")
    host.create_volume("cd-root", "16M")
    host.shell("ln -sfn /dev/vg0/cd-root /dev/drbd0; head -c 65536 /dev/zero >/site/there.iso")
    drives = [
        {"source": "/site/there.iso"},
        {"source": "/site/missing.iso"},
        {"source": "/dev/sr7"},
    ]
    wanted = guest(hardware(cdroms=drives, memory="32Mi"), "cd")
    name = domain_name(wanted)
    await libvirt.start(wanted, render(wanted, mirror(), SETTINGS))
    shown = host.shell(f"virsh -q domblklist {name}")
    await libvirt.destroy(name)
    assert [line.split()[-1] for line in shown.strip().splitlines()] == [
        "/dev/drbd0",
        "/site/there.iso",
        "-",
        "-",
    ]
