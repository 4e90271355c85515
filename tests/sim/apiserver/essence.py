"""What a status's policy can tell of a write: the same verdict and words, of a thousandth of it.

Evaluating one of those policies takes 0.5 to 5 ms of a processor, and hosts write statuses all the
time; but nearly all writes are alike to it. It asks which fields and which hosts' entries have
changed, and only of an authority that has changed what it says. So all else is left out, and a
changed value is told by whether it is empty. What was said of the same essence before need not be
worked out again. Tests hold a policy's word on an essence against its word on the whole write.

Called by ``policies``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tandem_api.crd.policy import Policy
from tandem_api.registry import KINDS

Raw = Mapping[str, Any]
NOWHERE: Raw = {}
EMPTY: tuple[Any, ...] = (None, "", 0, [], {})
"""Absent, null and these are the same to a policy."""
BEFORE, AFTER = "before", "after"
"""In place of a value that has changed, and of what it is now."""


@dataclass(frozen=True)
class _Looks:
    """Where a policy's expressions look, by the names of the fields. ``entries``: of the status,
    one of each host.
    """

    entries: str
    authority: frozenset[str]
    spec: frozenset[str]
    metadata: frozenset[str]


@cache
def _looks_of(name: str, text: str, plural: str) -> _Looks:
    (info,) = (each for each in KINDS if each.plural == plural)
    return _Looks(
        info.hosts_entries,
        frozenset(re.findall(r"variables\.(?:was|now)\.(\w+)", text)),
        frozenset(re.findall(r"object\.spec\.(\w+)", text)),
        frozenset(re.findall(r"object\.metadata\.(\w+)", text)),
    )


def essence(policy: Policy, text: str, old: Raw, new: Raw) -> tuple[Raw, Raw]:
    """The two objects as far as they matter. ``text``: all expressions of the policy."""
    looks = _looks_of(policy.name, text, policy.resource.partition("/")[0])
    before, after = old.get("status") or NOWHERE, new.get("status") or NOWHERE
    was, now = dict[str, Any](), dict[str, Any]()
    for field in before.keys() | after.keys():
        one, other = before.get(field), after.get(field)
        if one is other or one == other:
            continue
        if field == "authority":
            one, other = _of_authority(one, other, looks.authority)
            was["claimants"] = before.get("claimants")
            now["claimants"] = after.get("claimants")
        elif field == looks.entries:
            one, other = _of_entries(one, other)
        elif field != "claimants":
            one, other = _kind(one, BEFORE), _kind(other, AFTER)
        was[field], now[field] = one, other
    swapped = "authority" in was
    return _whole(old, was, looks, swapped), _whole(new, now, looks, swapped)


def _whole(raw: Raw, status: Raw, looks: _Looks, swapped: bool) -> Raw:
    spec = {k: v for k, v in raw["spec"].items() if k in looks.spec} if swapped else {}
    metadata = {k: v for k, v in raw["metadata"].items() if k in looks.metadata}
    return {"metadata": metadata, "spec": spec, "status": status}


def _kind(value: Any, changed: str) -> Any:
    return value if value in EMPTY else changed


def _of_entries(one: Any, other: Any) -> tuple[Any, Any]:
    """Whose entry has changed."""
    had, has = one or NOWHERE, other or NOWHERE
    names = [k for k in had.keys() | has.keys() if (k in had, had.get(k)) != (k in has, has.get(k))]
    if not names:
        return one, other  # one is absent, and one is empty
    return {k: BEFORE for k in names if k in had}, {k: AFTER for k in names if k in has}


def _of_authority(one: Any, other: Any, looked_at: frozenset[str]) -> tuple[Any, Any]:
    if not one or not other:
        return one, other
    was = {k: v for k, v in one.items() if k in looked_at}
    now = {k: v for k, v in other.items() if k in looked_at}
    # That something else has changed, such as who asked, makes it a swap as well.
    return (was, now) if was != now else (was | {BEFORE: 1}, now | {AFTER: 1})
