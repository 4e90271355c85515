"""The parts of the command that measures a host with many guests, with few. Nothing is timed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.proc import parse_proc, state_from_proc
from tandem_actuator.adapters.drbd.text import parse_dump, state_from_dump
from tandem_actuator.core.drbd import DrbdState
from tandem_api.authority import Mode
from tandem_scale import host as command
from tandem_scale.kernel import COPIES, Kernel
from tandem_scale.machine import HERE, Host
from tandem_scale.measure import Watching, fenced_all, running, spread, taken_over, until

GUESTS = 3


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running(GUESTS, 8, tmp_path) as found:
        yield found


@pytest.mark.parametrize("major", [8, 9])
async def test_the_actuator_looks_at_every_mirror_through_its_adapter(
    tmp_path: Path, major: int
) -> None:
    async with running(GUESTS, major, tmp_path) as host:
        assert host.drbd.looks.taken > 0
        assert [type(unit.drbd) for unit in host.actuator.units] == [DrbdState] * GUESTS
        assert host.actuator.node.renewal_sent_at_s is not None


async def test_what_is_measured_happens(host: Host) -> None:
    """All are taken over, the guard is seen, and all are stopped once the host is cut off."""
    for unit in host.actuator.units:
        unit.link_lost_at_s = host.clock.boottime_s() - 60.0  # as if the wait were over
    await taken_over(host)
    assert len(host.executing) == GUESTS
    owners = [unit.mirror.status.authority for unit in host.actuator.units]
    assert [one and (one.owner, one.mode) for one in owners] == [(HERE, Mode.STANDALONE)] * GUESTS
    watching = Watching(host)
    await until(lambda: len(watching.sight.lateness) > 3, "the guard is seen")
    assert len(watching.sight.ages) >= 3 * GUESTS
    host.lose_api()
    found = await fenced_all(host, watching)
    assert host.executing == set()
    assert len(host.ended) == GUESTS
    assert 0.0 < found["median"] <= found["max"] <= found["done"]


@pytest.mark.parametrize("connected", [True, False])
def test_the_kernels_text_is_read_as_it_is_meant(tmp_path: Path, connected: bool) -> None:
    kernel = Kernel(["ns.a", "ns.b"], 8, tmp_path)
    device = kernel.devices["ns.b"]
    device.primary, device.connected, device.frozen = True, connected, not connected
    kernel.write()
    proc = state_from_proc(parse_proc(kernel.read_text()), {"root": device.minor}, 5.0)
    dump = parse_dump((tmp_path / "dump.0").read_text())
    told = state_from_dump(dump["ns.b"], ["root"], 5.0)
    assert isinstance(proc, DrbdState)
    assert isinstance(told, DrbdState)
    for state in (proc, told):
        assert (state.connected, state.frozen, state.own_up_to_date) == (
            connected,
            not connected,
            True,
        )
    assert len({kernel.read_text() for _ in range(COPIES)}) == COPIES


def test_numbers_are_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "p99": 3.0, "max": 3.0}
    assert spread([]) == {"median": 0.0, "p99": 0.0, "max": 0.0}


def test_a_table_is_made_of_what_was_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {
        "guests": GUESTS,
        **dict.fromkeys(("takeover_s", "idle", "away", "fenced", "looks_idle", "looks_away"), 0.5),
        **dict.fromkeys(("lateness_away", "ages_away"), spread([0.1])),
        "fencing": {**spread([0.2]), "done": 0.3, "starved": 0.4},
    }
    command.show({(GUESTS, None): [one], (GUESTS, tmp_path): [one]}, drbd=8, runs=1)
    printed = capsys.readouterr().out
    assert "before" in printed
    assert "50.0" in printed
