"""A wall around every object: what raises while one is judged costs that one alone.

Nothing is decided about an object behind a wall. It is still there: it keeps its port, its minors,
its MAC addresses and its memory, and what it names is not free. That it is behind one is told on
the object by the least that there is to write (``least_status``), which asks nothing of the code
that raised. Pure; the loop logs and counts what is found.

Called by ``plan``, ``setup``, ``loop`` and ``metrics``.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import Resource
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_base.bugs import Bug, Subject, Walled
from tandem_base.bugs import bug as bug_of
from tandem_controller.decide.conditions import Timed, bad, patch, stamped
from tandem_controller.decide.world.model import Notice, Refusal, WriteStatus

JUDGED = "Judged"
"""The condition that an object behind a wall has, False, and no other object."""


class Walls:
    """The walls of one plan; ``known``: what was found on the way to it."""

    def __init__(self, known: Iterable[Bug] = ()) -> None:
        self._bugs: dict[Subject, Bug] = {}
        for each in known:
            self.found(each)

    def found(self, bug: Bug) -> None:
        """The first one of an object is the one that is told."""
        self._bugs.setdefault(bug.subject, bug)

    def around(self, obj: Resource) -> AbstractContextManager[None]:
        return Walled(partial(self._met, obj))

    def _met(self, obj: Resource, error: Exception) -> None:
        self.found(bug_of(type(obj).__name__, obj.key, error))

    def __len__(self) -> int:
        return len(self._bugs)

    def of(self, obj: Resource) -> Bug | None:
        """What was found about this object so far."""
        if not self._bugs:
            return None
        return self._bugs.get((type(obj).__name__, obj.key))

    @property
    def bugs(self) -> tuple[Bug, ...]:
        return tuple(self._bugs.values())


def message(bug: Bug) -> str:
    """For people. It stays the same as long as the bug does."""
    return (
        f"Tandem failed on this object ({bug.where}), and decides nothing about it; what runs is"
        " left as it is. This is a bug in Tandem: the controller's log has the traceback. Other"
        " objects are not affected; to go on with this one, upgrade or downgrade the controller, or"
        " take back what was last changed on it"
    )


def least_status(obj: Resource, bug: Bug, now: Timed) -> WriteStatus | None:
    """That it is behind a wall, if it does not say so yet. This never raises."""
    refusal, news = Refusal(Reason.INTERNAL_ERROR, message(bug)), False
    kind = type(obj).__name__
    try:
        change = _change(obj, refusal, now)
        news = _reason_of(obj) != Reason.INTERNAL_ERROR
    except Exception:
        # It says less then, and each time anew: the server drops what changes nothing.
        change = _told(kind, refusal)
    if not change:
        return None
    notices = (Notice(True, refusal.reason, refusal.message),) if news else ()
    return WriteStatus(kind, obj.key, obj.metadata.uid, change, notices)


def _told(kind: str, refusal: Refusal) -> dict[str, object]:
    told: dict[str, object] = {"reason": str(refusal.reason), "message": refusal.message}
    if kind == "Guest":
        return {"phase": str(GuestPhase.BLOCKED), "protected": "False", **told}
    return told if kind == "Mirror" else {}


def _change(obj: Resource, refusal: Refusal, now: Timed) -> dict[str, object]:
    old = obj.status  # type: ignore[attr-defined]  # every kind has one
    # That it could be taken over was said by a judgement that there is none of any more.
    denied = ("Protected", JUDGED) if isinstance(obj, Guest) else (JUDGED,)
    others = [each for each in old.conditions if each.type not in denied]
    new = stamped(
        old.conditions, [bad(kind, refusal) for kind in denied], obj.metadata.generation, now
    )
    told = _told(type(obj).__name__, refusal)
    return patch(old, old.model_copy(update={**told, "conditions": (*others, *new)}))


def _reason_of(obj: Resource) -> str:
    if isinstance(obj, Guest | Mirror):
        return str(obj.status.reason)
    conditions = obj.status.conditions  # type: ignore[attr-defined]  # every kind has one
    return next((str(each.reason) for each in conditions if each.type == JUDGED), "")
