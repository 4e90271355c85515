"""What a host finds as it looks ahead, and what it makes of a look that fails."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from tandem_actuator.core.guest.domain_xml import DomainSettings, domain_name, domain_uuid, render
from tandem_actuator.core.guest.hardware import for_trial
from tandem_actuator.ports import PortError
from tandem_actuator.run.inspection import Inspection
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest, HardwareReport
from tandem_domains import ISO, Raw, card, guest, hardware, mirror
from unit.builders import A, authority, record
from unit.builders import mirror as made

SETTINGS = DomainSettings(kvm=False, serial_dir="/tmp")
EVERYTHING: Raw = {
    **hardware(),
    "cdroms": [{"source": ISO}],
    "networks": [card()],
    "template": "<domain><os><kernel>/site/vmlinuz</kernel></os></domain>",
}


@dataclass
class Host:
    """Premises of which a test says how they are."""

    refuses: str = ""
    lacks: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    async def refusal(self, xml: str) -> str:
        if self.silent:
            raise PortError("libvirt did not answer")
        self.asked.append(xml)
        return self.refuses

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        return [path for path in paths if path in self.lacks]

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        return {path: size for path, size in self.sizes.items() if path in paths}


def unit_of(wanted: Guest) -> Unit:
    unit = Unit(mirror(), record())
    unit.observe_guest(wanted)
    return unit


async def found(host: Host, domain: Raw) -> HardwareReport:
    unit = unit_of(guest(domain))
    await inspection(host).look(unit, again=True)
    return unit.hardware


def inspection(host: Host) -> Inspection:
    return Inspection("tarongers-1", host, SETTINGS, list)


async def test_what_is_there_and_taken_has_no_problem() -> None:
    said = await found(Host(), EVERYTHING)
    assert said == HardwareReport(fingerprint=guest(EVERYTHING).spec.domain.fingerprint)


async def test_libvirts_refusal_is_told_in_its_words() -> None:
    said = await found(Host(refuses="libvirt: no such machine"), hardware())
    assert said.problems == (
        "spec.domain: the libvirt of tarongers-1 refuses it (libvirt: no such machine); correct"
        " spec.domain.template",
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (ISO, f"spec.domain.cdroms[0].source: {ISO}"),
        ("/sys/class/net/br-users/bridge", "spec.domain.networks[0].bridge: a bridge br-users"),
        ("/site/vmlinuz", "spec.domain.template: /site/vmlinuz"),
    ],
)
async def test_what_is_missing_is_named_with_its_field(path: str, words: str) -> None:
    said = await found(Host(lacks=(path,)), EVERYTHING)
    assert said.problems == (f"{words} is not on tarongers-1; put it there, or correct the field",)


async def test_what_cannot_be_rendered_is_told_without_asking_libvirt() -> None:
    host = Host()
    said = await found(host, hardware("<device/>"))
    assert said.problems[0].startswith("spec.domain.template: has <device>")
    assert not host.asked


async def test_a_look_that_fails_says_nothing_new() -> None:
    host, unit = Host(), unit_of(guest(hardware()))
    looking = inspection(host)
    await looking.look(unit, again=True)
    before = unit.hardware
    host.silent = True
    unit.observe_guest(guest(hardware(memory="128Mi")))
    await looking.look(unit, again=True)
    assert unit.hardware is before
    host.silent = False
    await looking.look(unit, again=False)
    assert unit.hardware.fingerprint == guest(hardware(memory="128Mi")).spec.domain.fingerprint


async def test_a_bug_over_one_guest_costs_that_guest() -> None:
    class Odd(Host):
        async def missing(self, paths: Collection[str]) -> Collection[str]:
            if ISO in paths:
                raise ZeroDivisionError
            return await super().missing(paths)

    units = [unit_of(guest(hardware(cdroms=[{"source": ISO}]))), unit_of(guest(hardware()))]
    looking = asyncio.create_task(Inspection("h", Odd(), SETTINGS, lambda: units).run())
    for _ in range(50):
        await asyncio.sleep(0.01)
    assert units[1].hardware.fingerprint
    assert not looking.done()
    assert not units[0].hardware.fingerprint
    looking.cancel()


async def test_libvirt_is_asked_once_and_files_again_and_again() -> None:
    host, unit = Host(), unit_of(guest(hardware(cdroms=[{"source": ISO}])))
    looking = inspection(host)
    for lacks in ((), (ISO,), ()):
        host.lacks = lacks
        await looking.look(unit, again=True)
        assert bool(unit.hardware.problems) is bool(lacks)
    assert len(host.asked) == 1
    host.lacks = (ISO,)
    await looking.look(unit, again=False)
    assert not unit.hardware.problems


async def test_devices_are_measured_by_volume() -> None:
    unit = Unit(made(authority("")), record())
    await Inspection(A, Host(sizes={"/dev/vg0/m-root": 7}), SETTINGS, list).look(unit, again=True)
    assert unit.device_bytes == {"root": 7}


def test_a_trial_bears_no_name_that_a_guest_has() -> None:
    """Defining a guest that runs would make it one that outlives its end."""
    wanted = guest(hardware())
    xml = render(wanted, mirror(), SETTINGS)
    trial = for_trial(xml)
    assert f"<name>{domain_name(wanted)}<" in xml and domain_uuid(wanted) in xml
    assert f"<name>tandem-trial-{domain_name(wanted)}<" in trial
    assert domain_uuid(wanted) not in trial
    assert for_trial(xml) == trial


def test_a_fingerprint_is_of_what_was_said() -> None:
    plain, other = guest(hardware()).spec.domain, guest(hardware(cpus=3)).spec.domain
    assert (
        plain.fingerprint == guest(hardware(firmware="BIOS", networks=[])).spec.domain.fingerprint
    )
    assert plain.fingerprint != other.fingerprint
