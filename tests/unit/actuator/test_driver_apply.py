"""What was written since a mirror was brought up reaches DRBD; what DRBD uses is what counts."""

from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdView, NotConfigured
from tandem_actuator.ports import CommandFailed
from tandem_actuator.run.driver import APPLY_AGAIN_AFTER_S
from tandem_api.kinds.mirror import Protocol
from unit.builders import drbd, lost

from .noted import Noted


@pytest.fixture
def host() -> Noted:
    host = Noted()
    host.unit.drbd = host.drbd
    return host


def write(host: Noted, text: str) -> None:
    host.driver.resource_text = lambda unit: text


class TestApplied:
    async def test_once_for_each_run_and_each_text(self, host: Noted) -> None:
        """The run before may have ended between writing and applying: the file says nothing."""
        host.changed = False
        for _ in range(3):
            await host.driver.apply(host.unit)
            host.clock.now_s += 60.0
        assert host.calls == ["configure", "adjust"]
        write(host, "another")
        await host.driver.apply(host.unit)
        assert host.calls == 2 * ["configure", "adjust"]

    async def test_what_is_refused_is_tried_again_after_a_while(self, host: Noted) -> None:
        def refuse() -> None:
            raise CommandFailed("no")

        host.during["adjust"] = refuse
        for _ in range(3):
            await host.driver.apply(host.unit)
        assert host.calls == ["configure", "adjust"]
        assert host.unit.applied_detection_s is None
        del host.during["adjust"]
        host.clock.now_s += APPLY_AGAIN_AFTER_S
        await host.driver.apply(host.unit)
        assert host.calls == 2 * ["configure", "adjust"]
        assert host.unit.applied_detection_s == host.node.detection_s

    async def test_nothing_on_what_is_not_there_or_held(self, host: Noted) -> None:
        host.unit.drbd = NotConfigured(1.0)
        await host.driver.apply(host.unit)
        host.unit.drbd = host.drbd
        host.unit.record = replace(host.unit.record, unreadable="damaged")
        await host.driver.apply(host.unit)
        assert host.calls == []


class TestProtocolInUse:
    @pytest.mark.parametrize(
        ("seen", "before", "after"),
        [
            (replace(drbd(), protocol=Protocol.A), False, True),
            (replace(drbd(), protocol=Protocol.B), False, True),
            (replace(lost(), protocol=Protocol.A), False, True),
            (replace(drbd(), protocol=Protocol.C), True, False),
            (replace(lost(), protocol=Protocol.C), True, True),
            (drbd(), True, True),
            (drbd(), False, False),
            (NotConfigured(1.0), True, True),
        ],
    )
    async def test_it_is_noted(
        self, host: Noted, seen: DrbdView, before: bool, after: bool
    ) -> None:
        """Forgotten only once the replicas were in sync by protocol C."""
        host.unit.drbd = seen
        host.unit.record = replace(host.unit.record, asynchronous=before)
        await host.driver.note_protocol(host.unit)
        assert host.unit.record.asynchronous is after
        assert host.calls == ["store"] * (before is not after)
