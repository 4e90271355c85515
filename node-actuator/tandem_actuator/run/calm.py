"""What was decided of a mirror, where only a change ends it: nothing is decided anew until then.

Of hundreds of guests nearly all run, in sync, as they did at the last look, and are looked at for
the guard's sake. Held by ``workload``, called by ``loop``.
"""

from tandem_actuator.core.decision import Decision
from tandem_actuator.core.mirror.readings import tells_the_same
from tandem_actuator.core.model import View
from tandem_actuator.core.order import is_calm
from tandem_api.reasons import Reason


class Calm:
    """Of one mirror."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._reason: Reason | None = None

    def note(self, view: View, decision: Decision) -> None:
        """This was decided, from that."""
        self._view = view if is_calm(view, decision) else None
        self._reason = decision.reason

    def lasts(self, view: View, reason: Reason) -> bool:
        """Whether the same would be decided again. ``reason``: what stands on the mirror now."""
        if self._view is None or reason is not self._reason:
            return False
        if not tells_the_same(view, self._view):
            self._view = None
            return False
        self._view = view
        return True
