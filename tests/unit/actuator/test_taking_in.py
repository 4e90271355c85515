"""A bug as something that was seen of one mirror is taken in: it costs that mirror, for a while."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.wall import AGAIN_WITH_TIME, Place, Wall
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT
from tandem_base.bugs import bug
from tandem_hostile import A
from unit.builders import authority, drbd, record, view

NODE = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)


@dataclass
class Looks:
    async def query(self, mirror: Mirror) -> DrbdState:
        return drbd()


@dataclass
class Poisoned(Unit):
    """One whose looks raise."""

    poisoned: bool = True

    def observe_drbd(self, *arguments: Any) -> bool:
        if self.poisoned:
            raise ZeroDivisionError("a bug")
        return super().observe_drbd(*arguments)


async def test_a_bug_in_taking_in_a_look_stops_its_mirror_alone() -> None:
    clock, unit = FakeClock(), Poisoned(view(authority(), drbd()).mirror, record())
    none = cast(Any, None)
    ports = Ports(none, cast(Any, Looks()), none, none, none, clock)
    driver = Driver(ports, NODE, DomainSettings(kvm=True, serial_dir="/tmp"), lambda unit: "")
    assert await driver.query_drbd(unit)
    assert isinstance(unit.drbd, DrbdUnknown)
    assert "ZeroDivisionError" in driver.walls.why(unit)
    unit.poisoned = False
    await driver.query_drbd(unit)
    assert isinstance(unit.drbd, DrbdState)
    assert driver.walls.why(unit) == ""


@pytest.mark.parametrize("place", AGAIN_WITH_TIME)
def test_what_may_never_be_tried_again_goes_with_time(place: Place) -> None:
    wall = Wall()
    wall.meets(place, bug("Mirror", view(authority(), drbd()).mirror.key, KeyError("x")), 100.0)
    assert wall.why(100.5) is not None
    assert wall.why(400.0) is None


def test_a_bug_in_an_event_stands_for_a_while() -> None:
    """No other one may come: the link that was lost stays lost."""
    wall, now_s = Wall(), 100.0
    for _ in range(10):
        wall.meets(
            Place.WATCH, bug("Mirror", view(authority(), drbd()).mirror.key, KeyError()), now_s
        )
    assert wall.why(now_s + 59.0) is not None
    assert wall.why(now_s + 60.0) is None
