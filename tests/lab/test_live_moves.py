"""Tandem in the lab: a guest is sent to the other site as it runs, and something breaks just then.

Every fault comes while a part of the guest's memory is at the target and the rest is not. They
have a lab of their own, whose hosts can send guests; the guest is a real Linux.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tandem_lab.controlplane import ControlPlaneError, ProcessError
from tandem_lab.deployment import Deployment
from tandem_lab.history import history_problem, lines_of
from tandem_lab.lab import Lab
from tandem_lab.live_move import longest_gap_s, move_and_watch
from tandem_lab.prepare import prepare
from tandem_lab.settings import LabError, Settings
from tandem_lab.site_host import SiteHost
from tandem_lab.takeover import GuestName, wait_for

from .conftest import KEEP, LOCK_TIMEOUT_S
from .deployed import TAKEOVER_BOUND_S, Raw
from .moving import ARXIU, BESIDE, Moving, fast

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

# Holdoff of 2 s, detection of 2 s, a swap: longer than this the guest need not stand still.
FREEZE_BOUND_S = 20.0
COUNTS_ALONE_S = 5.0
# The guest itself pauses a tenth of a second; on two busy cores it may be much more.
GAP_BOUND_S = 5.0
SENT_WITHIN_S = 90.0
DRAINED_WITHIN_S = 150.0
GUESTS = (ARXIU, *BESIDE)


@pytest.fixture(scope="module")
def deployed_to_move(request: pytest.FixtureRequest) -> Iterator[Moving]:
    """Tandem in a lab of its own; `moving` is what tests use."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    prepare(print)
    shared = Settings.from_environment()
    own = replace(
        shared, state_dir=shared.state_dir / "live-moves", namespace=f"{shared.namespace}-live"
    )
    moving = Moving(Deployment(Lab(own), migration=True))
    with moving.lab.exclusive(LOCK_TIMEOUT_S):
        try:
            if KEEP and moving.lab.is_up and moving.deployment.plane.running():
                moving.adopt()
            else:
                moving.deploy()
            yield moving
        finally:
            if not KEEP:
                # After a failure the hosts' disks and logs stay, to be looked at.
                moving.deployment.down(wipe=not request.session.testsfailed)


@pytest.fixture
def moving(deployed_to_move: Moving) -> Iterator[Moving]:
    """The guest redundant and running; afterwards the numbers that it printed are judged."""
    moving = deployed_to_move
    try:
        moving.settle()
        for host in moving.lab.hosts:
            fast(host)
    except (LabError, ControlPlaneError, ProcessError) as error:
        print(f"deploying afresh: {error}\nthe logs until now: {moving.keep_logs()}")
        moving.deploy()
    moving.forget_history()
    yield moving
    moving.check_history()


def test_the_link_is_cut_in_the_middle(moving: Moving) -> None:
    began_s = time.monotonic()
    source, target = moving.send_half("cut")
    moving.lab.link("replication").cut()
    moving.wait(
        "the source may write alone",
        lambda: moving.authority()["mode"] == "Standalone",
        FREEZE_BOUND_S + 10.0,
    )
    authority = moving.authority()
    assert authority["owner"] == source.name
    assert not authority["eligible"][target.name]["eligible"]
    moving.wait_counting()
    assert moving.longest_gap_s(began_s) < FREEZE_BOUND_S
    moving.wait("its half is destroyed", lambda: not moving.domains(target), 30.0)
    ended = moving.wait_ended("cut")
    assert ended["phase"] == "Failed", ended

    moving.lab.link("replication").heal()
    moving.check_well(source)
    _check_never_left(moving, source.name, began_s)


def test_the_target_dies_in_the_middle(moving: Moving) -> None:
    began_s = time.monotonic()
    source, target = moving.send_half("target-dies")
    target.kill()
    moving.wait(
        "the source may write alone",
        lambda: moving.authority()["mode"] == "Standalone",
        FREEZE_BOUND_S + 10.0,
    )
    assert moving.authority()["owner"] == source.name
    moving.wait_counting()
    assert moving.longest_gap_s(began_s) < FREEZE_BOUND_S
    ended = moving.wait_ended("target-dies")
    assert ended["phase"] == "Failed", ended

    target.start(wait=False)
    moving.check_well(source)
    _check_never_left(moving, source.name, began_s)


@pytest.mark.long
def test_the_source_dies_in_the_middle(moving: Moving) -> None:
    """A takeover as any: what has arrived of its memory is destroyed, it starts from the disk."""
    source, target = moving.send_half("source-dies")
    killed_s = time.monotonic()
    source.kill()
    first_s = moving.wait_running_at(target, killed_s, 2 * TAKEOVER_BOUND_S)
    print(f"counts at {target.name} after {first_s - killed_s:.1f} s")
    (boot,) = moving.boots_since(killed_s)
    last = max(n for line in moving.lines(host=source) if (n := line.number) is not None)
    # One more than was printed, if it died between writing a number and printing it.
    assert boot.found is not None
    assert boot.found - last in (0, 1)
    assert "the file system is whole" in [line.text for line in moving.lines(killed_s, target)]
    authority = moving.authority()
    assert (authority["owner"], authority["mode"]) == (target.name, "Standalone")

    source.start(wait=False)
    moving.check_well(target)
    assert len(moving.boots_since(killed_s)) == 1
    assert not moving.lines(killed_s + 1.0, source)

    # What the target had noted of the move is over: its guest is nobody's half as it goes back.
    back_s = time.monotonic()
    moved = move_and_watch(moving.deployment, ARXIU, source.spec.site, "and-back")
    assert moved.problem is None
    moving.check_well(source)
    assert not moving.boots_since(back_s)


def test_the_api_server_dies_in_the_middle(moving: Moving) -> None:
    """It is not sent on, as it would arrive and stand still; it goes on, and is sent later."""
    began_s = time.monotonic()
    source, target = moving.send_half("api-dies")
    plane = moving.deployment.plane
    plane.kill_apiserver()
    killed_s = time.monotonic()
    moving.wait("its half is destroyed", lambda: not moving.domains(target), 60.0)
    time.sleep(COUNTS_ALONE_S)
    assert moving.domains(source) == {ARXIU.domain: "running"}
    assert moving.longest_gap_s(killed_s) < GAP_BOUND_S
    assert {line.host for line in moving.lines(began_s)} == {source.name}

    fast(source)
    back_s = time.monotonic()
    plane.start_apiserver()
    assert moving.wait_ended("api-dies")["phase"] == "Succeeded"
    moving.wait_running_at(target, back_s)
    moving.check_well(target)
    assert not moving.boots_since(began_s)


@pytest.mark.long
def test_the_api_server_dies_as_the_last_of_it_is_sent(moving: Moving) -> None:
    """The guest arrives, waits for the word that it may go on, and gets it."""
    began_s = time.monotonic()
    _, target = _sent_without_a_word(moving, "last-of-it")
    left_s = time.monotonic()
    time.sleep(COUNTS_ALONE_S)
    assert not moving.lines(left_s), "it goes on, and nobody said that it may"

    moving.deployment.plane.start_apiserver()
    moving.wait_running_at(target, left_s)
    moving.check_well(target)
    assert not moving.boots_since(began_s)
    assert moving.wait_ended("last-of-it")["phase"] == "Succeeded"


@pytest.mark.long
def test_the_link_is_cut_as_the_guest_waits_for_the_word(moving: Moving) -> None:
    """It has all been sent. The source cannot see that it is in sync, so it is out.

    If the target's kernel asks whether it may go on alone before the guest does, the answer is the
    owner's next word, by which no memory goes on: then it starts from the disk, once.
    """
    source, target = _sent_without_a_word(moving, "waits-and-cut")
    left_s = time.monotonic()
    moving.lab.link("replication").cut()
    moving.deployment.plane.start_apiserver()
    moving.wait_running_at(target, left_s)
    authority = moving.authority()
    assert (authority["owner"], authority["mode"]) == (target.name, "Standalone")
    assert not authority["eligible"][source.name]["eligible"]
    moving.lab.link("replication").heal()
    moving.check_well(target)
    boots = moving.boots_since(left_s)
    assert len(boots) <= 1
    print("started from the disk" if boots else "went on with its memory")


@pytest.mark.long
def test_the_source_dies_as_the_guest_waits_for_the_word(moving: Moving) -> None:
    """Nobody can say any more that it may go on: its half is destroyed, it starts from the disk."""
    source, target = _sent_without_a_word(moving, "waits-for-the-dead")
    left_s = time.monotonic()
    source.kill()
    moving.deployment.plane.start_apiserver()
    moving.wait_running_at(target, left_s, 2 * TAKEOVER_BOUND_S)
    authority = moving.authority()
    assert (authority["owner"], authority["mode"]) == (target.name, "Standalone")
    source.start(wait=False)
    moving.check_well(target)
    assert len(moving.boots_since(left_s)) == 1


@pytest.mark.long
def test_the_target_dies_as_the_guest_waits_for_the_word(moving: Moving) -> None:
    """The source hands over to what it cannot see, and may then not know what was written there."""
    source, target = _sent_without_a_word(moving, "dies-as-it-waits")
    left_s = time.monotonic()
    target.kill()
    moving.deployment.plane.start_apiserver()
    moving.wait_reason("PeerHoldsStandalone", TAKEOVER_BOUND_S)
    authority = moving.authority()
    assert (authority["owner"], authority["mode"]) == (target.name, "Standalone")
    assert not moving.lines(left_s)
    assert not moving.domains(source)

    target.start(wait=False)
    moving.wait_running_at(target, left_s, 2 * TAKEOVER_BOUND_S)
    moving.check_well(target)
    assert len(moving.boots_since(left_s)) == 1


def _sent_without_a_word(moving: Moving, name: str) -> tuple[SiteHost, SiteHost]:
    """The API server dies while the rest of the guest gets to the target quickly; there it waits.

    The source would give it up once its heartbeat has not been confirmed for some seconds.
    """
    moving.be_patient()
    source, target = moving.send_half(name)
    moving.deployment.plane.kill_apiserver()
    fast(source)
    moving.wait("all of it has left", lambda: not moving.domains(source), SENT_WITHIN_S)
    waits = {ARXIU.domain: "paused"}
    moving.wait("it waits there", lambda: moving.domains(target) == waits, 10.0)
    return source, target


def test_both_actuators_are_killed_in_the_middle(moving: Moving) -> None:
    """What was sent is given up; it goes on where it is, and no watchdog bites."""
    moving.be_patient()
    boots = [host.boot_id() for host in moving.lab.hosts]
    began_s = time.monotonic()
    source, _ = moving.send_half("actuators-die")
    for host in moving.lab.hosts:
        host.actuator("kill")
    ended = moving.wait_ended("actuators-die")
    assert ended["phase"] == "Failed", ended
    moving.check_well(source)
    assert moving.longest_gap_s(began_s) < FREEZE_BOUND_S
    _check_never_left(moving, source.name, began_s)
    assert [host.boot_id() for host in moving.lab.hosts] == boots


def test_a_linux_guest_moves_there_and_back_and_keeps_its_files(moving: Moving) -> None:
    """It prints how it boots, so it has not; and what it wrote is on the disk that it leaves."""
    began_s = time.monotonic()
    home, away = moving.ends()
    for number, to in enumerate((away, home)):
        moved = move_and_watch(moving.deployment, ARXIU, to.spec.site, f"move-{number}")
        print(f"to {to.name}: longest gap {moved.gap_s:.2f} s, all of it {moved.took_s:.1f} s")
        assert moved.problem is None
        assert moved.gap_s < FREEZE_BOUND_S
        moving.check_well(to)
    told = [line.text for line in moving.lines(began_s)]
    assert not [text for text in told if "boot" in text or "ready after" in text]

    moving.patch("guest", ARXIU.name, {"running": False})
    moving.wait_guest("stopped", lambda status: status["phase"] == "Stopped")
    last = max(n for line in moving.lines(began_s) if (n := line.number) is not None)
    started_s = time.monotonic()
    moving.patch("guest", ARXIU.name, {"running": True})
    moving.wait_redundant()
    (boot,) = moving.boots_since(started_s)
    assert boot.found is not None
    assert boot.found - last in (0, 1)
    lines = [line.text for line in moving.lines(started_s)]
    assert "the file system is whole" in lines
    assert not [text for text in lines if "recovering journal" in text]


def test_a_site_with_three_guests_is_drained_and_they_come_home(moving: Moving) -> None:
    """All of them as they run, both ways: none prints that it boots."""
    moving.add_counters()
    home, away = moving.ends()
    for guest in GUESTS:
        goes_home = {"policy": "Automatic", "afterSeconds": 1}
        placed = {"placement": {"preferredSite": home.spec.site}, "failback": goes_home}
        moving.patch("guest", guest.name, placed)
        _forget_takeovers(moving, guest)
    _wait_all_at(moving, home)

    began_s = time.monotonic()
    moving.patch("site", home.spec.site, {"maintenance": True})
    moving.deployment.kubectl(
        *("wait", "site", home.spec.site, "--for=condition=Drained"),
        f"--timeout={DRAINED_WITHIN_S:.0f}s",
    )
    print(f"drained after {time.monotonic() - began_s:.1f} s")
    assert home.shell("virsh -q list --all").split() == []
    _wait_all_at(moving, away, protected=False)

    back_s = time.monotonic()
    moving.patch("site", home.spec.site, {"maintenance": False})
    _wait_all_at(moving, home)
    print(f"all are home after {time.monotonic() - back_s:.1f} s")
    moving.check_well(home)
    for guest in GUESTS:
        lines = lines_of(moving.lab, guest.domain, began_s)
        assert {line.host for line in lines} == {home.name, away.name}
        assert not [line for line in lines if line.found is not None], f"{guest.name} was started"
        assert history_problem(lines) is None
        gap_s = longest_gap_s(lines)
        print(f"{guest.name}: longest gap {gap_s:.2f} s")
        assert gap_s < FREEZE_BOUND_S


def _wait_all_at(moving: Moving, host: SiteHost, *, protected: bool = True) -> None:
    for guest in GUESTS:

        def there(status: Raw) -> bool:
            runs = status.get("phase") == "Running" and status.get("host") == host.name
            return runs and (status.get("protected") == "True" or not protected)

        wait_for(moving.deployment, guest, there, DRAINED_WITHIN_S)


def _forget_takeovers(moving: Moving, guest: GuestName) -> None:
    """With each that a test has made it would wait longer before it goes home."""
    forgotten = json.dumps({"status": {"recentTakeovers": None}})
    where = ("guest", "-n", guest.namespace, guest.name, "--subresource=status")
    moving.deployment.kubectl("patch", *where, "--type=merge", "-p", forgotten)


def _check_never_left(moving: Moving, host: str, began_s: float) -> None:
    """It was not started anew, and nothing was printed anywhere else."""
    assert not moving.boots_since(began_s)
    assert {line.host for line in moving.lines(began_s)} == {host}
