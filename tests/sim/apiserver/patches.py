"""Patches of raw objects, by copy on write: what a patch leaves alone stays the very same value.

So whatever is the same value before and after need not be looked at again: not by the schema, not
by the rules, and a patch that changes nothing gives back the object itself. Stored objects are
never changed in place. Called by ``handler``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_ABSENT: Any = object()


class CannotApply(Exception):
    """A test of a JSON patch does not hold, or a path leads nowhere."""


def shared(old: Any, new: Any) -> Any:
    """``new``, made of the parts of ``old`` wherever they are equal."""
    if old is new:
        return old
    if isinstance(old, dict) and isinstance(new, dict):
        same = len(old) == len(new)
        made = {}
        for name, value in new.items():
            before = old.get(name, _ABSENT)
            made[name] = value if before is _ABSENT else shared(before, value)
            same = same and made[name] is before
        return old if same else made
    if isinstance(old, list) and isinstance(new, list):
        items = [shared(a, b) for a, b in zip(old, new, strict=False)] + new[len(old) :]
        same = len(old) == len(items) and all(a is b for a, b in zip(old, items, strict=True))
        return old if same else items
    return old if type(old) is type(new) and old == new else new


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return shared(old, patch)
    base: Mapping[str, Any] = old if isinstance(old, dict) else {}
    made: dict[str, Any] | None = None
    for name, value in patch.items():
        before = base.get(name, _ABSENT)
        after = _ABSENT if value is None else merged(before, value)
        if after is before:
            continue
        if made is None:
            made = dict(base)
        if after is _ABSENT:
            del made[name]
        else:
            made[name] = after
    if made is not None:
        return made
    return old if isinstance(old, dict) else {}


def json_patched(obj: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """RFC 6902, as far as it is asked for: test, add, replace, remove.

    As the library of the API server does it: what is not there may be replaced, and is null, if
    that in which it would be is there.

    Raises:
        CannotApply: nothing of it is done.
    """
    for operation in operations:
        path = operation["path"]
        steps = [s.replace("~1", "/").replace("~0", "~") for s in path.split("/")[1:]]
        match operation["op"]:
            case "test":
                if not _is(obj, steps, operation.get("value")):
                    raise CannotApply(f"testing value {path} failed")
            case "add" | "replace" | "remove" as what:
                obj = _edited(obj, steps, what, operation.get("value"))
            case other:
                raise NotImplementedError(f"a JSON patch with {other}")
    return obj


def _is(obj: Any, steps: Sequence[str], value: Any) -> bool:
    for step in steps[:-1]:
        obj = _child(obj, step)
    if value is None and isinstance(obj, dict):
        return obj.get(steps[-1]) is None
    return bool(_child(obj, steps[-1]) == value)


def _child(obj: Any, step: str) -> Any:
    try:
        return obj[int(step)] if isinstance(obj, list) else obj[step]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CannotApply(f"there is no {step}") from error


def _edited(obj: Any, steps: Sequence[str], what: str, value: Any) -> Any:
    """A copy in which that place is another."""
    step, *rest = steps
    if rest:
        before = _child(obj, step)
        after = _edited(before, rest, what, value)
        if after is before:
            return obj
        made = obj.copy()
        made[int(step) if isinstance(obj, list) else step] = after
        return made
    if isinstance(obj, list):
        return _edited_list(obj, step, what, value)
    if not isinstance(obj, dict):
        raise CannotApply(f"there is no {step}")
    before = obj.get(step, _ABSENT)
    if what == "remove" and before is _ABSENT:
        raise CannotApply(f"there is no {step}")
    made = dict(obj)
    if what == "remove":
        del made[step]
        return made
    made[step] = value if before is _ABSENT else shared(before, value)
    return obj if made[step] is before else made


def _edited_list(obj: list[Any], step: str, what: str, value: Any) -> list[Any]:
    made = list(obj)
    if what == "add":
        made.insert(len(made) if step == "-" else int(step), value)
        return made
    _child(obj, step)
    if what == "remove":
        del made[int(step)]
    else:
        made[int(step)] = value
    return made
