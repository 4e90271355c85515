"""A wall around every mirror: what raises in its rules, procedures or reports stops it alone.

While its wall stands a mirror is looked at, reported and guarded, and nothing else: it is not
started, promoted, nor let go on alone. Its last bug is told with its report.

No wall stands around the heartbeat and the guard: what raises there ends the program. Called by
``loop`` and ``driver``.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from tandem_actuator.core.wall import Place
from tandem_actuator.ports import Clock
from tandem_actuator.run.workload import Unit
from tandem_api.reasons import Reason
from tandem_base.bugs import Bug, Telling, Walled, bug

log = logging.getLogger(__name__)


class Walls:
    """Of one host. ``counted`` hears of each bug that is met."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._telling = clock, Telling()
        self.counted: Callable[[Bug], None] = lambda bug: None

    def around(self, unit: Unit, place: Place) -> AbstractContextManager[None]:
        """What raises within stops this mirror alone, and is told on it."""
        return Walled(partial(self.met, unit, place), partial(unit.wall.passes, place))

    def met(self, unit: Unit, place: Place, error: Exception) -> None:
        found, now_s = bug("Mirror", unit.mirror.key, error), self._clock.boottime_s()
        unit.wall.meets(place, found, now_s)
        unit.reason, unit.message = Reason.INTERNAL_ERROR, words(found)
        self.counted(found)
        if self._telling.is_due(found, now_s):
            log.critical(
                "bug: %s: %s in its %s; the mirror is guarded, and nothing else is done with it",
                unit.mirror.key,
                found.where,
                place,
                exc_info=error,
            )

    def why(self, unit: Unit) -> str:
        """Why nothing may be done with this mirror now; empty if nothing speaks against it."""
        found = unit.wall.why(self._clock.boottime_s())
        return words(found) if found is not None else ""

    def may_try(self, unit: Unit, place: Place) -> bool:
        """Whether this may be done now: no bug was met elsewhere, and none here just now."""
        return unit.wall.may_try(place, self._clock.boottime_s())


def words(bug: Bug) -> str:
    """For people."""
    return (
        f"Tandem failed on this mirror ({bug.where}): it is guarded, and nothing else is done with"
        " it. This is a bug in Tandem: the log of tandem-actuator there has the traceback. It is"
        " tried again, ever more seldom; restarting that actuator tries it at once"
    )


def crash_on_bug(task: asyncio.Task[None]) -> None:
    """For what stands outside of every wall, as the guard's fence and a mirror's loop do: an
    exception in it is a bug, and must not be silent.
    """
    if not task.cancelled() and task.exception() is not None:
        log.critical("bug in %s", task.get_name(), exc_info=task.exception())
        raise SystemExit(70)
