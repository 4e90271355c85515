"""What our own code should not have raised, as a value: about which object, and in words.

A wall around an object turns an exception into a ``Bug``, so that it costs that object alone. What
is asked to end (cancellation, SystemExit) is no Exception and passes through every wall. Called by
both programs, pure; ``Telling`` says how often a bug is logged.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FrameType, TracebackType

from tandem_api.meta import ObjectKey

OURS = "tandem_"
AGAIN_S = (60.0, 3600.0)
"""Before the traceback of one bug is logged again; it doubles from the first to the last."""

Subject = tuple[str, ObjectKey]
"""The kind and the key of an object."""


@dataclass(frozen=True)
class Bug:
    """``error``: with its traceback, for the log. Two bugs are the same if people are told the
    same: an exception's own words may name a moment or an address, and would change with each.
    """

    kind: str
    key: ObjectKey
    where: str
    error: Exception = field(compare=False)

    @property
    def subject(self) -> Subject:
        return self.kind, self.key


def bug(kind: str, key: ObjectKey, error: Exception) -> Bug:
    return Bug(kind, key, where(error), error)


def where(error: BaseException) -> str:
    """``KeyError at setup.py:83``: its type, and the last line of our own that it went through."""
    last = ""
    for frame, line in _frames(error.__traceback__):
        if not last or str(frame.f_globals.get("__name__", "")).startswith(OURS):
            last = f" at {frame.f_code.co_filename.rpartition('/')[2]}:{line}"
    return f"{type(error).__name__}{last}"


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


class Walled(AbstractContextManager[None]):
    """What raises within costs no more than it has to: ``met`` hears of it, ``passed`` of the rest.

    A plan has one round every object, several times: so it is no generator.
    """

    __slots__ = ("_met", "_passed")

    def __init__(
        self, met: Callable[[Exception], None], passed: Callable[[], None] | None = None
    ) -> None:
        self._met, self._passed = met, passed

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None and self._passed is not None:
            self._passed()
        if not isinstance(error, Exception):
            return False
        self._met(error)
        return True


def wall(kind: str, key: ObjectKey, met: Callable[[Bug], None]) -> AbstractContextManager[None]:
    """What raises within costs this object alone: ``met`` hears of it."""
    return Walled(lambda error: met(bug(kind, key, error)))


class Telling:
    """How often the log tells of each bug: at once, and then ever more seldom."""

    def __init__(self) -> None:
        # Without the exception: it holds on to all that its frames had, such as a whole plan.
        self._told: dict[tuple[Subject, str], tuple[float, float]] = {}

    def is_due(self, each: Bug, now_s: float) -> bool:
        (first_s, last_s), which = AGAIN_S, (each.subject, each.where)
        until_s, pause_s = self._told.get(which, (now_s, first_s))
        if now_s < until_s:
            return False
        self._told[which] = (now_s + pause_s, min(last_s, 2 * pause_s))
        return True
