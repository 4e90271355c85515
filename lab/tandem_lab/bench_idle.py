"""`make bench-idle`: what Tandem costs when nothing happens.

Two hosts, ten guests, all redundant and running. Counts over a minute which requests the API
server served (only the Leases should be written), and what controller and actuators use of memory
and processor. Prints tables; exit code 1 if anything but Leases was written.

CPU of a host is what its user-mode kernel counts for the process. A system call costs several
times more there than on a real kernel, so take it as an upper bound.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from tandem_api.meta import API_VERSION
from tandem_lab.deployment import Deployment
from tandem_lab.lab import Lab
from tandem_lab.prepare import prepare
from tandem_lab.settings import SOURCE_DIR, LabError
from tandem_lab.site_host import SiteHost
from tandem_lab.topology import Topology

HOST_MEMORY_MIB = 1536
# Heartbeats and looks at the link as often as with profile Default, but patience with a machine
# that runs two hosts and ten guests on a few cores: nothing is to be taken over here.
PATIENT = {
    "renewIntervalSeconds": 1,
    "selfFenceSeconds": 15,
    "queryFreshnessSeconds": 0.75,
    "fencingSeconds": 5,
    "watchdogSeconds": 20,
    "linkDetectionSeconds": 2,
    "leaseDurationSeconds": 61,
}
VOLUME_SIZE = "20M"
NAMESPACE = "idle"
SITES = ("burjassot", "tarongers")
READY_TIMEOUT_S = 300.0
SETTLE_S = 30.0
WRITES = ("POST", "PUT", "PATCH", "DELETE")
EXPECTED = "leases"
# A boot sector that halts the processor: cli; hlt; and again, should anything wake it. The counter
# guest would keep an emulated processor busy, which is not what is to be measured here.
HALTED = bytes([0xFA, 0xF4, 0xEB, 0xFD]).ljust(510, b"\0") + bytes([0x55, 0xAA])
MIB = 1024 * 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# One line per process: pid, ticks of CPU, resident kB, command.
PROCESSES = """
for pid in $(pgrep -f '[t]andem_actuator'); do
    set -- $(sed 's/.*) //' /proc/$pid/stat)
    rss=$(sed -n 's/VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status)
    echo "$pid $((${12} + ${13})) $rss $(tr '\\0' ' ' </proc/$pid/cmdline)"
done
"""

console = Console(highlight=False)


@dataclass(frozen=True)
class Usage:
    """One program at one moment."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True)
class Sample:
    """Everything that is counted, at one moment. ``requests`` is keyed by verb and resource."""

    at_s: float
    requests: Counter[tuple[str, str]]
    programs: dict[str, Usage] = field(default_factory=dict)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench-idle", description=__doc__)
    parser.add_argument("--guests", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    prepare(lambda message: None)
    deployment = Deployment(Lab(topology=_topology()))
    with deployment.lab.exclusive():
        try:
            _fill(deployment, options.guests)
            first = take(deployment)
            time.sleep(options.seconds)
            last = take(deployment)
        except LabError as error:
            console.print(f"[red]failed:[/] {error}")
            return 2
        finally:
            deployment.down()
    return 0 if _print(first, last, options.guests) else 1


def _topology() -> Topology:
    hosts = [{"name": f"{site}-1", "site": site, "memory_mib": HOST_MEMORY_MIB} for site in SITES]
    return Topology.model_validate({"hosts": hosts})


def _fill(deployment: Deployment, count: int) -> None:
    """Start the lab, make the guests, and wait until all are quiet."""
    deployment.up(fresh=True, progress=_say)
    deployment.apply(SOURCE_DIR / "examples" / "two-sites.yaml")
    patch = json.dumps({"spec": {"profile": "Custom", "heartbeat": PATIENT}})
    for site in SITES:
        deployment.kubectl("patch", "site", site, "--type=merge", "-p", patch)
    deployment.kubectl("create", "namespace", NAMESPACE)
    for index in range(count):
        name = f"idle{index}"
        _make_disks(deployment, f"{name}-root")
        objects = _guest(name, f"{name}-root", SITES[index % 2])
        deployment.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        _wait_for_guests(deployment)
        _say(f"guest {index + 1} of {count} runs and is protected")
    _say(f"settling for {SETTLE_S:g} s")
    time.sleep(SETTLE_S)


def _make_disks(deployment: Deployment, volume: str) -> None:
    """The volume at every host, with a guest on it that does nothing."""
    for host in deployment.lab.hosts:
        device = host.create_volume(volume, VOLUME_SIZE)
        host.run(["dd", "status=none", "conv=fsync", f"of={device}"], stdin=HALTED).check()


def _guest(name: str, volume: str, site: str) -> Iterator[dict[str, object]]:
    """The smallest mirror and guest, as in examples/bancuv3.yaml."""
    replicas = [
        {"host": host, "devices": {"root": f"/dev/vg0/{volume}"}}
        for host in (f"{site}-1" for site in SITES)
    ]
    volumes = [{"name": "root", "size": "16Mi"}]
    mirror = {"initialData": "Identical", "volumes": volumes, "replicas": replicas}
    disks = [{"volume": "root", "bus": "ide", "boot": 1}]
    guest = {
        "mirror": name,
        "domain": {"cpus": 1, "memory": "32Mi", "disks": disks},
        "placement": {"preferredSite": site},
        "failback": {"policy": "Automatic", "afterSeconds": 0},
        "shutdownTimeoutSeconds": 1,  # it knows no power button
    }
    yield _object("Mirror", name, mirror)
    yield _object("Guest", name, guest)


def _object(kind: str, name: str, spec: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _wait_for_guests(deployment: Deployment) -> None:
    """Until all run where they prefer to, and could be taken over."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while waiting := _waiting(deployment):
        if time.monotonic() > deadline_s:
            raise LabError("after a long wait these are not ready:\n" + "\n".join(waiting))
        time.sleep(1.0)


def _waiting(deployment: Deployment) -> list[str]:
    """A line about each guest that is not where it prefers to be, running and protected."""
    answer = json.loads(deployment.kubectl("get", "guests", "-n", NAMESPACE, "-o", "json"))
    wanted = {"phase": "Running", "protected": "True", "reason": "Running"}
    return [
        f"{item['metadata']['name']}: {status.get('phase')}: {status.get('message')}"
        for item in answer["items"]
        if not wanted.items() <= (status := item.get("status", {})).items()
    ]


def _say(message: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {message}", soft_wrap=True)


# -- counting


def take(deployment: Deployment) -> Sample:
    """Count everything now."""
    requests = _requests(deployment.kubectl("get", "--raw", "/metrics"))
    at_s = time.monotonic()
    programs = {"controller": _controller(deployment)}
    for host in deployment.lab.hosts:
        programs |= _actuator(host)
    return Sample(at_s, requests, programs)


def _requests(text: str) -> Counter[tuple[str, str]]:
    """Requests by verb and resource, from the API server's own metrics."""
    total: Counter[tuple[str, str]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "apiserver_request_total" and sample.labels["resource"]:
                names = (sample.labels["resource"], sample.labels["subresource"])
                total[sample.labels["verb"], "/".join(filter(None, names))] += int(sample.value)
    return total


def _controller(deployment: Deployment) -> Usage:
    pid = deployment.controller().process.pid()
    if pid is None:
        raise LabError("the controller does not run")
    process = psutil.Process(pid)
    times = process.cpu_times()
    return Usage(times.user + times.system, process.memory_info().rss)


def _actuator(host: SiteHost) -> dict[str, Usage]:
    found = {}
    for line in host.shell(PROCESSES).splitlines():
        _pid, ticks, resident_kb, command = line.split(maxsplit=3)
        name = "watchdog keeper" if "watchdog_keeper" in command else "actuator"
        usage = Usage(int(ticks) / TICKS_PER_S, int(resident_kb) * 1024)
        found[f"{name} {host.name}"] = usage
    return found


# -- showing


def _print(first: Sample, last: Sample, guests: int) -> bool:
    """Both tables; whether nothing but Leases was written."""
    span_s = last.at_s - first.at_s
    requests = last.requests - first.requests
    table = Table("REQUEST", "IN ALL", "PER SECOND", title=f"{guests} guests, {span_s:.0f} s")
    for (verb, resource), count in sorted(requests.items()):
        table.add_row(f"{verb} {resource}", str(count), f"{count / span_s:.2f}")
    console.print(table)
    usage = Table("PROGRAM", "MEMORY MiB", "CPU % OF A CORE")
    for name, now in last.programs.items():
        before = first.programs.get(name)
        share = 100 * (now.cpu_s - before.cpu_s) / span_s if before else float("nan")
        usage.add_row(name, f"{now.memory_bytes / MIB:.0f}", f"{share:.1f}")
    console.print(usage)
    writes = {key: count for key, count in requests.items() if key[0] in WRITES}
    console.print(f"writes per second: {sum(writes.values()) / span_s:.2f}")
    others = {key: count for key, count in writes.items() if key[1] != EXPECTED}
    if others:
        console.print(f"[red]not only Leases were written: {others}")
    return not others


if __name__ == "__main__":
    sys.exit(main())
