"""What TCP tells of a connection: by this machine's kernel and in the simulator."""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pytest

from sim.engine.kernel import Kernel
from sim.network.tcp import PACKET_EVERY_S, Tcp
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.sockets import LinuxSockets
from tandem_actuator.core.packets import LEAST_BYTES
from tandem_actuator.core.sockets import Socket
from tandem_api.timing import MARGIN_S

SOON_S = 5.0
SO_COOKIE = 57
"""Of asm-generic/socket.h; Python names it from 3.14 on."""
PACKET = b"a ping of DRBD's"


class Connection(Protocol):
    """Two ends, ``here`` and ``there``, and nothing else on their port."""

    def now_s(self) -> float: ...

    def looks(self) -> tuple[Socket | None, Socket | None]:
        """At both ends; None: there is none."""
        ...

    def packet(self, of: str) -> None:
        """This end sends one, and it arrives."""
        ...

    def rest(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        ...

    def close(self, end: str, *, answered: bool) -> None:
        """As DRBD does; the other end answers, or nothing of it does."""
        ...


@dataclass
class Linux:
    """Over the loopback. The ends are told apart by their cookies."""

    here: socket.socket
    there: socket.socket
    port: int

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.sockets = LinuxSockets(self.clock)
        self.cookies = [
            int.from_bytes(end.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")
            for end in (self.here, self.there)
        ]

    def now_s(self) -> float:
        return self.clock.boottime_s()

    def looks(self) -> tuple[Socket | None, Socket | None]:
        found = {one.cookie: one for one in self.sockets.by_port().get(self.port, ())}
        here, there = (found.get(cookie) for cookie in self.cookies)
        return here, there

    def packet(self, of: str) -> None:
        sender, receiver = (self.here, self.there) if of == "here" else (self.there, self.here)
        sender.sendall(PACKET)
        assert receiver.recv(len(PACKET), socket.MSG_WAITALL) == PACKET

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self, end: str, *, answered: bool) -> None:
        closed, other = (self.here, self.there) if end == "here" else (self.there, self.here)
        closed.shutdown(socket.SHUT_RDWR)
        closed.close()
        if answered:
            other.close()


class Simulated:
    def __init__(self) -> None:
        self.kernel, self.dead = Kernel(1), set[str]()
        self.tcp = Tcp(self.kernel, lambda sender: not self.dead)
        self.tcp.opened(("here", "there"))

    def now_s(self) -> float:
        return self.kernel.now_s

    def looks(self) -> tuple[Socket | None, Socket | None]:
        here, there = (self._look(end) for end in ("here", "there"))
        return here, there

    def _look(self, end: str) -> Socket | None:
        found = self.tcp.sockets(end, "other", self.now_s(), 1.0) or ()
        return next(iter(found), None)

    def packet(self, of: str) -> None:
        """One goes each way each second, whatever is asked for."""
        self.kernel.run_until(self.now_s() + PACKET_EVERY_S)

    def rest(self, seconds: float) -> None:
        self.dead.add("there")
        self.tcp.settle()
        self.kernel.run_until(self.now_s() + seconds)

    def close(self, end: str, *, answered: bool) -> None:
        self.dead = set() if answered else {"there"}
        self.tcp.closed(end)


@pytest.fixture(params=["simulated", "linux"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    if request.param == "simulated":
        yield Simulated()
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as here:
            there, _ = server.accept()
            with there:
                yield Linux(here, there, port)


def both(connection: Connection) -> tuple[Socket, Socket]:
    here, there = connection.looks()
    assert here is not None
    assert there is not None
    return here, there


def until_arrived(connection: Connection, bytes_: int) -> Socket:
    """The acknowledgement may be a moment late."""
    for _ in range(100):
        here, _ = both(connection)
        if here.arrived >= bytes_:
            return here
        time.sleep(SOON_S / 100)
    raise AssertionError(f"not acknowledged: {here}")


def test_an_open_connection_is_there_at_both_ends(connection: Connection) -> None:
    connection.packet("here")
    here, there = both(connection)
    assert here.cookie != there.cookie
    assert here.receives
    assert there.receives


def test_what_was_sent_after_a_look_arrives_and_shows_as_more_than_had_been_sent(
    connection: Connection,
) -> None:
    connection.packet("here")
    before, _ = both(connection)
    connection.packet("here")
    after = until_arrived(connection, before.sent + LEAST_BYTES)
    assert after.cookie == before.cookie
    assert after.sent >= after.arrived


def test_without_a_packet_nothing_more_arrives(connection: Connection) -> None:
    connection.packet("here")
    before, _ = both(connection)
    sent = until_arrived(connection, before.sent).sent
    connection.rest(0.3)
    here, _ = both(connection)
    assert here.arrived < sent + LEAST_BYTES


def test_what_came_last_is_dated_no_earlier_than_it_came(connection: Connection) -> None:
    connection.packet("here")
    earliest_s = connection.now_s()
    connection.packet("here")
    latest_s = connection.now_s()
    connection.rest(0.5)
    _, there = both(connection)
    assert earliest_s <= there.heard_at_s <= latest_s + MARGIN_S


def test_one_that_is_closed_receives_nothing_and_keeps_its_date(connection: Connection) -> None:
    """The other end does not answer."""
    connection.packet("here")
    connection.rest(0.3)
    _, before = both(connection)
    connection.close("there", answered=False)
    _, there = connection.looks()
    assert there is not None
    assert not there.receives
    assert there.heard_at_s == pytest.approx(before.heard_at_s, abs=0.05)


async def test_one_that_is_answered_is_gone(connection: Connection) -> None:
    connection.packet("here")
    connection.close("there", answered=True)
    for _ in range(100):
        if connection.looks()[1] is None:
            return
        await asyncio.sleep(SOON_S / 100)
    raise AssertionError("it is there still")
