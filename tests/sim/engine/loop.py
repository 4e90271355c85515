"""An asyncio event loop whose time is simulated: one program's, driven by the kernel.

The product's coroutines run on it unmodified. Every turn and every timer is an entry of the
kernel, under the program's group: stopped with it (a crash: nothing of it ever runs again), held
back while it is paused, late if it is starved, at the pace of its clock. Between two turns anything
can happen. There are no threads and no sockets on it. Called by ``actuator`` and ``controller``.
"""

import asyncio
import contextlib
import contextvars
from asyncio import events, futures
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, NoReturn, TypeVar, cast

from sim.engine.kernel import Command, Group, Kernel, Signal
from tandem_actuator.ports import PortError

T = TypeVar("T")
_ENDS_SLEEP: Callable[..., object] = futures._set_result_unless_cancelled  # type: ignore[attr-defined]
TASKS_KEPT = 256
UNWINDINGS = 100
FOR_EVER_S = 1e6


class Turn:
    """A callback that is to be run; what asyncio calls a handle."""

    __slots__ = ("_arguments", "_callback", "_context", "_loop")

    def __init__(
        self,
        loop: "Loop",
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self._loop = loop
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments
        self._context = context or contextvars.copy_context()

    def cancel(self) -> None:
        self._callback, self._arguments = None, ()

    def cancelled(self) -> bool:
        return self._callback is None

    def run(self) -> None:
        """Within a turn of the loop."""
        callback = self._callback
        if callback is None:
            return
        try:
            self._context.run(callback, *self._arguments)
        except SystemExit as end:
            self._loop.end(end)

    def fall_due(self) -> None:
        """A timer's. That a sleep is over asks for no loop, and most timers are sleeps."""
        if self._callback is _ENDS_SLEEP:
            _ENDS_SLEEP(*self._arguments)
        elif self._callback is not None:
            with self._loop.running():
                self.run()


class Loop:
    """What asyncio asks of a loop, as far as the programs ask for it: anything else is an error.

    ``clock``: what the program's timers are counted on. ``on_end`` hears why the program ended
    by itself: None, or what it raised. ``late_s``: each turn comes later by up to so much.
    """

    def __init__(
        self,
        kernel: Kernel,
        group: Group,
        clock: Callable[[], float],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self.kernel, self.group, self.clock, self.on_end = kernel, group, clock, on_end
        self.late_s = 0.0
        self._ready: deque[Turn] = deque()
        self._turning = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = TASKS_KEPT
        self.ended = False
        kernel.loops.append(self)
        self.asyncio = cast(asyncio.AbstractEventLoop, self)

    @property
    def label(self) -> str:
        """Whose lines its log's are."""
        return self.group.name.partition("@")[2] or self.group.name

    def begin(self, program: Coroutine[Any, Any, object]) -> None:
        """Start the program; when it ends, ``on_end`` is told."""
        with self.running():
            main = self.create_task(program, name="main")
        main.add_done_callback(self._main_ended)

    def _main_ended(self, main: asyncio.Task[Any]) -> None:
        self.end(None if main.cancelled() else main.exception())

    def end(self, why: BaseException | None) -> None:
        """The program ends: nothing of it runs any more."""
        if not self.ended:
            self.ended = True
            self.group.stop()
            self.on_end(why)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within it this is the running loop. To say so is a system call each time."""
        before = events._get_running_loop()
        events._set_running_loop(self.asyncio)
        try:
            yield
        finally:
            events._set_running_loop(before)

    # -- what asyncio asks of a loop

    def time(self) -> float:
        return self.clock()

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Turn:
        turn = Turn(self, callback, args, context)
        self._ready.append(turn)
        if not self._turning:
            self._turning = True
            self._turn_later()
        return turn

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Turn:
        turn = Turn(self, callback, args, context)
        self.kernel.after(max(0.0, delay) + self._late(), self.group, turn.fall_due)
        return turn

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Turn:
        return self.call_later(when - self.clock(), callback, *args, context=context)

    def _late(self) -> float:
        return self.kernel.between(0.0, self.late_s) if self.late_s else 0.0

    def _turn_later(self) -> None:
        self.kernel.after(self._late(), self.group, self._turn)

    def _turn(self) -> None:
        """What was ready when the turn began, as a real loop does it."""
        ready, group = self._ready, self.group
        before = events._get_running_loop()
        events._set_running_loop(self.asyncio)
        try:
            for _ in range(len(ready)):
                ready.popleft().run()
                if not group.alive:
                    return
        finally:
            events._set_running_loop(before)
        self._turning = bool(ready)
        if ready:
            self._turn_later()

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self.asyncio)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> "asyncio.Task[Any]":
        """Tasks are kept: one of a program that crashed must not be tidied up by the collector,
        which would run what comes after its last step.
        """
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self.asyncio, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        if len(self._tasks) >= self._prune_at:
            self._tasks = [t for t in self._tasks if not t.done() or _is_unheard(t)]
            self._prune_at = 2 * len(self._tasks) + TASKS_KEPT
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: object, func: object, *args: object) -> NoReturn:
        raise NotImplementedError("a thread: it belongs behind a port")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.ended

    def is_closed(self) -> bool:
        return False

    def discard(self) -> None:
        """Nobody will look at this program any more: end what waits, whatever it still wants."""
        self.group.stop()
        with self.running():
            for task in self._tasks:
                if not task.done():
                    with contextlib.suppress(BaseException):
                        # Not close(): it leaves asynchronous generators within as running, which
                        # the collector then complains of.
                        for _ in range(UNWINDINGS):
                            task.get_coro().throw(asyncio.CancelledError())
            self._tasks.clear()
            self._ready.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task's exception that nobody has fetched: see ``unheard``."""

    def unheard(self) -> list[BaseException]:
        """What tasks ended with and nobody has fetched: bugs, which a real loop only logs.

        While turns wait, who would fetch it may be one of them, as in a starved program, or in one
        that was ended in the middle.
        """
        found: list[BaseException] = []
        if self._ready:
            return found
        for task in filter(_is_unheard, self._tasks):
            error = task.exception()
            assert error is not None
            found.append(error)
        return found


def _is_unheard(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and bool(task._log_traceback)


async def ended(kernel: Kernel, group: Group, program: Generator[Command, bool, T]) -> T:
    """A call into the kernel: it comes to its end, whatever becomes of the caller.

    Raises: PortError, as the call does.
    """
    over, results, errors = Signal(), list[T](), list[PortError]()

    def run() -> Generator[Command, bool, None]:
        try:
            results.append((yield from program))
        except PortError as error:
            errors.append(error)
        over.give()

    kernel.spawn(group, run())
    await given(over, FOR_EVER_S)
    if errors:
        raise errors[0]
    return results[0]


async def given(signal: Signal, timeout_s: float) -> bool:
    """Until the signal is given (→ True) or the time is over (→ False)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool] = loop.create_future()

    def settle(answer: bool) -> None:
        if not future.done():
            future.set_result(answer)

    timer = loop.call_later(timeout_s, settle, False)
    signal.waiting.append(lambda: settle(True))
    try:
        return await future
    finally:
        timer.cancel()
