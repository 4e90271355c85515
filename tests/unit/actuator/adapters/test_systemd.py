"""What systemd is told, over a real socket like its own."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.adapters.linux.systemd import supervisor
from tandem_actuator.ports.supervisor import Unsupervised

USEC = {"WATCHDOG_USEC": "2000000"}


class Manager:
    """systemd's end: whatever came since it was looked at last."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        came = []
        while True:
            try:
                came.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return came

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(path: str) -> Iterator[Manager]:
    made = Manager(path)
    yield made
    made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_that_it_is_ready_is_told_once(manager: Manager, path: str, clock: FakeClock) -> None:
    told = supervisor({"NOTIFY_SOCKET": path}, clock)
    for _ in range(3):
        told.ready()
    assert manager.heard() == ["READY=1"]


def test_and_again_until_somebody_takes_it(path: str, clock: FakeClock) -> None:
    told = supervisor({"NOTIFY_SOCKET": path, **USEC}, clock)
    told.ready()
    told.alive()
    manager = Manager(path)
    told.ready()
    told.alive()
    assert manager.heard() == ["READY=1", "WATCHDOG=1"]
    manager.close()


def test_signs_of_life_come_four_times_within_the_limit(
    manager: Manager, path: str, clock: FakeClock
) -> None:
    """However often it is said: systemd has other things to do."""
    told = supervisor({"NOTIFY_SOCKET": path, **USEC}, clock)
    came = 0
    for _ in range(100):
        told.alive()
        came += len(manager.heard())
        clock.advance(0.125)
    assert came == 25


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "0"}, {**USEC, "WATCHDOG_PID": str(os.getpid() + 1)}],
    ids=["no limit", "none", "another's"],
)
def test_nobody_counts_them_without_a_limit_for_this_process(
    manager: Manager, path: str, clock: FakeClock, environment: dict[str, str]
) -> None:
    told = supervisor({"NOTIFY_SOCKET": path, **environment}, clock)
    told.alive()
    told.ready()
    assert manager.heard() == ["READY=1"]


def test_its_own_limit_counts(manager: Manager, path: str, clock: FakeClock) -> None:
    own = {"NOTIFY_SOCKET": path, **USEC, "WATCHDOG_PID": str(os.getpid())}
    supervisor(own, clock).alive()
    assert manager.heard() == ["WATCHDOG=1"]


def test_nothing_that_it_starts_can_speak_for_it(path: str, clock: FakeClock) -> None:
    environment = {"NOTIFY_SOCKET": path, **USEC, "WATCHDOG_PID": "1", "HOME": "/root"}
    supervisor(environment, clock)
    assert environment == {"HOME": "/root"}


def test_without_systemd_nobody_is_told(clock: FakeClock) -> None:
    told = supervisor({}, clock)
    assert isinstance(told, Unsupervised)


def test_one_that_takes_nothing_holds_nobody_up(
    manager: Manager, path: str, clock: FakeClock
) -> None:
    """Its queue is full: what it did not take is told once it takes it again."""
    filling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filling.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            filling.sendto(b"full", path)
    told = supervisor({"NOTIFY_SOCKET": path, **USEC}, clock)
    told.ready()
    told.alive()
    assert set(manager.heard()) == {"full"}
    told.alive()
    told.ready()
    assert manager.heard() == ["WATCHDOG=1", "READY=1"]
    filling.close()


def test_its_socket_may_have_a_name_instead_of_a_path(clock: FakeClock) -> None:
    name = f"tandem-test-{os.getpid()}"
    manager = Manager("\0" + name)
    supervisor({"NOTIFY_SOCKET": f"@{name}"}, clock).ready()
    assert manager.heard() == ["READY=1"]
    manager.close()
