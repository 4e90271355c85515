"""Asking a guest to stop: since when, and whether libvirt took it."""

from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.core import effects as fx
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.model import Record
from tandem_actuator.ports import PortError
from tandem_actuator.ports.libvirt import KilledNotGone
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState
from tandem_hostile import A, guest, mirror


class StubbornLibvirt:
    """Refuses every shutdown, and cannot end what it has killed."""

    refuses = True

    async def shutdown(self, name: str) -> None:
        if self.refuses:
            raise PortError("Requested operation is not valid: domain is not running")

    async def destroy(self, name: str) -> None:
        raise KilledNotGone("its process is still there")


def made() -> tuple[Driver, Unit, StubbornLibvirt, FakeClock]:
    clock, libvirt = FakeClock(), StubbornLibvirt()
    node = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
    ports = Ports(
        api=None,  # type: ignore[arg-type]  # these effects need none of them
        drbd=None,  # type: ignore[arg-type]
        libvirt=libvirt,  # type: ignore[arg-type]
        network=None,  # type: ignore[arg-type]
        records=None,  # type: ignore[arg-type]
        clock=clock,
    )
    driver = Driver(ports, node, DomainSettings(kvm=True, serial_dir="/tmp"), lambda unit: "")
    unit = Unit(mirror=Mirror.parse(mirror("g")), record=Record(uid="uid-g"))
    unit.guest = Guest.parse(guest("g"))
    return driver, unit, libvirt, clock


async def test_its_time_begins_with_the_first_try_that_libvirt_refuses() -> None:
    driver, unit, libvirt, clock = made()
    first_s = clock.now_s
    assert isinstance(await driver.perform(unit, fx.ShutDownGuest()), fx.Failed)
    assert (unit.shutdown_sent_at_s, unit.shutdown_heard) == (first_s, False)
    clock.now_s += 7.0
    libvirt.refuses = False
    assert await driver.perform(unit, fx.ShutDownGuest()) == fx.Done()
    assert (unit.shutdown_sent_at_s, unit.shutdown_heard) == (first_s, True)


async def test_a_guest_that_has_ended_is_asked_anew_the_next_time() -> None:
    driver, unit, _, _ = made()
    await driver.perform(unit, fx.ShutDownGuest())
    unit.observe_domain(DomainState.ABSENT)
    assert (unit.shutdown_sent_at_s, unit.shutdown_heard) == (None, False)


async def test_killed_and_not_gone_is_told() -> None:
    driver, unit, _, _ = made()
    outcome = await driver.perform(unit, fx.DestroyGuest())
    assert isinstance(outcome, fx.Failed)
    assert outcome.killed
