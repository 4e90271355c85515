"""Makes plans in a thread of their own, so that nothing else waits for one.

Thousands of guests take a plan seconds. Whoever read leases on the same loop would find a gap after
each plan, and a gap starts every count again: no host would ever count as lost. The thread shares
the processor with the loop, and takes nothing else from it.

What each plan has judged is kept for the next one (``decide.memory``).

Called by ``loop``, through its port. It decides nothing.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial

from tandem_controller.decide.memory import Memory
from tandem_controller.decide.plan import plan_again
from tandem_controller.decide.world.model import Plan, Snapshot


class Maker:
    """Makes plans one after another, each with the memory of the last one that was made."""

    def __init__(self) -> None:
        self._memory = Memory()

    def __call__(self, snapshot: Snapshot) -> Plan:
        plan, self._memory = plan_again(snapshot, self._memory)
        return plan


class ThreadPlanner:
    """See ports.Planner. ``make`` is the plan's maker, and as slow as it likes."""

    def __init__(self, make: Callable[[Snapshot], Plan] | None = None) -> None:
        self._make = make or Maker()

    async def plan(self, snapshot: Snapshot) -> Plan:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Plan] = loop.create_future()

        def work() -> None:
            try:
                plan = self._make(snapshot)
            except BaseException as error:  # a bug in a rule ends the program, wherever it runs
                _tell(loop, made, partial(made.set_exception, error))
            else:
                _tell(loop, made, partial(made.set_result, plan))

        # A daemon: a replica that is told to stop does not wait for a plan that nobody wants.
        threading.Thread(target=work, name="plan", daemon=True).start()
        return await made


def _tell(
    loop: asyncio.AbstractEventLoop, made: asyncio.Future[Plan], settle: Callable[[], None]
) -> None:
    """To the loop, which may have ended meanwhile, or not wait any more."""

    def unless_gone() -> None:
        if not made.done():
            settle()

    if not loop.is_closed():
        loop.call_soon_threadsafe(unless_gone)
