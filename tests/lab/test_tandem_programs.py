"""Tandem in the lab: its own programs are restarted, killed and stalled; guests do not notice."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest

from tandem_actuator.core.host.starts import QUICK_EXITS
from tandem_lab.deployment import NAMESPACE, Controller
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.site_host import ACTUATOR_UNIT

from .deployed import PATIENT, TAKEOVER_BOUND_S, Deployed, Raw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

# The guest itself pauses a tenth of a second; the machine may be busy.
GAP_BOUND_S = 1.5
API_AWAY_S = 15.0
WATCHDOG_ACTS_S = PATIENT.self_fence_seconds + PATIENT.watchdog_seconds + 1.0
LEASE_NOT_YET_LOST_S = 5.0


def test_an_actuator_is_restarted_and_killed_under_a_running_guest(tandem: Deployed) -> None:
    tandem.be_patient()
    owner, other = tandem.ends()
    boot_id, started_s = owner.boot_id(), time.monotonic()
    for action in ("restart", "kill"):
        before, since_s = tandem.authority(), time.monotonic()
        owner.actuator(action)
        adopted = tandem.wait(
            f"authority is adopted after {action}",
            partial(_authority_beyond, tandem, int(before["epoch"])),
            30.0,
        )
        assert adopted["reason"] == "Adopted"
        assert adopted["owner"] == owner.name
        assert adopted["ownerInstance"] != before["ownerInstance"]
        assert boot_id in adopted["ownerInstance"]
        time.sleep(WATCHDOG_ACTS_S)
        assert tandem.longest_gap_s(since_s) < GAP_BOUND_S
    tandem.wait_redundant()
    assert owner.boot_id() == boot_id
    assert not tandem.boots_since(started_s)

    killed_s = time.monotonic()
    owner.kill()
    tandem.wait_running_at(other, killed_s, TAKEOVER_BOUND_S)
    owner.start(wait=False)
    tandem.wait_redundant()


def test_its_unit_is_in_force_as_it_is_shipped(tandem: Deployed) -> None:
    owner, _ = tandem.ends()
    assert owner.shell(f"systemd-analyze verify {ACTUATOR_UNIT}.service 2>&1") == ""
    shipped = (SOURCE_DIR / "manifests/systemd/tandem-actuator.service").read_text()
    assert owner.shell(f"cat /etc/systemd/system/{ACTUATOR_UNIT}.service") == shipped
    process = f"/proc/$(systemctl show --value -p MainPID {ACTUATOR_UNIT})"
    limits = owner.shell(f"cat {process}/limits")
    assert re.search(r"^Max locked memory +unlimited", limits, re.MULTILINE)
    assert owner.shell(f"cat {process}/oom_score_adj").strip() == "-1000"
    status = owner.shell(f"cat {process}/status")
    locked = re.search(r"^VmLck:\s+(\d+) kB", status, re.MULTILINE)
    assert locked is not None
    assert int(locked[1]) > 0
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status


def test_an_actuator_that_hangs_is_ended_and_started_again(tandem: Deployed) -> None:
    """By systemd; its guest does not notice, and the log says where it stood."""
    tandem.be_patient()
    owner, _ = tandem.ends()
    log = owner.share / "log" / "actuator.log"
    boot_id, since_s, before = owner.boot_id(), time.monotonic(), tandem.authority()
    said = len(log.read_text())
    owner.shell(f"systemctl kill --signal=STOP --kill-whom=main {ACTUATOR_UNIT}")
    adopted = tandem.wait(
        "authority is adopted", partial(_authority_beyond, tandem, int(before["epoch"])), 30.0
    )
    assert adopted["reason"] == "Adopted"
    time.sleep(WATCHDOG_ACTS_S)
    assert tandem.longest_gap_s(since_s) < GAP_BOUND_S
    tandem.wait_redundant()
    assert owner.boot_id() == boot_id
    assert "Watchdog timeout" in owner.shell(f"journalctl --no-pager -u {ACTUATOR_UNIT}")
    assert "Fatal Python error: Aborted" in log.read_text()[said:]


def test_an_actuator_that_is_killed_again_and_again_only_guards(tandem: Deployed) -> None:
    """Its guest runs on, it is said why nothing else is done, and a restart ends it."""
    tandem.be_patient()
    owner, _ = tandem.ends()
    boot_id, since_s = owner.boot_id(), time.monotonic()
    for _ in range(1 + QUICK_EXITS):
        before = tandem.authority()
        owner.actuator("kill")
        tandem.wait(
            "authority is adopted", partial(_authority_beyond, tandem, int(before["epoch"])), 30.0
        )

    def said() -> Raw:
        report = tandem.mirror()["replicas"][owner.name]
        assert isinstance(report, dict)
        return report

    tandem.wait("it says so", lambda: said()["reason"] == "InternalError", 30.0)
    assert f"ended {QUICK_EXITS} times shortly after it had started" in said()["message"]
    tandem.wait_guest("it is not said to run", lambda guest: guest["phase"] == "Unknown")
    time.sleep(WATCHDOG_ACTS_S)
    assert tandem.longest_gap_s(since_s) < GAP_BOUND_S
    assert owner.boot_id() == boot_id
    assert not tandem.boots_since(since_s)

    owner.actuator("restart")
    tandem.wait_guest("it is said to run", lambda guest: guest["phase"] == "Running")
    tandem.wait_redundant()
    assert said()["reason"] != "InternalError"


def test_the_api_server_is_away(tandem: Deployed) -> None:
    """Stalled at first, then gone: connections that hang, then connections refused."""
    owner, other = tandem.ends()
    before, away_s = tandem.authority(), time.monotonic()
    plane = tandem.deployment.plane
    plane.pause()
    time.sleep(API_AWAY_S)
    plane.kill_apiserver()
    time.sleep(API_AWAY_S)
    assert tandem.longest_gap_s(away_s) < GAP_BOUND_S
    plane.start_apiserver()

    tandem.wait_redundant()
    time.sleep(3.0)  # a controller that was away must not act on what it remembers
    tandem.wait_redundant()
    assert tandem.authority() == before
    assert not tandem.boots_since(away_s)
    assert not tandem.lines(away_s, other)
    assert tandem.longest_gap_s(away_s) < 2 * GAP_BOUND_S  # a server that starts is a busy machine
    assert tandem.ends()[0].name == owner.name


def _authority_beyond(tandem: Deployed, epoch: int) -> Raw | None:
    authority = tandem.authority()
    return authority if authority["epoch"] > epoch else None


def test_the_controller_dies_between_decision_and_start(tandem: Deployed) -> None:
    """What was decided needs no controller any more; the next one finds all in order."""
    owner, other = tandem.ends()
    killed_s = time.monotonic()
    owner.kill()
    tandem.wait(
        "takeover is decided",
        lambda: tandem.guest()["assignment"]["host"] == other.name,
        TAKEOVER_BOUND_S,
    )
    tandem.deployment.controller(0).kill()
    assert not [line for line in tandem.lines(killed_s, other) if line.number is not None], (
        "the guest runs already: the controller was not killed in the middle"
    )
    tandem.wait("guest counts", lambda: len(tandem.lines(killed_s, other)) > 3, TAKEOVER_BOUND_S)
    tandem.deployment.controller(0).start()
    tandem.wait_running_at(other, killed_s)
    owner.start(wait=False)
    tandem.wait_redundant()
    assert len(tandem.boots_since(killed_s)) == 1


def test_the_other_replica_goes_on_and_a_stalled_leader_changes_nothing(tandem: Deployed) -> None:
    """The leader stalls while a site is dying. The other takes over; the first one wakes up."""
    tandem.deployment.controller(1).start()
    leader, follower = _leader_and_follower(tandem)
    owner, other = tandem.ends()
    killed_s = time.monotonic()
    owner.kill()
    time.sleep(LEASE_NOT_YET_LOST_S)
    leader.pause()
    tandem.wait_running_at(other, killed_s, TAKEOVER_BOUND_S)
    assert _leads(tandem, follower)
    before = tandem.guest()["assignment"]

    leader.resume()
    time.sleep(5.0)
    assert tandem.guest()["assignment"] == before
    assert _leads(tandem, follower)
    leader.kill()
    owner.start(wait=False)
    tandem.wait_redundant()
    assert len(tandem.boots_since(killed_s)) == 1


def _leader_and_follower(tandem: Deployed) -> tuple[Controller, Controller]:
    first, second = (tandem.deployment.controller(index) for index in range(2))
    tandem.wait("a controller leads", lambda: _leads(tandem, first) or _leads(tandem, second), 30.0)
    return (first, second) if _leads(tandem, first) else (second, first)


def _leads(tandem: Deployed, controller: Controller) -> bool:
    """A replica is named after its process."""
    lease = tandem.raw("lease", "-n", NAMESPACE, "tandem-controller")
    return f"-{controller.process.pid()}-" in lease["spec"]["holderIdentity"]
