"""The processes of a simulated machine: QEMUs, what else is in /proc, and the taps that they hold.

``ProcessTable`` is the actuator's Processes port. A QEMU that was
killed has no arguments any more; while a write of its guest is pending it is a zombie with one more
thread, which nothing ends. Processes have few numbers, so that they are soon used again. Called by
``libvirtd``.
"""

import asyncio
import random
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tandem_actuator.adapters.libvirt.ports import ProcessText
from tandem_actuator.ports import PortError

T = TypeVar("T")

After = Callable[[float, Callable[[], None]], object]
"""Let something happen after so many seconds, as long as the machine lives."""

LOOK_S = (0.0005, 0.005)
EXIT_S = (0.02, 0.2)
STILL_STUCK_S = 0.1
FIRST_PID, PIDS = 300, 40
THREADS_WHEN_STUCK = 2
ALIVE, DYING = 0x400040, 0x40840C
"""A thread's flags, as a kernel has them; on its way to its end by a signal."""
SIGKILL_PENDING = 0x100
OTHERS = (
    ProcessText(1, b"/sbin/init\0"),
    ProcessText(2, b"", b"2 (kthreadd) S" + b" 0" * 16 + b" 1 0"),
    ProcessText(3, b"", b"3 (cut in a char\xc3) Z" + b" 0" * 16 + b" 1 0"),
    ProcessText(4, b"grep\0-name\0guest=site.guest\0"),
)


class Guest(Protocol):
    """What a QEMU executes, as ``guest.Run`` does.

    ``executing``: its processors run. ``heard``: its network is not cut. ``asked_to_stop``: it was
    told to power off. Who makes it lets it tell when it has begun or ended.
    """

    executing: bool
    heard: bool
    asked_to_stop: bool

    def ask_to_stop(self) -> None: ...

    @property
    def stuck(self) -> bool:
        """Whether a write is pending."""
        ...

    def open(self) -> None:
        """Take the disks. Raises: CommandFailed."""
        ...

    def begin(self) -> None: ...

    def go_on(self) -> None:
        """Its processors do, after they stood still."""
        ...

    def end(self, why: str) -> None: ...

    def close(self) -> None:
        """Let go of the disks."""
        ...


@dataclass(eq=False)
class Idle:
    """A guest that does nothing but what it is told, for tests that need no disk.

    ``obeys``: it powers off when it is asked to. ``stuck``: a write of its is pending.
    """

    name: str
    obeys: bool = True
    stuck: bool = False
    executing: bool = False
    heard: bool = True
    opened: bool = False
    ended: str = ""
    asked_to_stop: bool = False
    told: Callable[[], None] = field(default=lambda: None)

    def ask_to_stop(self) -> None:
        self.asked_to_stop = True
        if self.obeys:
            self.end("shut down")

    def open(self) -> None:
        self.opened = True

    def begin(self) -> None:
        self.executing = True
        self.told()

    def go_on(self) -> None:
        self.told()

    def end(self, why: str) -> None:
        if self.executing:
            self.executing, self.ended = False, why
            self.told()

    def close(self) -> None:
        self.opened = False


def tell(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """Let a program hear of something, unless it has ended."""
    if not loop.is_closed():
        loop.call_soon(action)


class Reply(asyncio.Future[T]):
    """What a program waits for. It comes once, whether anybody waits for it or not."""

    def answer(self, result: T) -> None:
        if not self.done() and not self.get_loop().is_closed():
            self.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.done() and not self.get_loop().is_closed():
            self.set_exception(error)
            self.exception()  # seen: nobody may be waiting any more


@dataclass(eq=False)
class Process:
    """A QEMU. ``begun``: its guest executes, or has; before, QEMU waits for libvirt. ``killed``: it
    was sent SIGKILL, which its processors may not have heard of yet.
    """

    pid: int
    domain: str
    uuid: str
    guest: Guest
    taps: list[str]
    begun: bool = False
    killed: bool = False
    dying: bool = False
    gone: bool = False
    when_gone: list[Callable[[], None]] = field(default_factory=list)

    @property
    def text(self) -> ProcessText:
        if self.dying:
            return ProcessText(self.pid, b"", self.threads[0])
        arguments = ("qemu-system-x86_64", "-name", f"guest={self.domain},debug-threads=on")
        line = "\0".join((*arguments, "-uuid", self.uuid, "-S", ""))
        return ProcessText(self.pid, line.encode())

    @property
    def threads(self) -> list[bytes]:
        """QEMU's first one, which is a zombie soon, and one that waits for a write, or executes."""
        if self.dying:
            return [
                _stat(self.pid, "Z", DYING, 0),
                _stat(self.pid + 1, "D", ALIVE, SIGKILL_PENDING),
            ]
        pending = SIGKILL_PENDING if self.killed else 0
        return [_stat(self.pid, "S", ALIVE, pending), _stat(self.pid + 1, "R", ALIVE, pending)]


def _stat(thread: int, state: str, flags: int, pending: int) -> bytes:
    """As proc(5) has it, as far as anybody reads it."""
    fields = [state, *"00000", str(flags), *"0000000000", str(THREADS_WHEN_STUCK), *"0000000000"]
    return f"{thread} (qemu-system-x86) {' '.join(fields)} {pending} 0\n".encode()


class Handle:
    """A pidfd."""

    def __init__(self, table: "ProcessTable", process: Process | None) -> None:
        self._table, self._process = table, process
        table.handles += 1

    def send(self, number: int) -> None:
        if self._table.unkillable:
            raise PortError(f"cannot send signal {number}: Operation not permitted")
        if self._process is not None and number == signal.SIGKILL:
            self._table.signals.append(self._process.domain)
            self._table.signalled(self._process)

    async def ended(self) -> None:
        process = self._process
        if process is None:
            await asyncio.Event().wait()
        elif not process.gone:
            reply: Reply[None] = Reply()
            process.when_gone.append(lambda: reply.answer(None))
            await reply

    def close(self) -> None:
        self._table.handles -= 1


class ProcessTable:
    """Every process of the machine.

    ``hangs``: /proc answers nobody. ``no_handles``: a process cannot be opened, as without file
    descriptors. ``unkillable``: a signal is refused. ``hides_taps``: open files do not tell of
    taps. ``hears_late_s``: so long a killed one executes on.
    ``loses_pid_files``: libvirt's are not there. ``next_pid``: what the next one is to have.
    ``handles``: how many are open; ``looks_answered``: how often it was looked at;
    ``signals``: the domains whose QEMUs were sent one.
    """

    def __init__(self, after: After, chance: random.Random) -> None:
        self.hangs = self.no_handles = self.unkillable = False
        self.hides_taps = self.loses_pid_files = False
        self.next_pid: int | None = None
        self.look_s, self.hears_late_s = LOOK_S, 0.0
        self.handles = 0
        self.signals: list[str] = []
        self.by_pid: dict[int, Process] = {}
        self.others: list[ProcessText] = list(OTHERS)
        self.tap_is_down: dict[str, bool] = {}
        self._after, self._chance = after, chance
        self._parked: list[Callable[[], None]] = []
        self._taps_made = self.looks_answered = 0

    # --- the port

    async def select(self, wanted: Callable[[ProcessText], T | None]) -> list[T]:
        def scan() -> list[T]:
            texts = [*self.others, *(process.text for process in self.by_pid.values())]
            return [found for text in texts if (found := wanted(text)) is not None]

        return await self._answered(scan)

    async def look(self, pid: int) -> ProcessText | None:
        return await self._answered(lambda: self._text(pid))

    async def open(self, pid: int) -> Handle | None:
        if self.no_handles:
            raise PortError(f"cannot open process {pid}: Too many open files")
        process = self.by_pid.get(pid)
        if process is None and all(pid != other.pid for other in self.others):
            return None
        return Handle(self, process)

    async def first_threads(self, pids: Collection[int]) -> Mapping[int, bytes]:
        processes = self._of(pids)
        return await self._answered(lambda: {each.pid: each.threads[0] for each in processes})

    async def threads(self, pids: Collection[int]) -> Mapping[int, list[bytes]]:
        processes = self._of(pids)
        return await self._answered(lambda: {each.pid: each.threads for each in processes})

    async def taps(self, pid: int) -> set[str]:
        def look() -> set[str]:
            process = self.by_pid.get(pid)
            return set(process.taps) if process and not self.hides_taps else set()

        return await self._answered(look)

    async def pid_files(self) -> Mapping[str, bytes]:
        def look() -> dict[str, bytes]:
            if self.loses_pid_files:
                return {}
            return {one.domain: b"%d\n" % one.pid for one in self.by_pid.values()}

        return await self._answered(look)

    async def status_file(self, name: str) -> bytes | None:
        def look() -> bytes | None:
            found = [one for one in self.by_pid.values() if one.domain == name]
            cards = (f"<interface><target dev='{tap}'/></interface>" for tap in _taps_of(found))
            text = f"<domstatus><domain><devices>{''.join(cards)}</devices></domain></domstatus>"
            return text.encode() if found else None

        return await self._answered(look)

    async def _answered(self, look: Callable[[], T]) -> T:
        """It looks after some time, and what it saw comes some time later."""
        reply: Reply[T] = Reply()

        def now() -> None:
            if self.hangs:
                self._parked.append(now)
                return
            try:
                seen = look()
            except Exception as error:
                reply.fail(error)
                return
            self._after(self._chance.uniform(*self.look_s) / 2, lambda: told(seen))

        def told(seen: T) -> None:
            self.looks_answered += 1
            reply.answer(seen)

        self._after(self._chance.uniform(*self.look_s) / 2, now)
        return await reply

    def _of(self, pids: Collection[int]) -> list[Process]:
        return [self.by_pid[pid] for pid in pids if pid in self.by_pid]

    def _text(self, pid: int) -> ProcessText | None:
        if pid in self.by_pid:
            return self.by_pid[pid].text
        return next((other for other in self.others if other.pid == pid), None)

    # --- what happens in the machine

    def launch(self, domain: str, uuid: str, guest: Guest, cards: int = 1) -> Process:
        """libvirt starts a QEMU. Raises: CommandFailed, it cannot have its disks."""
        guest.open()
        taps = [f"vnet{self._taps_made + index}" for index in range(cards)]
        self._taps_made += cards
        self.tap_is_down |= dict.fromkeys(taps, False)
        process = Process(self._free_pid(), domain, uuid, guest, taps)
        self.by_pid[process.pid] = process
        return process

    def _free_pid(self) -> int:
        if self.next_pid is not None:
            pid, self.next_pid = self.next_pid, None
            return pid
        every = range(FIRST_PID, FIRST_PID + PIDS + 2 * len(self.by_pid))
        return self._chance.choice([pid for pid in every if pid not in self.by_pid])

    def signalled(self, process: Process) -> None:
        """SIGKILL is pending, and soon heard of."""
        if self.unkillable:
            return
        process.killed = True
        if self.hears_late_s:
            self._after(self.hears_late_s, lambda: self._heard(process))
        else:
            self._heard(process)

    def _heard(self, process: Process) -> None:
        """Its processors have left what they executed."""
        if process.begun and process.guest.executing:
            process.guest.end("destroyed")
        else:
            self._ended(process)

    def to_be_killed(self, process: Process) -> None:
        """SIGKILL is sent, and reaches it as soon as anything does."""
        if self.unkillable:
            self._parked.append(lambda: self.signalled(process))
        else:
            self.signalled(process)

    def changed(self, domain: str) -> None:
        """A guest of this domain has begun or ended."""
        for process in list(self.by_pid.values()):
            if process.domain == domain and process.begun and not process.guest.executing:
                self._ended(process)

    def _ended(self, process: Process) -> None:
        """It executes nothing any more, and goes away once nothing holds it."""
        if not process.dying and not process.gone:
            process.dying = True
            self._after(self._chance.uniform(*EXIT_S), lambda: self._leave(process))

    def _leave(self, process: Process) -> None:
        if process.gone:
            return
        if process.begun and process.guest.stuck:
            self._after(STILL_STUCK_S, lambda: self._leave(process))
            return
        process.gone = True
        process.guest.close()
        del self.by_pid[process.pid]
        for tap in process.taps:
            del self.tap_is_down[tap]
        for told in process.when_gone:
            told()

    def bury(self) -> None:
        """What is dead and held by nothing goes away now."""
        for process in list(self.by_pid.values()):
            if process.dying:
                self._leave(process)

    def mend(self) -> None:
        """It answers, and what is killed dies."""
        self.hangs = self.no_handles = self.unkillable = False
        self.hears_late_s = 0.0
        parked, self._parked = self._parked, []
        for action in parked:
            action()


def _taps_of(processes: list[Process]) -> list[str]:
    return [tap for process in processes for tap in process.taps]
