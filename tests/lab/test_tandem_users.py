"""Tandem in the lab: what people order: wrong specs, stopping, starting, deleting."""

from __future__ import annotations

import json
import time

import pytest

from tandem_api.meta import API_VERSION
from tandem_examples import EXAMPLES, Bad, bad_files
from tandem_lab.controlplane import ControlPlaneError

from .deployed import GUEST, Deployed, Raw, guest_runs_on

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

ELSEWHERE = "personal"
NOTICED_WITHIN_S = 30.0
GAP_BOUND_S = 1.5
LEFT_ALONE_S = 5.0
AWAY_BOUND_S = 30.0
MOVES_COLUMNS = ["NAME", "GUEST", "PHASE", "FROM", "TO", "AWAY-SECONDS"]


def test_wrong_specs_are_refused_or_named_and_disturb_nobody(tandem: Deployed) -> None:
    since_s = time.monotonic()
    tandem.deployment.kubectl("create", "namespace", ELSEWHERE)
    try:
        # What only shows beside other objects is reported; what is wrong by itself is refused.
        _check_is_reported(tandem, _bad("unknown-host"))
        with pytest.raises(ControlPlaneError, match="leaseDurationSeconds is too short; raise it"):
            tandem.deployment.apply(_bad("lease-too-short").path)
        with pytest.raises(ControlPlaneError, match=r"198\.51\.100\.300 is no IP address"):
            tandem.deployment.apply(_bad("address-not-an-address").path)
        # A spec that was never acted upon may be set right; its guest is refused by the schema.
        with pytest.raises(ControlPlaneError, match=r"spec\.domain\.networks.*mac"):
            tandem.deployment.apply(_bad("mac-multicast").path)
    finally:
        tandem.deployment.kubectl("delete", "namespace", ELSEWHERE, "--timeout=50s")

    tandem.patch("guest", GUEST.name, {"domain": {"disks": [{"volume": "boot"}]}})
    _check_guest_is_told(tandem, "spec.domain.disks[0].volume")
    smaller = {"volumes": [{"name": "root", "size": "8Mi"}]}
    with pytest.raises(ControlPlaneError, match=r"volumes\[0\]\.size.* cannot shrink from 16Mi"):
        tandem.patch("mirror", GUEST.name, smaller)

    time.sleep(3.0)
    assert not tandem.boots_since(since_s)
    assert tandem.longest_gap_s(since_s) < GAP_BOUND_S
    tandem.settle()
    assert not tandem.boots_since(since_s)


def test_a_guest_is_stopped_and_started_by_its_spec(tandem: Deployed) -> None:
    owner, other = tandem.ends()
    # The counter guest does not listen to the power button.
    tandem.patch("guest", GUEST.name, {"running": False, "shutdownTimeoutSeconds": 1})
    _check_is_stopped(tandem)
    status = tandem.guest()
    assert status["phase"] == "Stopped"
    assert status["reason"] == "NotRequested"
    assert tandem.authority()["mode"] == "Mirrored"

    since_s = time.monotonic()
    tandem.patch("guest", GUEST.name, {"running": True})
    tandem.wait("it counts again", lambda: len(tandem.lines(since_s)) > 2, 60.0)
    tandem.wait_redundant()
    assert tandem.ends()[0].name in (owner.name, other.name)
    assert len(tandem.boots_since(since_s)) == 1


def test_what_is_paused_is_left_alone(tandem: Deployed) -> None:
    """Somebody ends its QEMU by hand. It is told what would be done, and done once it goes on."""
    owner, _ = tandem.ends()
    name = ("guest", "-n", GUEST.namespace, GUEST.name)
    tandem.patch("site", owner.spec.site, {"paused": True})
    try:
        tandem.deployment.kubectl("wait", *name, "--for=condition=Paused", "--timeout=20s")
        assert tandem.guest()["protected"] == "False"
        owner.shell(f"pkill -KILL -f '[g]uest={GUEST.namespace}.{GUEST.name},'")
        said = tandem.wait_reason("Paused")["message"]
        assert said.startswith(f"Would start it on {owner.name}. It is paused by Site ")
        time.sleep(LEFT_ALONE_S)
        assert not any(guest_runs_on(host) for host in tandem.lab.hosts)
    finally:
        since_s = time.monotonic()
        tandem.patch("site", owner.spec.site, {"paused": False})
    tandem.wait_running_at(owner, since_s)
    tandem.wait_redundant()
    assert len(tandem.boots_since(since_s)) == 1


def test_a_guest_is_moved_by_hand(tandem: Deployed) -> None:
    """There, and back while it is paused, which it is again afterwards."""
    owner, other = tandem.ends()
    tandem.patch("guest", GUEST.name, {"shutdownTimeoutSeconds": 1})
    since_s = time.monotonic()
    status = _moved(tandem, "there", {"site": other.spec.site})
    tandem.wait_running_at(other, since_s)
    assert (status["source"], status["target"]) == (owner.name, other.name)
    assert 0.0 < status["awaySeconds"] < AWAY_BOUND_S
    assert {"assigned", "stopped", "promoted", "running", "ended"} <= set(status["steps"])
    table = tandem.deployment.kubectl("get", "guestmoves", "-n", GUEST.namespace)
    assert table.splitlines()[0].split()[:6] == MOVES_COLUMNS
    tandem.wait_redundant()

    name = ("guest", "-n", GUEST.namespace, GUEST.name)
    tandem.patch("guest", GUEST.name, {"paused": True})
    try:
        tandem.deployment.kubectl("wait", *name, "--for=condition=Paused", "--timeout=20s")
        since_s = time.monotonic()
        _moved(tandem, "back", {"host": owner.name})
        tandem.wait_running_at(owner, since_s)
        tandem.deployment.kubectl("wait", *name, "--for=condition=Paused", "--timeout=20s")
    finally:
        tandem.patch("guest", GUEST.name, {"paused": False})
    tandem.wait_redundant()
    assert len(tandem.boots_since(since_s)) == 1


def _moved(tandem: Deployed, name: str, to: dict[str, str]) -> Raw:
    """The status of a GuestMove that is complete."""
    metadata = {"name": name, "namespace": GUEST.namespace}
    spec = {"guest": GUEST.name, "to": to, "timeoutSeconds": 60}
    move = {"apiVersion": API_VERSION, "kind": "GuestMove", "metadata": metadata, "spec": spec}
    tandem.deployment.kubectl("create", "-f", "-", stdin=json.dumps(move))
    where = ("guestmove", "-n", GUEST.namespace, name)
    tandem.deployment.kubectl("wait", *where, "--for=condition=Ended", "--timeout=60s")
    found: Raw = tandem.raw(*where)["status"]
    assert (found["phase"], found["reason"]) == ("Succeeded", "Moved")
    return found


def test_a_guest_is_stopped_before_it_is_deleted(tandem: Deployed) -> None:
    tandem.patch("guest", GUEST.name, {"shutdownTimeoutSeconds": 1})
    tandem.deployment.kubectl(
        *("delete", "guest", "-n", GUEST.namespace, GUEST.name, "--wait", "--timeout=60s")
    )
    assert not any(guest_runs_on(host) for host in tandem.lab.hosts), "gone, and still running"
    tandem.wait("the mirror is released", lambda: tandem.authority()["owner"] == "", 30.0)
    since_s = time.monotonic()
    tandem.deployment.apply(EXAMPLES / "bancuv3.yaml")
    tandem.wait("it counts again", lambda: len(tandem.lines(since_s)) > 2, 60.0)
    tandem.wait_redundant()


def _bad(name: str) -> Bad:
    return next(bad for bad in bad_files() if bad.path.stem == name)


def _check_is_reported(tandem: Deployed, bad: Bad) -> None:
    """In the condition SpecValid of the object, and in an event at it, word for word."""
    what, _, problem = bad.problem.partition(": ")
    kind, _, name = what.partition(" ")
    namespace, _, name = name.rpartition("/")
    tandem.deployment.apply(bad.path)
    where = ("-n", namespace) if namespace else ()

    def told() -> bool:
        raw = tandem.raw(kind, *where, name)
        return problem in (_spec_problem(raw) or "")

    tandem.wait(f"{what} is told: {problem}", told, NOTICED_WITHIN_S)
    tandem.wait(
        f"an event tells {what}",
        lambda: any(
            problem in event["message"] and event["type"] == "Warning"
            for event in tandem.events(namespace or "default")
        ),
        NOTICED_WITHIN_S,
    )


def _check_guest_is_told(tandem: Deployed, field: str) -> None:
    message = tandem.wait(
        "guest is told", lambda: _spec_problem(tandem.get("guest", GUEST.name)), NOTICED_WITHIN_S
    )
    assert field in message
    assert tandem.guest()["phase"] == "Running"


def _spec_problem(raw: Raw) -> str | None:
    """What the condition SpecValid complains of; None if it does not."""
    for condition in (raw.get("status") or {}).get("conditions") or ():
        if condition["type"] == "SpecValid" and condition["status"] == "False":
            return str(condition["message"])
    return None


def _check_is_stopped(tandem: Deployed) -> None:
    tandem.wait("the mirror is released", lambda: tandem.authority()["owner"] == "", 60.0)
    tandem.wait_guest("stopped", lambda status: status["phase"] == "Stopped", 30.0)
    assert not any(guest_runs_on(host) for host in tandem.lab.hosts)
