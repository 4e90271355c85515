"""How long nobody led, from looks at the election's Lease. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Seen:
    """One look: when, who holds the Lease (nobody: an empty name), and its version."""

    at_s: float
    holder: str
    version: str


def new_leader_s(seen: Sequence[Seen], old: str, since_s: float) -> float | None:
    """Seconds from `since_s` until another than `old` held it; None if nobody else has."""
    later = (look for look in seen if look.at_s >= since_s and look.holder not in ("", old))
    first = next(later, None)
    return first.at_s - since_s if first else None


def longest_gap_s(seen: Sequence[Seen], since_s: float, until_s: float) -> float:
    """The longest time without a renewal by anybody, between two moments.

    A leader renews once a second: about that much is the least that there can be.
    """
    renewals: list[float] = [since_s]
    version = ""
    for look in seen:
        if look.version == version:
            continue
        version = look.version
        if look.holder and since_s <= look.at_s <= until_s:
            renewals.append(look.at_s)
    renewals.append(until_s)
    return max(later - earlier for earlier, later in pairwise(renewals))
