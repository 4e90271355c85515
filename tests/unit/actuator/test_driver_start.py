"""Starting a guest whose description cannot be turned into a domain."""

from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.core import effects as fx
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.model import Record
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT
from tandem_hostile import A, guest, mirror


async def test_a_template_that_cannot_be_merged_fails_the_start_and_nothing_else() -> None:
    """A guest that runs may be edited; its restart must not take the actuator down."""
    clock = FakeClock()
    node = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
    node.renewal_sent_at_s = clock.now_s
    ports = Ports(
        api=None,  # type: ignore[arg-type]  # a start needs none of these
        drbd=None,  # type: ignore[arg-type]
        libvirt=None,  # type: ignore[arg-type]
        network=None,  # type: ignore[arg-type]
        records=None,  # type: ignore[arg-type]
        clock=clock,
    )
    driver = Driver(ports, node, DomainSettings(kvm=True, serial_dir="/tmp"), lambda unit: "")
    raw = guest("g")
    raw["spec"]["domain"]["template"] = "<domain><unfinished>"
    unit = Unit(mirror=Mirror.parse(mirror("g")), record=Record(uid="uid-g"))
    unit.guest = Guest.parse(raw)
    outcome = await driver.perform(unit, fx.StartGuest(clock.now_s))
    assert isinstance(outcome, fx.Failed)
    assert outcome.message.startswith("spec.domain.template: ")
