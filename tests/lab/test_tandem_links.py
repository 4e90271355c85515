"""Tandem in the lab: links are cut, one at a time and together."""

from __future__ import annotations

import time

import pytest

from tandem_api.timing import DEFAULT
from tandem_lab.controlplane import ADMINISTRATOR

from .deployed import TAKEOVER_BOUND_S, Deployed, guest_ended, guest_runs_on, repower

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

# Holdoff of 2 s, detection of 2 s, a swap: longer than this the guest need not stand still.
FREEZE_BOUND_S = 20.0
NOTHING_HAPPENS_S = 14.0


def test_owner_cut_off_from_everything_is_fenced_before_the_other_starts(
    tandem: Deployed,
) -> None:
    owner, other = tandem.ends()
    boots = len(owner.boots())
    cut_s = time.monotonic()
    tandem.lab.link("management").cut(owner.name)
    tandem.lab.link("replication").cut(owner.name)

    first_s = tandem.wait_running_at(other, cut_s, TAKEOVER_BOUND_S)
    assert guest_ended(owner, boots), "the old host was not fenced"
    assert max(line.at_s for line in tandem.lines(host=owner)) < first_s
    assert first_s - cut_s < TAKEOVER_BOUND_S

    tandem.lab.link("management").heal()
    tandem.lab.link("replication").heal()
    repower(owner, boots)
    tandem.wait_redundant()
    assert tandem.ends()[0].name == other.name
    assert not tandem.lines(first_s, owner)


def test_replication_cut_leaves_the_guest_where_it_is_also_when_its_site_then_dies(
    tandem: Deployed,
) -> None:
    owner, other = tandem.ends()
    cut_s = time.monotonic()
    tandem.lab.link("replication").cut()
    tandem.wait(
        "owner may write alone",
        lambda: tandem.authority()["mode"] == "Standalone",
        FREEZE_BOUND_S + 10.0,
    )
    tandem.wait_counting()
    assert tandem.longest_gap_s(cut_s) < FREEZE_BOUND_S
    authority = tandem.authority()
    assert authority["owner"] == owner.name
    assert not authority["eligible"][other.name]["eligible"]
    status = tandem.wait_guest("unprotected", lambda s: s["protected"] == "False")
    assert (status["phase"], status["host"]) == ("Running", owner.name)

    owner.kill()
    status = tandem.wait_reason("PeerHoldsStandalone")
    assert status["phase"] == "Blocked"
    assert f"epoch: {authority['epoch']}" in status["message"]
    time.sleep(NOTHING_HAPPENS_S)
    assert tandem.guest()["reason"] == "PeerHoldsStandalone"
    assert not tandem.lines(cut_s, other), "a stale replica was started"
    assert not guest_runs_on(other)

    started_s = time.monotonic()
    owner.start(wait=False)
    tandem.wait_running_at(owner, started_s, 120.0)
    assert tandem.authority()["mode"] == "Standalone"
    tandem.lab.link("replication").heal()
    tandem.wait_redundant()
    assert tandem.ends()[0].name == owner.name


def test_replication_cut_while_the_api_is_down(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    boots = len(owner.boots())
    tandem.deployment.plane.pause()
    cut_s = time.monotonic()
    tandem.lab.link("replication").cut()
    tandem.wait("owner fences itself", lambda: guest_ended(owner, boots), 30.0)
    fenced_s = time.monotonic()
    # A fence that hangs on the frozen device ends in a reset: until then it is not over.
    time.sleep(DEFAULT.lease_wait_s)
    assert not tandem.lines(fenced_s), "the guest counts while nobody may"
    assert not tandem.lines(cut_s, other)

    repower(owner, boots)
    tandem.deployment.plane.resume()
    tandem.wait_guest(
        "guest runs again somewhere",
        lambda status: status.get("phase") == "Running" and bool(tandem.lines(fenced_s)),
        90.0,
    )
    tandem.wait_counting()
    tandem.lab.link("replication").heal()
    tandem.wait_redundant()


def test_management_of_the_owner_cut_moves_nothing(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    cut_s = time.monotonic()
    tandem.lab.link("management").cut(owner.name)
    status = tandem.wait_reason("PeerStillConnected")
    assert status["phase"] == "Unknown"
    time.sleep(5.0)
    assert tandem.guest()["reason"] == "PeerStillConnected"
    assert not tandem.lines(cut_s, other)
    assert not tandem.boots_since(cut_s)
    assert tandem.longest_gap_s(cut_s) < 3.0

    tandem.lab.link("management").heal()
    tandem.wait_redundant()
    assert tandem.ends()[0].name == owner.name
    assert not tandem.boots_since(cut_s)


def test_a_person_overrides_and_the_old_owner_rejoins_by_discarding(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    tandem.lab.link("replication").cut()
    tandem.wait(
        "owner may write alone",
        lambda: tandem.authority()["mode"] == "Standalone",
        FREEZE_BOUND_S + 10.0,
    )
    tandem.wait_counting()
    owner.kill()
    tandem.wait_reason("PeerHoldsStandalone")
    tandem.check_history()

    epoch = int(tandem.authority()["epoch"])
    order = {"host": other.name, "acceptDataLoss": True, "by": ADMINISTRATOR}
    tandem.patch("mirror", "bancuv3", {"override": {**order, "epoch": epoch - 1}})
    stale = tandem.wait(
        "a stale epoch is refused",
        lambda: next((e for e in tandem.events() if e["reason"] == "OverrideStale"), None),
        30.0,
    )
    assert f"it is epoch {epoch} now" in stale["message"]
    assert int(tandem.authority()["epoch"]) == epoch
    assert not guest_runs_on(other)

    last = max(n for line in tandem.lines(host=owner) if (n := line.number) is not None)
    tandem.forget_history()
    ordered_s = time.monotonic()
    tandem.patch("mirror", "bancuv3", {"override": {**order, "epoch": epoch}})
    tandem.wait_running_at(other, ordered_s)
    (boot,) = tandem.boots_since(ordered_s)
    assert boot.found is not None
    assert boot.found < last, "the test lost nothing, so it did not show what an override gives up"

    tandem.lab.link("replication").heal()
    owner.start(wait=False)
    tandem.wait_redundant()
    assert tandem.ends()[0].name == other.name
    assert len(tandem.boots_since(ordered_s)) == 1
