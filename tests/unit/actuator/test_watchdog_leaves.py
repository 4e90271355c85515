"""The keeper is asked to end, as the machine is shut down: how long that may take then."""

import math

import pytest

from sim.host.watchdog import LATE_S
from tandem_actuator.run.keeper import LEFT_ALONE_S, WDIOF_SETTIMEOUT

from .watchdog_bench import BOOTED_S, W_S, Machine, fed_until

ASKED_S = 5.0


@pytest.fixture
def machine() -> Machine:
    return Machine()


def shut_down(machine: Machine, deadline_s: float, *, actuator_first: bool = True) -> float:
    """How long the machine went on after that, if nobody switches it off."""
    actuator = machine.play(lambda watchdog: fed_until(watchdog, deadline_s))
    machine.run(ASKED_S - 1.0)
    if actuator_first:
        actuator.stop()
    machine.run(ASKED_S)
    machine.keepers.ask_to_end()
    machine.run(2000.0)
    return machine.reset_s - BOOTED_S - ASKED_S


def test_a_machine_without_guests_may_take_its_time(machine: Machine) -> None:
    assert shut_down(machine, math.inf) == math.inf
    assert not machine.hardware.counting


def test_one_with_guests_is_reset(machine: Machine) -> None:
    """They may be running elsewhere by then, and nobody here ends them any more."""
    assert shut_down(machine, BOOTED_S + ASKED_S + 1.0) <= W_S + LATE_S[1]


def test_so_is_one_whose_actuator_is_there(machine: Machine) -> None:
    """It may start a guest at this moment, and believes the machine to be watched."""
    assert shut_down(machine, math.inf, actuator_first=False) <= W_S + LATE_S[1]


@pytest.mark.parametrize("reason", ["no way out", "cannot be disarmed"])
def test_a_device_that_goes_on_counting_has_it_longer(machine: Machine, reason: str) -> None:
    if reason == "no way out":
        machine.hardware.nowayout = True
    else:
        machine.hardware.options = WDIOF_SETTIMEOUT
    took_s = shut_down(machine, math.inf)
    assert LEFT_ALONE_S[0] <= took_s <= LEFT_ALONE_S[0] + LATE_S[1]


def test_or_as_long_as_it_can(machine: Machine) -> None:
    machine.hardware.nowayout, machine.hardware.longest_s = True, 100
    took_s = shut_down(machine, math.inf)
    assert LEFT_ALONE_S[1] <= took_s <= LEFT_ALONE_S[1] + LATE_S[1]


def test_that_its_actuator_has_ended_is_seen_at_that_moment(machine: Machine) -> None:
    actuator = machine.play(lambda watchdog: fed_until(watchdog, math.inf))
    machine.run(ASKED_S)
    actuator.stop()
    machine.keepers.ask_to_end()
    assert not machine.hardware.counting


def test_one_that_never_armed_it_leaves_it_alone(machine: Machine) -> None:
    machine.keepers.start()
    machine.run(ASKED_S)
    machine.keepers.ask_to_end()
    assert machine.hardware.holder is None
    assert not machine.hardware.counting
