"""What passes the checks, and a real libvirtd with its own schema: it takes every one of them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tandem_actuator.core.guest.domain_xml import DomainSettings, domain_name, render
from tandem_actuator.core.guest.hardware import BRIDGES, for_trial
from tandem_api.kinds.mirror import Mirror, ReplicaReport, VolumeReport
from tandem_api.meta import Quantity
from tandem_controller.decide.world.sizes import measured, refusal
from tandem_domains import GOOD, NEEDS_FIRMWARE, Raw, guest, hardware, mirror
from tandem_lab.lab import Lab
from tandem_lab.site_host import SiteHost

from .drbd_pairs import VOLUMES, lab_pair
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


async def test_a_host_tries_hardware_without_a_trace(host: SiteHost, contract_lab: Lab) -> None:
    premises: Any = RemotePort(host, contract_lab.settings, "premises")
    for domain in (GOOD["everything-said"], NEEDS_FIRMWARE["uefi"]):
        assert await premises.refusal(for_trial(render(guest(domain), mirror(), SETTINGS))) == ""
    wrong = hardware("<os><type machine='pc-q35-99.9'>hvm</type></os>")
    said = await premises.refusal(for_trial(render(guest(wrong), mirror(), SETTINGS)))
    assert "pc-q35-99.9" in said
    assert "tandem-trial" not in host.shell("virsh -q list --all --name")


async def test_a_host_looks_for_files_and_bridges(host: SiteHost, contract_lab: Lab) -> None:
    premises: Any = RemotePort(host, contract_lab.settings, "premises")
    host.shell("head -c 9 /dev/zero >/site/here.iso; ip link add br-here type bridge")
    paths = ["/site/here.iso", "/site/gone.iso", BRIDGES.format("br-here"), BRIDGES.format("lo")]
    assert await premises.missing(paths) == ["/site/gone.iso", BRIDGES.format("lo")]


async def test_devices_are_grown_as_the_message_says(contract_lab: Lab) -> None:
    """Word for word, on both hosts, under a mirror that is in use."""
    pair = lab_pair(contract_lab, "grown", 200)
    await pair.bring_up()
    await pair.a.drbd.promote(pair.mirror, force=False)
    hosts = {host.name: host for host in contract_lab.hosts[:2]}
    first, second = hosts.values()
    volumes = tuple(
        v.model_copy(update={"size": Quantity("40Mi")}) for v in pair.mirror.spec.volumes
    )
    wanted = pair.mirror.model_copy(
        update={"spec": pair.mirror.spec.model_copy(update={"volumes": volumes})}
    )
    for _ in VOLUMES:
        found = refusal(wanted, measured(wanted, await reports(wanted, contract_lab)))
        assert found is not None
        orders = re.findall(r"(lvextend -L \d+m \S+) on (\S+?)(?:,| and)", found.message)
        assert sorted(name for _, name in orders) == sorted(hosts)
        for order, name in orders:
            hosts[name].shell(order)
        (resize,) = re.findall(r"drbdadm resize \S+", found.message)
        first.shell(resize)
    await pair.until(pair.b, lambda state: state.in_sync)
    assert refusal(wanted, measured(wanted, await reports(wanted, contract_lab))) is None
    for host in (first, second):
        for minor in (200, 201):
            assert int(host.shell(f"cat /sys/block/drbd{minor}/size")) * 512 >= 40 * 2**20


async def reports(wanted: Mirror, lab: Lab) -> dict[str, ReplicaReport]:
    """As the two hosts measure their devices."""
    found = {}
    for host in lab.hosts[:2]:
        premises: Any = RemotePort(host, lab.settings, "premises")
        replica = wanted.replica_on(host.name)
        assert replica is not None
        sizes = await premises.device_bytes(list(replica.devices.values()))
        assert set(sizes) == set(replica.devices.values())
        volumes = {v: VolumeReport(device_bytes=sizes[p]) for v, p in replica.devices.items()}
        found[host.name] = ReplicaReport(volumes=volumes)
    return found
