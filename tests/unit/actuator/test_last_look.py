"""What is looked at before a guest is fenced, and for how long a packet is waited for."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdView
from tandem_actuator.core.sockets import Socket
from tandem_actuator.run.acquittal import PAUSE_S, SHARE_OF_FENCING
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState, Role
from unit.builders import B, drbd, frozen, mirror, standalone

from .turning import Turning

F_S = DEFAULT.fencing_seconds
PEER = "198.51.100.12"


@pytest.fixture
def host() -> Iterator[Turning]:
    """A guest runs here; nothing was looked at for a while, and no heartbeat counts."""
    made = Turning()
    made.unit.domain = DomainState.RUNNING
    made.node.guarding = made.node.acknowledged = True
    made.node.addresses = {B: PEER}
    made.node.renewal_sent_at_s = made.now_s - 60.0
    yield made
    made.loop.discard()


def well(host: Turning, packets: int) -> DrbdView:
    """A look at a link that seems well, after so many packets have arrived."""
    tcp = Socket(1, PEER, True, 8 * packets, 8 * packets, host.now_s)
    return replace(drbd(Role.PRIMARY, at_s=host.now_s), sockets=(tcp,))


def arrives_after(host: Turning, seconds: float) -> None:
    """The link seems well, and a packet is sent and arrives then."""
    since_s = host.now_s

    async def shown() -> None:
        while True:
            host.found = well(host, int(host.now_s - since_s >= seconds))
            await asyncio.sleep(PAUSE_S / 5)

    host.found = well(host, 0)
    host.unit.observe_drbd(host.found, host.now_s, "")
    host.begin(host.actuator._guard, shown)


def test_a_packet_that_arrives_soon_enough_acquits(host: Turning) -> None:
    """This program only stood still: the guest has run without permission, and goes on."""
    arrives_after(host, SHARE_OF_FENCING * F_S - 0.2)
    host.run(F_S)
    assert host.unit.fence is None
    assert host.unit.lapsed
    assert "destroy" not in host.calls


def test_it_is_not_waited_for_longer(host: Turning) -> None:
    arrives_after(host, SHARE_OF_FENCING * F_S + 0.2)
    host.run(F_S + 0.5)
    assert "destroy" in host.calls


def test_the_watchdog_is_fed_no_further_meanwhile(host: Turning) -> None:
    arrives_after(host, 60.0)
    until_s = host.now_s
    host.run(SHARE_OF_FENCING * F_S - 0.1)
    assert host.unit.fence is None
    assert max(host.fed, default=0.0) <= until_s + F_S


def test_a_link_that_is_lost_is_not_waited_for(host: Turning) -> None:
    host.found = host.unit.drbd = frozen()
    host.play(host.actuator._guard, 0.3)
    assert "destroy" in host.calls


def test_nor_one_beside_which_another_owns_the_mirror(host: Turning) -> None:
    host.unit.mirror = mirror(standalone(B, epoch=6))
    arrives_after(host, 0.5)
    host.run(0.3)
    assert "destroy" in host.calls
