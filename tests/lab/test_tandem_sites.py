"""Tandem in the lab: sites die, return, stall, and are emptied for maintenance."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from .deployed import GUEST, TAKEOVER_BOUND_S, Deployed, guest_ended, repower, was_reset

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

PAUSE_S = 60.0
# Several times W, counted from when the shutdown begins.
LINGERS = (
    "systemd-run --quiet -p KillMode=none -p SendSIGKILL=no"
    """ sh -c 'trap "" TERM; exec sleep 15'"""
)
STEPS = ("lastHeartbeat", "leaseLost", "assigned", "authorityWon", "promoted", "domainStarted")


def test_a_site_dies_and_returns_in_both_directions(tandem: Deployed) -> None:
    for _ in range(2):
        owner, other = tandem.ends()
        killed_s = time.monotonic()
        owner.kill()
        first_s = tandem.wait_running_at(other, killed_s, TAKEOVER_BOUND_S)
        assert first_s - killed_s < TAKEOVER_BOUND_S
        (boot,) = tandem.boots_since(killed_s)
        last = tandem.lines(host=owner)[-1]
        assert boot.found is not None
        assert last.number is None or last.number <= boot.found

        takeover = tandem.guest()["lastTakeover"]
        assert (takeover["source"], takeover["target"]) == (owner.name, other.name)
        assert takeover["reason"] == "LeaseLost"
        _check_steps(tandem)
        authority = tandem.authority()
        assert (authority["owner"], authority["mode"]) == (other.name, "Standalone")

        owner.start(wait=False)
        tandem.wait_redundant()
        assert tandem.ends()[0].name == other.name
        assert len(tandem.boots_since(killed_s)) == 1


@pytest.fixture
def with_agents(tandem: Deployed) -> Iterator[Deployed]:
    tandem.deployment.give_fence_agents()
    yield tandem
    for host in tandem.lab.hosts:
        none = '{"spec": {"fenceAgent": null}}'
        tandem.deployment.kubectl("patch", "host", host.name, "--type=merge", "-p", none)


def test_a_site_dies_and_its_fence_agent_says_so(with_agents: Deployed) -> None:
    tandem = with_agents
    owner, other = tandem.ends()
    killed_s = time.monotonic()
    owner.kill()
    tandem.wait_running_at(other, killed_s, TAKEOVER_BOUND_S)
    takeover = tandem.guest()["lastTakeover"]
    assert (takeover["source"], takeover["reason"]) == (owner.name, "PoweredOff")
    (boot,) = tandem.boots_since(killed_s)
    last = tandem.lines(host=owner)[-1]
    assert boot.found is not None
    assert last.number is None or last.number <= boot.found
    owner.start(wait=False)
    tandem.wait_redundant()
    assert tandem.ends()[0].name == other.name


def test_an_isolated_host_is_switched_off(with_agents: Deployed) -> None:
    tandem = with_agents
    owner, other = tandem.ends()
    cut_s = time.monotonic()
    links = [tandem.lab.link(name) for name in ("management", "replication")]
    for link in links:
        link.cut(owner.name)
    tandem.wait_running_at(other, cut_s, TAKEOVER_BOUND_S)
    assert tandem.guest()["lastTakeover"]["reason"] == "PoweredOff"
    assert not owner.is_up
    for link in links:
        link.heal(owner.name)
    owner.start(wait=False)
    tandem.wait_redundant()


def test_both_sites_die_at_once(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    killed_s = time.monotonic()
    for host in (owner, other):
        host.kill()
    time.sleep(2.0)
    for host in (owner, other):
        host.start(wait=False)
    tandem.wait_running_at(owner, killed_s, 120.0)
    tandem.wait_redundant()
    assert tandem.ends()[0].name == owner.name
    assert not tandem.lines(killed_s, other)


def test_a_host_that_stalls_for_a_minute_does_not_go_on_where_it_was(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    boots, paused_s = len(owner.boots()), time.monotonic()
    owner.pause()
    first_s = tandem.wait_running_at(other, paused_s, TAKEOVER_BOUND_S)
    time.sleep(max(0.0, paused_s + PAUSE_S - time.monotonic()))

    owner.resume()
    tandem.wait("the old host stops its guest", lambda: guest_ended(owner, boots), 30.0)
    repower(owner, boots)
    tandem.wait_redundant()
    assert tandem.ends()[0].name == other.name
    assert not tandem.lines(first_s, owner), "the guest went on where it had been"


def test_maintenance_drains_a_site_and_failback_brings_the_guest_back(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    # The counter guest does not listen to the power button: its plug is pulled.
    preferred = {"placement": {"preferredSite": owner.spec.site}, "shutdownTimeoutSeconds": 1}
    tandem.patch("guest", GUEST.name, preferred)
    moved_s = time.monotonic()
    tandem.patch("site", owner.spec.site, {"maintenance": True})
    tandem.wait_running_at(other, moved_s)
    assert len(tandem.boots_since(moved_s)) == 1
    assert tandem.authority()["mode"] == "Mirrored"
    status = tandem.wait_guest("unprotected", lambda s: s["protected"] == "False")
    protected = next(c for c in status["conditions"] if c["type"] == "Protected")
    assert protected["reason"] == "Maintenance"
    assert tandem.raw("site", owner.spec.site)["status"]["phase"] == "Maintenance"

    # Other tests have had it taken over from here, and each time it would wait longer.
    forgotten = json.dumps({"status": {"recentTakeovers": None}})
    where = ("guest", "-n", GUEST.namespace, GUEST.name, "--subresource=status")
    tandem.deployment.kubectl("patch", *where, "--type=merge", "-p", forgotten)
    back_s = time.monotonic()
    tandem.patch("guest", GUEST.name, {"failback": {"policy": "Automatic", "afterSeconds": 1}})
    tandem.patch("site", owner.spec.site, {"maintenance": False})
    tandem.wait_running_at(owner, back_s)
    tandem.wait_redundant()
    assert len(tandem.boots_since(back_s)) == 1


def test_a_host_that_is_shut_down_with_its_guest_is_taken_over_from(tandem: Deployed) -> None:
    """Nothing stops the guest in order: it is as if the host had lost its power."""
    owner, other = tandem.ends()
    boots, off_s = len(owner.boots()), time.monotonic()
    owner.run(["systemctl", "poweroff"])
    tandem.wait_running_at(other, off_s, TAKEOVER_BOUND_S)
    tandem.wait("it is off, or was reset", lambda: was_reset(owner, boots), 30.0)
    owner.restart(wait=False)
    tandem.wait_redundant()
    assert tandem.ends()[0].name == other.name
    assert len(tandem.boots_since(off_s)) == 1


def test_a_host_that_was_emptied_is_shut_down_in_order(tandem: Deployed) -> None:
    """Its guest goes on elsewhere, and no watchdog bites, although something takes long to end."""
    owner, other = tandem.ends()
    tandem.patch("guest", GUEST.name, {"shutdownTimeoutSeconds": 1})
    moved_s = time.monotonic()
    tandem.patch("host", owner.name, {"maintenance": True})
    tandem.wait_running_at(other, moved_s)
    tandem.wait("it is empty", lambda: _drained(tandem, owner.name), 60.0)
    boots, off_s = len(owner.boots()), time.monotonic()
    said = owner.console_log.stat().st_size
    owner.shell(LINGERS)
    owner.run(["systemctl", "poweroff"])
    tandem.wait("it is off", lambda: not owner.is_up, 60.0)
    assert len(owner.boots()) == boots
    with owner.console_log.open("rb") as console:
        console.seek(said)
        assert b"softdog: Initiating" not in console.read()
    tandem.wait_counting()
    assert not tandem.boots_since(off_s)
    owner.start(wait=False)
    tandem.patch("host", owner.name, {"maintenance": False})
    tandem.wait_redundant()


def _drained(tandem: Deployed, host: str) -> bool:
    conditions = tandem.raw("host", host)["status"]["conditions"]
    return any(one["type"] == "Drained" and one["status"] == "True" for one in conditions)


def _check_steps(tandem: Deployed) -> None:
    """The steps that people are told are those of this takeover, in their order."""

    def look() -> list[datetime] | None:
        steps = tandem.guest()["lastTakeover"]["steps"]
        if not all(step in steps for step in STEPS):
            return None
        return [datetime.fromisoformat(steps[step]) for step in STEPS]

    moments = tandem.wait("every step is told", look, 15.0)
    assert moments == sorted(moments), dict(zip(STEPS, moments, strict=True))
