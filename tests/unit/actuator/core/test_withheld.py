"""A host that cannot be given what it asks for does not claim to be well."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core.mirror.withheld import GRANT_PATIENCE_S, why_withheld
from tandem_api.kinds.guest import Failover, Policy
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import A, B, authority, drbd, frozen, standalone, view

from .authority.verdicts import EARLIER_BOOT

NOW_S = 1000.0
HOLDOFF_S = 2
SINCE_S = NOW_S - HOLDOFF_S - GRANT_PATIENCE_S

WITHOUT_DATA = drbd(
    Role.PRIMARY, Connection.CONNECTING, disk=DiskState.DISKLESS, suspended=True, at_s=NOW_S
)


def why(state: Any = None, *, since_s: float | None = SINCE_S, **changes: Any) -> str:
    held_by = changes.pop("held_by", authority())
    seen = state or frozen()
    running = {"domain": DomainState.RUNNING, "frozen_since_s": since_s, **changes}
    return why_withheld([view(held_by, seen, **running)], NOW_S)


def test_an_owner_that_has_asked_for_long() -> None:
    assert why() == "leave to go on alone was not to be had in time for ns/m"


@pytest.mark.parametrize(
    "changes",
    [
        {"since_s": SINCE_S + 0.1},
        {"since_s": None},
        {"held_by": standalone()},
        {"held_by": authority(B)},
        {"held_by": authority(owner_instance=EARLIER_BOOT)},
        {"held_by": None},
        {"state": WITHOUT_DATA},
    ],
    ids=["not-yet", "not-frozen", "may-already", "taken-over", "earlier-boot", "new", "no-disk"],
)
def test_nobody_else(changes: dict[str, Any]) -> None:
    """Nothing is gained where the other host may not take over, or another rule has its turn."""
    assert why(**changes) == ""


@pytest.mark.parametrize("why_not", ["paused", "by-hand", "no-guest"])
def test_not_where_nobody_would_take_it_over(why_not: str) -> None:
    """It would be stopped for nothing."""
    known = view(authority(), frozen(), frozen_since_s=SINCE_S, domain=DomainState.RUNNING)
    guest = known.guest
    assert guest is not None
    assert why_withheld([known], NOW_S)
    by_hand = guest.spec.model_copy(update={"failover": Failover(policy=Policy.MANUAL)})
    paused = guest.status.model_copy(update={"paused_since": "2026-01-01T00:00:00Z"})
    others = {
        "paused": guest.model_copy(update={"status": paused}),
        "by-hand": guest.model_copy(update={"spec": by_hand}),
        "no-guest": None,
    }
    assert why_withheld([replace(known, guest=others[why_not])], NOW_S) == ""


def test_each_of_them_is_named_and_one_is_enough() -> None:
    stuck = view(authority(), frozen(), frozen_since_s=SINCE_S, domain=DomainState.RUNNING)
    well = view(authority(), frozen(), frozen_since_s=NOW_S, domain=DomainState.RUNNING)
    assert why_withheld([well, stuck, well], NOW_S) == why()
    assert why_withheld([well], NOW_S) == ""


def test_of_which_host_it_is_said() -> None:
    """The other one, which is not the owner, goes on to send its own."""
    other = view(authority(A), frozen(), host=B, frozen_since_s=SINCE_S)
    assert why_withheld([other], NOW_S) == ""
