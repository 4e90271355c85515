"""Whether the watches that feed the store are alive. kopf keeps them; this keeps an eye on kopf.

A watch can be dead without a word, and the controller would then see each step only when it lists
everything anew. kopf itself notices one on which nothing comes (``IDLE_S``). What it does not
notice:

* its own task for a kind has ended, and nobody begins another: no watch is opened any more;
* a watch that was opened and tells nothing: a list shows what it should have told;
* a watch from a version that is yet to come, since the server was restored from a backup: it tells
  nothing until that version is reached, and is opened from there for ever.

Fed by ``handlers`` (what kopf's session opens, what its watches tell) and by ``loop`` (what a list
shows). Pure: the caller counts, and begins anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

LIFE_S = 10
"""The server is asked to end each watch after so long. That is the sign of life of a quiet one."""
GRACE_S = 3.0
IDLE_S = LIFE_S + GRACE_S
"""A watch on which nothing came for so long is dead."""
ENDED_S = IDLE_S + 5.0
"""Longer than between the beginnings of two watches of a kind, if anybody begins them."""
BEHIND_S = 5.0
"""A watch that tells nothing for so long, though a list has shown news, is dead."""
ORDINARY_S = 1.5
"""How far from its time an ordinary end may be."""


class Restart(StrEnum):
    """Why a watch was begun anew. The first two kopf does by itself."""

    IDLE = "Idle"
    """Nothing came within the limit, not even its end."""
    BROKEN = "Broken"
    """It ended before its time: cut, or closed by the server."""
    ENDED = "Ended"
    """No watch of this kind was begun any more."""
    BEHIND = "Behind"
    """It did not tell what a list showed."""
    BACKWARDS = "Backwards"
    """It waits for versions that the server no longer has: a restore from a backup."""
    FAILED = "Failed"
    """kopf gave up."""


@dataclass(frozen=True)
class Watch:
    """What is known of one kind's watch. Versions as numbers, moments on a monotonic clock."""

    begun_s: float
    opened_s: float | None = None
    first_s: float = 0.0  # when the first one was opened
    told: int = 0
    told_s: float = 0.0
    due: int = 0
    due_s: float = 0.0
    backwards: bool = False


Watches = Mapping[str, Watch]


def begun(kinds: tuple[str, ...], now_s: float) -> Watches:
    """kopf begins, with a list and a watch of each kind."""
    return {kind: Watch(now_s) for kind in kinds}


def opened(watch: Watch, now_s: float) -> tuple[Watch, Restart | None]:
    """The server has answered to another watch; how the last one ended, unless in order."""
    ending = None
    if watch.opened_s is not None:
        lived_s = now_s - watch.opened_s
        if lived_s < LIFE_S - ORDINARY_S:
            ending = Restart.BROKEN
        elif lived_s > LIFE_S + ORDINARY_S:
            ending = Restart.IDLE
    first_s = now_s if watch.opened_s is None else watch.first_s
    return replace(watch, opened_s=now_s, first_s=first_s), ending


def told(watch: Watch, version: int, now_s: float) -> Watch:
    """An object came, from kopf's first list or on the watch."""
    return replace(watch, told=max(watch.told, version), told_s=now_s)


def listed(watch: Watch, told_before: int, newest: int, version: int, now_s: float) -> Watch:
    """A list by quorum was answered: its newest object, and the version that it is of.

    ``told_before``: what the watch had told when the list was asked for. A watch that is alive
    cannot have told of more than such a list has.
    """
    due_s = now_s if watch.due <= watch.told else watch.due_s
    backwards = watch.backwards or told_before > version
    return replace(watch, due=max(watch.due, newest), due_s=due_s, backwards=backwards)


def failure(watches: Watches, now_s: float) -> tuple[str, Restart] | None:
    """The first kind whose watch is dead, and how, as far as kopf will not notice by itself."""
    for kind, watch in watches.items():
        if watch.backwards:
            return kind, Restart.BACKWARDS
        if _is_behind(watch, now_s):
            return kind, Restart.BEHIND
        if now_s - (watch.opened_s or watch.begun_s) > ENDED_S:
            return kind, Restart.ENDED
    return None


def _is_behind(watch: Watch, now_s: float) -> bool:
    """Only one that was opened can be: kopf's first list may take longer on a slow server.

    To begin anew then would list everything once more, and make the server slower.
    """
    if watch.opened_s is None or watch.due <= watch.told:
        return False
    return now_s - max(watch.due_s, watch.told_s, watch.first_s) > BEHIND_S
