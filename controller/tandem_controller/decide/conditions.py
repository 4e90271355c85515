"""Conditions and merge patches: how a wanted status becomes the smallest write, or none.

Called by the modules that make statuses. Lists are replaced whole, as a merge patch does; a
field that goes away is written as null. ``""`` and absent are the same.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, Protocol

from tandem_api.meta import Condition, Model, Resource, condition, moment
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Notice, Refusal, World

GOOD_IF_FALSE = frozenset({"Paused"})


@lru_cache(maxsize=4096)
def _condition(
    kind: str, status: Literal["True", "False", "Unknown"], reason: Reason, message: str
) -> Condition:
    """Most of them are said again in every plan, and they never change."""
    return Condition(type=kind, status=status, reason=reason, message=message)


def good(kind: str, reason: Reason, message: str = "") -> Condition:
    """A condition that holds."""
    return _condition(kind, "True", reason, message)


def bad(kind: str, refusal: Refusal) -> Condition:
    """A condition that does not hold, and why."""
    return _condition(kind, "False", refusal.reason, refusal.message)


def unknown(kind: str, reason: Reason, message: str) -> Condition:
    """A condition of which nobody can tell."""
    return _condition(kind, "Unknown", reason, message)


def judged(kind: str, refusal: Refusal | None, reason: Reason, message: str = "") -> Condition:
    """True unless something refuses."""
    return good(kind, reason, message) if refusal is None else bad(kind, refusal)


def spec_valid(world: World, obj: Resource) -> Condition:
    """Whether the spec can be acted upon."""
    problems = world.problems_of(obj)
    refusal = Refusal(Reason.SPEC_INVALID, "; ".join(map(str, problems))) if problems else None
    return judged("SpecValid", refusal, Reason.SPEC_VALID)


class Timed(Protocol):
    """What knows what time it is, for people; a world does. It is asked only where it is needed."""

    @property
    def wall(self) -> str: ...


def stamped(
    old: Iterable[Condition], new: Iterable[Condition], generation: int, now: Timed
) -> tuple[Condition, ...]:
    """The new conditions, with the time of the last change of their status."""
    before = {each.type: each for each in old}
    return tuple(_stamp(before.get(each.type), each, generation, now) for each in new)


def _stamp(old: Condition | None, new: Condition, generation: int, now: Timed) -> Condition:
    kept = old.last_transition_time if old is not None and old.status == new.status else None
    since = now.wall if moment(kept) is None else kept
    if old is not None and old.status == new.status and since == kept:
        told = (old.reason, old.message, old.observed_generation)
        if told == (new.reason, new.message, generation):
            return old  # most of them, in most plans
    return new.model_copy(update={"last_transition_time": since, "observed_generation": generation})


def transitions(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> tuple[Notice, ...]:
    """A notice for each condition whose status changed. The first one ever only if it is bad."""
    notices = []
    for each in new:
        before = condition(old, each.type)
        good_is, bad_is = ("False", "True") if each.type in GOOD_IF_FALSE else ("True", "False")
        was = before.status if before else good_is
        if each.status != was:
            notices.append(Notice(each.status == bad_is, each.reason, _told(each)))
    return tuple(notices)


def _told(each: Condition) -> str:
    state = {"True": "", "False": "not ", "Unknown": "perhaps not "}[each.status]
    return each.message or f"{state}{each.type}".capitalize()


def patch(old: Model, new: Model) -> dict[str, Any]:
    """The merge patch that turns one into the other; empty if they are the same."""
    if old == new:
        return {}
    return _difference(old.wire(), new.wire())


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in old.keys() | new.keys():
        before, after = _value(old, key), _value(new, key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found[key] = _difference(before, after)
        else:
            found[key] = after
    return found


def _value(mapping: Mapping[str, Any], key: str) -> Any:
    value = mapping.get(key)
    return None if value == "" else value
