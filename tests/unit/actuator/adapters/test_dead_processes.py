"""What is seen of the threads of a killed process, and what that proves."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tandem_actuator.adapters.libvirt.dead_processes import execute_nothing, thread_in
from tandem_actuator.adapters.libvirt.ports import ProcessText
from tandem_actuator.adapters.libvirt.qemu_processes import Qemu, QemuProcesses

FLAGS, EXITS, SIGNALED = 0x400040, 0x4, 0x400
KILL = 0x100


def stat(state: str, *, flags: int = FLAGS, pending: int = 0, threads: int = 2) -> bytes:
    """As the kernel has it: the name may hold anything, and a signal is a bit of field 31."""
    before = f"300 (qemu) (x) {state} 1 1 1 0 -1 {flags} 0 0 0 0 1 2 0 0 20 0 {threads} 0 99"
    return f"{before} 4096 100 18446744073709551615 1 1 0 0 0 {pending} 0 0 0 0\n".encode()


LEADER = stat("Z", flags=FLAGS | EXITS | SIGNALED)
HELD_ONE = stat("D", pending=KILL)


@dataclass
class Processes:
    """By number: what the first look finds of the first thread, and the second of all. ``calls``:
    of which processes each.
    """

    first: dict[int, bytes]
    second: dict[int, list[bytes]]
    calls: list[list[int]] = field(default_factory=list)

    async def first_threads(self, pids: Collection[int]) -> dict[int, bytes]:
        self.calls.append(sorted(pids))
        return {pid: stat for pid, stat in self.first.items() if pid in pids}

    async def threads(self, pids: Collection[int]) -> dict[int, list[bytes]]:
        self.calls.append(sorted(pids))
        return {pid: stats for pid, stats in self.second.items() if pid in pids}


def seen(first: list[bytes], second: list[bytes]) -> bool:
    """A process that the first look finds with these threads, and the second with those."""
    processes = Processes({300: first[0]} if first else {}, {300: second})
    return asyncio.run(execute_nothing(cast(Any, processes), [300])) == {300}


def both(*stats: bytes) -> bool:
    return seen(list(stats), list(stats))


def test_what_a_kernel_says_of_one_that_is_held() -> None:
    """Linux 6.18: its first thread is a zombie, one waits for a write."""
    assert both(LEADER, HELD_ONE)
    assert both(stat("D", pending=KILL), HELD_ONE)


def test_one_that_is_on_its_way_out_of_the_kernel_is_out_wherever_it_waits() -> None:
    """As the last one does for writes that QEMU did not wait for."""
    leaving = stat("D", flags=FLAGS | EXITS | SIGNALED)
    assert both(LEADER, leaving)


@pytest.mark.parametrize(
    "other",
    [
        stat("R", pending=KILL),
        stat("S", pending=KILL),
        stat("t", pending=KILL),
        stat("D"),
        stat("S"),
        stat("R", flags=FLAGS | SIGNALED),
        b"301 (qemu) D 1",
        b"what is this",
    ],
)
def test_one_thread_that_may_execute_is_enough(other: bytes) -> None:
    assert not both(LEADER, HELD_ONE, other)
    assert not seen([LEADER, HELD_ONE], [other, HELD_ONE])


def test_one_that_ended_since_it_was_listed_is_out() -> None:
    assert seen([LEADER, HELD_ONE], [LEADER, b""])


@pytest.mark.parametrize("second", [[LEADER], [HELD_ONE], [], [LEADER, HELD_ONE, HELD_ONE]])
def test_a_list_that_lacks_threads_proves_nothing(second: list[bytes]) -> None:
    """Those that end while it is made may hide others."""
    assert not seen([LEADER, HELD_ONE], second)


def test_all_are_counted_as_one_is_seen_to_die() -> None:
    three = stat("D", pending=KILL, threads=3)
    assert not seen([three], [LEADER, HELD_ONE])
    assert seen([three], [LEADER, HELD_ONE, HELD_ONE])


@pytest.mark.parametrize(
    "alive",
    [
        [stat("S"), stat("D")],
        [stat("D"), stat("D")],
        [stat("S", flags=FLAGS | EXITS), stat("D", flags=FLAGS | EXITS)],
        [stat("D", pending=0x4000), stat("D", pending=0x4000)],
        [],
    ],
)
def test_what_does_not_die_of_a_signal_may_make_more_threads(alive: list[bytes]) -> None:
    assert not both(*alive)


def test_hundreds_are_looked_at_together_and_only_who_was_killed_twice() -> None:
    killed, alive = range(300, 500), range(500, 600)
    first = dict.fromkeys(killed, LEADER) | {pid: stat("S") for pid in alive}
    second = {pid: [LEADER, HELD_ONE] for pid in (*killed, *alive)}
    processes = Processes(first, second)
    found = asyncio.run(execute_nothing(cast(Any, processes), [*killed, *alive]))
    assert found == set(killed)
    assert processes.calls == [[*killed, *alive], [*killed]]


def test_one_that_dumps_its_core_has_not_told_the_others_yet() -> None:
    """It is marked before they are sent SIGKILL, and they may go on to make threads."""
    exits = stat("Z", flags=FLAGS | EXITS)
    assert not seen([stat("R", flags=FLAGS | SIGNALED), exits], [exits, exits])


class Qemus:
    """Processes of one domain, by number; their first threads wait too, so they have arguments."""

    def __init__(self, **threads: list[bytes]) -> None:
        self.by_pid = {int(name[1:]): stats for name, stats in threads.items()}

    async def select(self, wanted: Callable[[ProcessText], Qemu | None]) -> list[Qemu]:
        line = b"qemu\0-name\0guest=ns.g\0-uuid\0u\0"
        found = (wanted(ProcessText(pid, line)) for pid in self.by_pid)
        return [each for each in found if each is not None]

    async def first_threads(self, pids: Collection[int]) -> dict[int, bytes]:
        return {pid: stats[0] for pid, stats in self.by_pid.items() if pid in pids and stats}

    async def threads(self, pids: Collection[int]) -> dict[int, list[bytes]]:
        return {pid: stats for pid, stats in self.by_pid.items() if pid in pids and stats}


@pytest.mark.parametrize("alive", [[], [stat("S"), stat("R")]])
def test_of_a_domain_all_must_be_dead(alive: list[bytes]) -> None:
    dead = [stat("D", pending=KILL), HELD_ONE]
    for processes, told in (
        (Qemus(p1=dead), True),
        (Qemus(p1=dead, p2=dead), True),
        (Qemus(p1=dead, p2=alive), False),
        (Qemus(p1=alive, p2=dead), False),
    ):
        qemus = QemuProcesses(cast(Any, processes))
        assert asyncio.run(qemus.dead(["ns.g", "ns.h"])) == {"ns.g": told}


def test_what_cannot_be_read_is_no_thread() -> None:
    assert thread_in(b"") is None
    assert thread_in(b"300 (x) S 1 1 1 0 -1 many") is None
