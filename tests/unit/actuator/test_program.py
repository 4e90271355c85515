"""A new run of the actuator: what it goes on from, and by which timing DRBD is told to live."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.ports import PortError
from tandem_actuator.run.loop import Actuator
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.outside import Kept
from tandem_actuator.run.program import Outside, program
from tandem_actuator.run.watchdog import NoWatchdog
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.mirror import MirrorStatus
from tandem_api.timing import DEFAULT, FAST, Timing, drbd_timers
from unit.builders import ADDRESSES, HERE, authority, mirror, record

from .noted import Noted
from .turning import Exits, NoLooks


@dataclass
class Permit:
    renewal_sent_at_s: float
    timing: Timing


class Permits:
    """What the last run on this boot left."""

    def __init__(self, left: Permit | None) -> None:
        self.left = left

    def load(self) -> Permit | None:
        return self.left

    def store(self, renewal_sent_at_s: float, timing: Timing) -> None:
        self.left = Permit(renewal_sent_at_s, timing)


def new_run(left: Permit | None = None, drbd_major: int = 8) -> Actuator:
    outside = Outside(
        instance=HERE,
        ports=Noted().ports,
        watchdog=NoWatchdog(),
        kept=Kept(permits=Permits(left), starts=Exits(), looks=NoLooks(), cache=cast(Any, None)),
        domains=DomainSettings(kvm=True, serial_dir="/tmp"),
        drbd_major=drbd_major,
        fence_peer="/usr/lib/tandem/fence-peer",
    )
    return program(outside, Metrics())


def test_it_has_no_more_time_than_the_last_one_had_left() -> None:
    run = new_run(Permit(987.5, FAST))
    assert run.node.renewal_sent_at_s == 987.5
    assert not run.node.guarding


def test_it_lives_by_the_timing_that_others_count_on() -> None:
    """The last heartbeat said so, and nobody has heard of another since."""
    assert new_run(Permit(987.5, FAST)).node.timing == FAST


def test_the_first_one_on_a_boot_has_none_before_its_first_heartbeat() -> None:
    run = new_run()
    assert run.node.renewal_sent_at_s is None
    assert run.node.timing == DEFAULT


def test_drbd_is_told_the_timing_that_is_in_force_then() -> None:
    run = new_run()
    unit = Unit(mirror=mirror(authority()), record=record())
    run.node.addresses = ADDRESSES
    before = run.driver.resource_text(unit)
    run.node.detection_s = FAST.link_detection_seconds
    after = run.driver.resource_text(unit)
    assert before != after
    assert f"timeout {drbd_timers(FAST).timeout_ds};" in after


@pytest.mark.parametrize("major", [8, 9])
def test_what_is_decided_knows_the_kernels_drbd(major: int) -> None:
    unit = Unit(mirror=mirror(authority()), record=record())
    assert unit.view(new_run(drbd_major=major).node).drbd_major == major


def test_a_mirror_without_numbers_is_a_failed_effect_and_no_bug() -> None:
    bare = mirror(authority()).model_copy(update={"status": MirrorStatus()})
    with pytest.raises(PortError, match="no device numbers"):
        new_run().driver.resource_text(Unit(mirror=bare, record=record()))
