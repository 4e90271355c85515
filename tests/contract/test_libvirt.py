"""What the Libvirt port does: on the simulated libvirtd, libvirt's own test driver, and QEMU in the
lab."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tandem_actuator.adapters.libvirt.connection import RealLibvirtd
from tandem_actuator.adapters.libvirt.host import LibvirtHost
from tandem_actuator.adapters.linux.processes import LinuxProcesses
from tandem_actuator.core.guest.domain_xml import DomainSettings, domain_name, render
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.libvirt import Libvirt
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import DomainState
from tandem_lab.lab import Lab

from .drbd_pairs import make_mirror
from .remote_ports import RemotePort
from .simulated_libvirt import simulated_libvirtd

MIRROR = make_mirror("guests", 90, ("host-a", "host-b"))


@dataclass
class Subject:
    """A port, and what is needed to use it: the events so far, and XML that it can start."""

    libvirt: Libvirt
    taken: Callable[[], Awaitable[list[str]]]
    xml: Callable[[Guest], str]

    async def until_told(self, name: str) -> None:
        """Until an event names the guest."""
        for _ in range(300):
            if name in await self.taken():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"no event named {name}")


def make_guest(name: str) -> Guest:
    disks = [{"volume": volume.name} for volume in MIRROR.spec.volumes]
    return Guest.parse(
        {
            "metadata": {
                "namespace": "contract",
                "name": name,
                "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            },
            "spec": {"mirror": "guests", "domain": {"memory": "16Mi", "disks": disks}},
        }
    )


def _follow(libvirt: Libvirt) -> tuple["asyncio.Task[None]", Callable[[], Awaitable[list[str]]]]:
    names: list[str] = []

    async def follow() -> None:
        async for name in libvirt.events():
            names.append(name)

    async def taken() -> list[str]:
        found = names[:]
        names.clear()
        return found

    return asyncio.create_task(follow()), taken


def _xml(serial_dir: str, mirror: Mirror, domain_type: str = "qemu") -> Callable[[Guest], str]:
    def render_for(guest: Guest) -> str:
        xml = render(guest, mirror, DomainSettings(kvm=False, serial_dir=serial_dir))
        return xml.replace('type="qemu"', f'type="{domain_type}"', 1)

    return render_for


def _start_volumes(lab: Lab) -> None:
    """Plain loop-free block devices in place of mirrors: libvirt does not care."""
    host = lab.hosts[0]
    numbers = MIRROR.status.device_numbers
    assert numbers is not None
    for volume, minor in numbers.minors.items():
        device = host.create_volume(f"guests-{volume}", "16M")
        host.shell(f"ln -sfn {device} /dev/drbd{minor}")


@pytest.fixture(params=["simulated", "test-driver", pytest.param("lab", marks=pytest.mark.lab)])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "lab":
        lab: Lab = request.getfixturevalue("contract_lab")
        _start_volumes(lab)
        port: Any = RemotePort(lab.hosts[0], lab.settings, "libvirt")
        remote_events: Any = RemotePort(lab.hosts[0], lab.settings, "events")

        async def taken() -> list[str]:
            return list((await remote_events.taken())[1])

        await taken()
        yield Subject(port, taken, _xml("/site/serial", MIRROR))
        for name in await port.states():
            await port.destroy(name)
        return
    if request.param == "simulated":
        daemon = simulated_libvirtd()
        libvirt, xml = LibvirtHost(daemon, daemon.processes), _xml("/nowhere", MIRROR)
    else:
        processes = LinuxProcesses(tmp_path / "proc", tmp_path / "run")
        processes.proc.mkdir()
        libvirt = LibvirtHost(RealLibvirtd("test:///default"), processes)
        xml = _xml("/tmp", MIRROR, "test")
    task, local_taken = _follow(libvirt)
    await asyncio.sleep(0.2)
    yield Subject(libvirt, local_taken, xml)
    for name in await libvirt.states():
        await libvirt.destroy(name)
    task.cancel()


async def test_only_tandems_domains_are_listed(subject: Subject) -> None:
    """libvirt's test driver comes with a domain of its own."""
    assert await subject.libvirt.states() == {}


async def test_a_started_guest_runs_and_a_destroyed_one_is_gone(subject: Subject) -> None:
    guest = make_guest("one")
    name = domain_name(guest)
    await subject.libvirt.start(guest, subject.xml(guest))
    assert await subject.libvirt.states() == {name: DomainState.RUNNING}
    await subject.libvirt.destroy(name)
    assert name not in await subject.libvirt.states()


async def test_a_guest_is_not_started_twice(subject: Subject) -> None:
    guest = make_guest("two")
    await subject.libvirt.start(guest, subject.xml(guest))
    with pytest.raises(CommandFailed, match="already"):
        await subject.libvirt.start(guest, subject.xml(guest))
    assert await subject.libvirt.states() == {domain_name(guest): DomainState.RUNNING}


async def test_a_start_that_failed_can_be_tried_again(subject: Subject) -> None:
    guest = make_guest("three")
    with pytest.raises(CommandFailed):
        await subject.libvirt.start(guest, "<domain/>")
    assert await subject.libvirt.states() == {}
    await subject.libvirt.start(guest, subject.xml(guest))


async def test_destroying_what_is_not_there_is_no_error(subject: Subject) -> None:
    await subject.libvirt.destroy("contract.nobody")


async def test_shutting_down_what_is_not_there_is_refused(subject: Subject) -> None:
    with pytest.raises(CommandFailed):
        await subject.libvirt.shutdown("contract.nobody")


async def test_resuming_what_is_not_there_is_refused(subject: Subject) -> None:
    with pytest.raises(CommandFailed):
        await subject.libvirt.resume("contract.nobody")


async def test_resuming_what_runs_is_no_error(subject: Subject) -> None:
    guest = make_guest("five")
    name = domain_name(guest)
    await subject.libvirt.start(guest, subject.xml(guest))
    await subject.libvirt.resume(name)
    assert (await subject.libvirt.states())[name] is DomainState.RUNNING


async def test_events_name_the_guest(subject: Subject) -> None:
    guest = make_guest("four")
    name = domain_name(guest)
    await subject.libvirt.start(guest, subject.xml(guest))
    await subject.until_told(name)
    await subject.libvirt.destroy(name)
    await subject.until_told(name)


async def test_versions_name_both_parts(subject: Subject) -> None:
    assert set(await subject.libvirt.versions()) == {"libvirt", "qemu"}
