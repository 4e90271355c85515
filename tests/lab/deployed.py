"""Tandem deployed in the lab, as its tests see it: one counting guest on one mirror.

Which guest that is, a subclass may say otherwise.

It breaks nothing by itself and asserts one thing: the guest's history. The counter guest prints a
number only after both disks that must have it do, so over all boots at all hosts the numbers that
it printed are one row without a step back, without a repetition, and without two guests in it.

Used by the fixtures `tandem_lab` and `tandem` (conftest) and by the test_tandem_* files.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tandem_api import registry
from tandem_api.lease import heartbeat_of
from tandem_api.meta import GROUP
from tandem_api.timing import DEFAULT
from tandem_lab.agent_client import HostUnreachableError
from tandem_lab.deployment import Deployment
from tandem_lab.history import Line, history_problem, lines_of
from tandem_lab.host_state import HostDownError
from tandem_lab.lab import Lab
from tandem_lab.settings import SOURCE_DIR, LabError
from tandem_lab.site_host import SiteHost
from tandem_lab.takeover import GuestName
from tandem_lab.topology import CUTTABLE_LINKS

GUEST = GuestName("secretaria", "bancuv3")
VOLUME = "bancuv3-root"
VOLUME_SIZE = "20M"
EXAMPLES = ("two-sites", "bancuv3")
KINDS = ",".join(f"{info.plural}.{GROUP}" for info in registry.KINDS)
REPLICAS = 2

POLL_S = 0.4
SETTLE_TIMEOUT_S = 150.0
# Loose: this machine may be busy with something else. Quiet, it is about 13 s.
TAKEOVER_BOUND_S = 45.0
ASK_TIMEOUT_S = 5.0

PATIENT = DEFAULT.model_copy(update={"self_fence_seconds": 8.0, "lease_duration_seconds": 18.0})
"""An actuator that is restarted is to be back before its last heartbeat has expired: within 3 s by
default, where a slow machine's kernels, all on two cores, take five to start its Python."""

Raw = dict[str, Any]
T = TypeVar("T")


class Deployed:
    """The one deployment that tests share; `settle` brings it back to redundant and running."""

    which = GUEST
    volume = VOLUME
    examples: tuple[str, ...] = EXAMPLES

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.lab: Lab = deployment.lab
        self.history_from_s = time.monotonic()
        self._specs: dict[tuple[str, str], Raw] = {}

    # -- what is there

    def objects(self) -> list[Raw]:
        """All objects of Tandem's kinds."""
        text = self.deployment.kubectl("get", KINDS, "-A", "-o", "json")
        items: list[Raw] = json.loads(text)["items"]
        return items

    def raw(self, *which: str) -> Raw:
        """One object, named as for `kubectl get`."""
        found: Raw = json.loads(self.deployment.kubectl("get", *which, "-o", "json"))
        return found

    def get(self, kind: str, name: str) -> Raw:
        """One object; the guest's namespace is assumed for what has one."""
        return self.raw(kind, "-n", self.which.namespace, name)

    def guest(self) -> Raw:
        """The guest's status."""
        status: Raw = self.get("guest", self.which.name).get("status") or {}
        return status

    def mirror(self) -> Raw:
        """The mirror's status."""
        status: Raw = self.get("mirror", self.which.name).get("status") or {}
        return status

    def authority(self) -> Raw:
        """Who may write, by the mirror's status."""
        return {"owner": "", **self.mirror()["authority"]}

    def ends(self) -> tuple[SiteHost, SiteHost]:
        """The host that owns the mirror, and the other one."""
        owner = self.authority()["owner"]
        first, second = self.lab.hosts
        return (first, second) if first.name == owner else (second, first)

    def events(self, namespace: str = GUEST.namespace) -> list[Raw]:
        """Events, oldest first."""
        text = self.deployment.kubectl("get", "events", "-n", namespace, "-o", "json")
        items: list[Raw] = json.loads(text)["items"]
        return items

    # -- what the guest printed

    def lines(self, since_s: float = 0.0, host: SiteHost | None = None) -> list[Line]:
        """What it printed since then, at all hosts or one, oldest first."""
        hosts = None if host is None else [host.name]
        return lines_of(self.lab, self.which.domain, since_s, hosts)

    def longest_gap_s(self, since_s: float) -> float:
        """The longest time without a number from then until now."""
        moments = [line.at_s for line in self.lines(since_s) if line.number is not None]
        edges = [since_s, *moments, time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(edges))

    def boots_since(self, since_s: float) -> list[Line]:
        """The guest's own boots since then."""
        return [line for line in self.lines(since_s) if line.found is not None]

    def forget_history(self) -> None:
        """What follows is not compared with what was: a person gave writes up."""
        self.history_from_s = time.monotonic()

    def check_history(self) -> None:
        """Nothing lost, nothing twice, never two at once, since the deployment or `forget`."""
        lines = self.lines(self.history_from_s)
        if not lines:  # A test may end before the guest's next number is due.
            self.wait_counting(more=1)
            lines = self.lines(self.history_from_s)
        assert lines, "the guest printed nothing at all"
        problem = history_problem(lines)
        assert problem is None, problem

    # -- waiting

    def wait(self, what: str, look: Callable[[], T | None], timeout_s: float) -> T:
        """The first answer that is neither None nor False; LabError with `what` after it."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            answer = look()
            if answer is not None and answer is not False:
                return answer
            if time.monotonic() > deadline_s:
                raise LabError(f"{what}: not within {timeout_s:g} s; {self._told()}")
            time.sleep(POLL_S)

    def wait_guest(self, what: str, wanted: Callable[[Raw], bool], timeout_s: float = 60.0) -> Raw:
        """The guest's status once it is so."""

        def look() -> Raw | None:
            status = self.guest()
            return status if wanted(status) else None

        return self.wait(what, look, timeout_s)

    def wait_running_at(self, host: SiteHost, since_s: float, timeout_s: float = 60.0) -> float:
        """Until it counts there after that moment, and is reported so; when it first did."""

        def look() -> float | None:
            counted = [line for line in self.lines(since_s, host) if line.number is not None]
            return counted[0].at_s if len(counted) >= 2 else None

        first_s = self.wait(f"guest counts at {host.name}", look, timeout_s)
        self.wait_guest(
            f"guest is reported running at {host.name}",
            lambda status: status.get("phase") == "Running" and status.get("host") == host.name,
            timeout_s,
        )
        return first_s

    def wait_reason(self, reason: str, timeout_s: float = 60.0) -> Raw:
        """The guest's status once it gives this reason."""
        return self.wait_guest(reason, lambda s: s.get("reason") == reason, timeout_s)

    def wait_counting(self, more: int = 3, timeout_s: float = 20.0) -> None:
        """Until it has printed so many numbers more, wherever."""
        since_s = time.monotonic()

        def look() -> bool:
            return len([n for n in self.lines(since_s) if n.number is not None]) >= more

        self.wait("guest counts", look, timeout_s)

    def wait_redundant(self, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Until it runs, counts, and could be taken over now; with every host's present boot."""
        self.wait("redundant and running", self._redundant, timeout_s)
        self.wait_counting()

    def _redundant(self) -> bool:
        if not all(host.is_up for host in self.lab.hosts):
            return False
        guest, mirror = self.guest(), self.mirror()
        authority, replicas = mirror.get("authority") or {}, mirror.get("replicas") or {}
        return (
            guest.get("phase") == "Running"
            and guest.get("protected") == "True"
            and authority.get("mode") == "Mirrored"
            and guest.get("host") == authority.get("owner")
            and all(
                replicas.get(host.name, {}).get("connection") == "Connected"
                and host.boots()[-1].boot_id in replicas[host.name].get("instance", "")
                for host in self.lab.hosts
            )
        )

    def _told(self) -> str:
        try:
            guest, authority = self.guest(), self.authority()
        except Exception as error:  # the server may be what a test has broken
            return f"and the API does not answer: {error}"
        return (
            f"guest is {guest.get('phase')} on {guest.get('host') or 'no host'}:"
            f" {guest.get('reason')} {guest.get('message')}; authority:"
            f" {authority['mode']} owner {authority['owner'] or 'nobody'} epoch"
            f" {authority['epoch']} {authority['reason']}"
        )

    # -- changing

    def patch(self, kind: str, name: str, spec: Raw) -> None:
        """A merge patch of an object's spec."""
        body = json.dumps({"spec": spec})
        self.deployment.kubectl(
            *("patch", kind, "-n", self.which.namespace, name, "--type=merge", "-p", body)
        )

    def be_patient(self) -> None:
        """`PATIENT` at both sites, in force on all hosts; `settle` takes it back."""
        assert PATIENT.problem() is None
        numbers = PATIENT.model_dump(by_alias=True, mode="json")
        for site in sorted({host.spec.site for host in self.lab.hosts}):
            self.patch("site", site, {"profile": "Custom", "heartbeat": numbers})
        self.wait("hosts go by it", self._all_patient, SETTLE_TIMEOUT_S)

    def _all_patient(self) -> bool:
        leases = json.loads(self.deployment.kubectl("get", "lease", "-A", "-o", "json"))["items"]
        beats = [beat for beat in map(heartbeat_of, leases) if beat is not None]
        in_force = [beat.timing for beat in beats]
        return in_force == [PATIENT] * len(self.lab.hosts)

    def deploy(self) -> None:
        """From empty disks to a guest that runs and is protected."""
        self.deployment.up(fresh=True)
        self.make_disks()
        self.history_from_s = time.monotonic()
        for name in self.examples:
            self.deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
        self.wait_redundant()
        self._good.write_text(json.dumps(self.objects()))
        self.adopt()

    def make_disks(self) -> None:
        """On empty hosts."""
        self.deployment.make_counter_disks(self.volume, VOLUME_SIZE)

    def adopt(self) -> None:
        """Go on with what another run deployed."""
        self._specs = {_key(raw): raw["spec"] for raw in json.loads(self._good.read_text())}

    @property
    def _good(self) -> Path:
        return self.deployment.directory / "objects.json"

    def keep_logs(self) -> Path:
        """Copy every log to where a fresh deployment does not remove it; where that is."""
        state_dir = self.lab.settings.state_dir
        target = state_dir / "kept" / time.strftime("%H%M%S")
        patterns = ("hosts/*/share/log/*", "hosts/*/*.log", "serial/*/*", "third-place/*.log")
        for path in itertools.chain.from_iterable(map(state_dir.glob, patterns)):
            kept = target / path.relative_to(state_dir)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, kept)
        return target

    def settle(self, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Repair what a test broke, and wait until the guest is redundant and running."""
        for link in CUTTABLE_LINKS:
            self.lab.link(link.name).heal()
        self._repair_third_place()
        for host in self.lab.hosts:
            _repair_host(host, self.volume)
        self._repair_objects()
        self.wait_redundant(timeout_s)

    def _repair_third_place(self) -> None:
        plane = self.deployment.plane
        if not plane.running():
            plane.start_apiserver()
        plane.resume()
        for index in range(1, REPLICAS):
            self.deployment.controller(index).stop()
        first = self.deployment.controller(0)
        if first.process.alive():
            first.resume()
        else:
            first.start()

    def _repair_objects(self) -> None:
        found = {_key(raw): raw for raw in self.objects()}
        for (kind, name), raw in found.items():
            if (kind, name) not in self._specs:
                where = raw["metadata"].get("namespace", self.which.namespace)
                self.deployment.kubectl("delete", kind, "-n", where, name, "--wait=false")
        if self._specs.keys() - found.keys():
            for name in self.examples:
                self.deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
        for (kind, name), spec in self._specs.items():
            if (kind, name) in found and found[kind, name]["spec"] != spec:
                body = json.dumps([{"op": "replace", "path": "/spec", "value": spec}])
                self.deployment.kubectl(
                    *("patch", kind, "-n", self.which.namespace, name, "--type=json", "-p", body)
                )


def _repair_host(host: SiteHost, volume: str) -> None:
    """A host that was reset in place may hang, or have come up without its disks."""
    if host.state().paused:
        host.resume()
    try:
        if not host.run(["test", "-e", f"/dev/vg0/{volume}"], timeout_s=ASK_TIMEOUT_S).ok:
            host.restart(wait=False)
    except (HostDownError, HostUnreachableError):
        host.restart(wait=False)


def _key(raw: Raw) -> tuple[str, str]:
    return str(raw["kind"]).lower(), str(raw["metadata"]["name"])


def guest_runs_on(host: SiteHost) -> bool:
    """Whether any QEMU process is there, asked on the cable that is never cut.

    A host that does not answer may be rebooting, or may not: yes.
    """
    try:
        return host.run(["pgrep", "qemu-system"], timeout_s=ASK_TIMEOUT_S).ok
    except HostDownError:
        return False
    except HostUnreachableError:
        return True


def guest_ended(host: SiteHost, boots: int) -> bool:
    """Whether what ran there when it had booted so many times has ended."""
    return was_reset(host, boots) or not guest_runs_on(host)


def was_reset(host: SiteHost, boots: int) -> bool:
    """Whether its watchdog bit: it boots again in place, or its process has ended."""
    return not host.is_up or len(host.boots()) > boots


def repower(host: SiteHost, boots: int) -> None:
    """Switch a host off and on whose watchdog bit: the lab's kernel does not always survive it."""
    if was_reset(host, boots):
        host.restart(wait=False)
