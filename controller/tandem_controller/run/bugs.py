"""Tells of bugs that a wall has met: in the log, in a metric, and to the next plans.

A bug that is met with each plan is logged at once and then ever more seldom, and counted each time.
One that was met in a write, which a plan cannot meet, stands for a while: so long the object is
behind a wall, and then the write is tried again. Called by ``execute``, ``loop`` and ``metrics``.
"""

import logging
from collections.abc import Callable

from tandem_base.bugs import Bug, Subject, Telling
from tandem_controller.edge.metrics import Metrics

log = logging.getLogger(__name__)

STANDS_S = (5.0, 300.0)
"""It doubles from the first to the last, each time that the write meets it again."""


class Bugs:
    """Of one replica. ``now_s``: monotonic."""

    def __init__(self, metrics: Metrics, now_s: Callable[[], float]) -> None:
        self._metrics, self._now_s = metrics, now_s
        self._telling = Telling()
        self._standing: dict[Subject, tuple[Bug, float, float]] = {}
        metrics.objects.met = self.tell

    def tell(self, bug: Bug) -> None:
        self._metrics.internal_error(bug)
        if self._telling.is_due(bug, self._now_s()):
            log.critical(
                "bug: %s=%s: %s; nothing is decided about it, all else goes on",
                bug.kind,
                bug.key,
                bug.where,
                exc_info=bug.error,
            )

    def met_in_a_write(self, bug: Bug) -> None:
        first_s, last_s = STANDS_S
        before = self._standing.get(bug.subject)
        pause_s = min(last_s, 2 * before[2]) if before else first_s
        self._standing[bug.subject] = (bug, self._now_s() + pause_s, pause_s)

    def written(self, subject: Subject) -> None:
        """What failed so has succeeded."""
        standing = self._standing.get(subject)
        if standing is not None and self._now_s() >= standing[1]:
            del self._standing[subject]

    def standing(self) -> tuple[Bug, ...]:
        now_s = self._now_s()
        return tuple(bug for bug, until_s, _ in self._standing.values() if now_s < until_s)
