"""How fast the controller writes: when again, and what first.

* A server that asks to be left alone is, by everything, but for no longer than PATIENCE_S.
* What is sent again waits before it, longer each time, and not all in one moment.
* A status that the server refused is not sent with each plan: a thousand of them would use up the
  time that there is for statuses, and the others would never be written.
* A status that got no answer comes after the others the next time, for the same reason.

Called by ``execute``. It writes nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from tandem_api.meta import ObjectKey
from tandem_controller.decide.world.model import (
    DeleteMove,
    SetUpMirror,
    SwapAuthority,
    Write,
    WriteAssignment,
    WriteClaimant,
    WriteFinalizers,
    WriteStatus,
)
from tandem_controller.ports import ApiUnavailable

Subject = tuple[str, ObjectKey]

AGAIN_S = (0.1, 1.0)
"""Before something is sent again; it doubles from the first to the last, less up to a half."""
PATIENCE_S = 2.0
"""So long a server is left alone at most, whatever it asks for: guests may be waiting."""
REFUSED_S = (1.0, 60.0)
"""Before a status that was refused is sent again; it doubles from the first to the last."""


@dataclass(frozen=True)
class PutOff:
    """A status that was refused: not before ``until_s``, after a pause of ``pause_s``."""

    until_s: float
    pause_s: float


class Pace:
    """Of one replica's writes. ``now_s``: monotonic."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._alone_until_s = float("-inf")
        self._put_off: dict[Subject, PutOff] = {}
        self._unanswered: set[Subject] = set()

    # -- the server

    def pause_s(self, error: ApiUnavailable, tries: int, now_s: float) -> float:
        """Before what failed so is sent again; ``tries``: how often it already was."""
        asked_s = min(error.retry_after_s, PATIENCE_S)
        self._alone_until_s = max(self._alone_until_s, now_s + asked_s)
        first_s, last_s = AGAIN_S
        usual_s = min(last_s, first_s * (1 << min(tries, 10)))
        return max(asked_s, usual_s * self._chance.uniform(0.5, 1.0))

    def left_alone_s(self, now_s: float) -> float:
        """For how much longer it asked for that."""
        return max(0.0, self._alone_until_s - now_s)

    # -- statuses

    def in_turn(self, statuses: Sequence[WriteStatus], now_s: float) -> list[WriteStatus]:
        """Those that are to be sent, in this order. What nobody wants to write is forgotten."""
        wanted = {subject(write) for write in statuses}
        self._unanswered &= wanted
        self._put_off = {
            what: put_off
            for what, put_off in self._put_off.items()
            if what in wanted or now_s < put_off.until_s
        }
        due = [write for write in statuses if self._is_due(subject(write), now_s)]
        return sorted(due, key=lambda write: subject(write) in self._unanswered)

    def _is_due(self, what: Subject, now_s: float) -> bool:
        put_off = self._put_off.get(what)
        return put_off is None or now_s >= put_off.until_s

    def refused(self, write: Write, now_s: float) -> None:
        """The server does not take it as it is."""
        if not isinstance(write, WriteStatus):
            return
        first_s, last_s = REFUSED_S
        before = self._put_off.get(subject(write))
        pause_s = min(last_s, 2 * before.pause_s) if before else first_s
        self._put_off[subject(write)] = PutOff(now_s + pause_s, pause_s)
        self._unanswered.discard(subject(write))

    def failed(self, write: Write) -> None:
        """There was no answer."""
        if isinstance(write, WriteStatus):
            self._unanswered.add(subject(write))

    def succeeded(self, write: Write) -> None:
        """It is written."""
        if isinstance(write, WriteStatus):
            self._put_off.pop(subject(write), None)
            self._unanswered.discard(subject(write))


def subject(write: Write) -> Subject:
    """The object that is written to."""
    match write:
        case WriteAssignment() | WriteFinalizers():
            return "Guest", write.guest.key
        case SetUpMirror() | SwapAuthority() | WriteClaimant():
            return "Mirror", write.mirror.key
        case WriteStatus():
            return write.kind, write.key
        case DeleteMove():
            return "GuestMove", write.move.key
        case _:
            assert_never(write)
