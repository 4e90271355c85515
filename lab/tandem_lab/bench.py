"""`make bench-takeover`: from SIGKILL of a site to the guest's first line at the other, by step.

Runs N takeovers in one sitting, each from a fully redundant state, and prints every run, the
medians, and the numbers of other stacks on the same kind of lab (measured beforehand, see
docs/benchmarks.md) to compare with.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

from tandem_lab.demo import GUEST, VOLUME, VOLUME_SIZE
from tandem_lab.deployment import Deployment
from tandem_lab.lab import Lab
from tandem_lab.prepare import prepare
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.site_host import SiteHost
from tandem_lab.takeover import STEPS, Takeover, kill_and_watch, running_and_protected, wait_for

# Medians of 5 on this kind of lab; guest create of about 2 s included.
OTHERS_S = {
    "Heartbeat 3.0.6, deadtime 10 s": 17.6,
    "Heartbeat 3.0.6, deadtime 3 s": 12.0,
    "Pacemaker 2.1.5 + Corosync 3.1.7, default token": 20.7,
    "Pacemaker 2.1.5 + Corosync 3.1.7, token 1 s": 15.5,
}
READY_TIMEOUT_S = 180.0
SETTLE_S = 5.0
EMPTY_DOMAIN = """
import libvirt, statistics, time
connection, taken_s = libvirt.open("qemu:///system"), []
for _ in range(3):
    began_s = time.monotonic()
    domain = connection.createXML(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>empty</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>"
        "<cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>"
        "<devices><controller type='usb' model='none'/><memballoon model='none'/></devices>"
        "<qemu:capabilities><qemu:del capability='cpu-unavailable-features'/></qemu:capabilities>"
        "</domain>"
    )
    taken_s.append(time.monotonic() - began_s)
    domain.destroy()
print(statistics.median(taken_s))
"""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench-takeover", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", choices=["Default", "Fast"], default="Default")
    parser.add_argument("--fence-agent", action="store_true", help="hosts have fence agents")
    options = parser.parse_args()
    prepare(lambda message: None)
    lab = Lab()
    deployment = Deployment(lab)
    with lab.exclusive():
        try:
            takeovers = _measure(deployment, options.runs, options.profile, options.fence_agent)
        finally:
            deployment.down()
    _print(takeovers, options.profile)
    return 1 if any(takeover.lost_writes for takeover in takeovers) else 0


def _measure(deployment: Deployment, runs: int, profile: str, fence_agent: bool) -> list[Takeover]:
    deployment.up(fresh=True)
    deployment.make_counter_disks(VOLUME, VOLUME_SIZE)
    for name in ("two-sites", "bancuv3"):
        deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
    patch = f'{{"spec": {{"profile": "{profile}"}}}}'
    for site in ("burjassot", "tarongers"):
        deployment.kubectl("patch", "site", site, "--type=merge", "-p", patch)
    takeovers: list[Takeover] = []
    wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)
    if fence_agent:
        deployment.give_fence_agents()
    floor_s = _empty_domain_s(deployment.lab.hosts[0])
    console.print(f"libvirt alone creates an empty domain in {floor_s:.2f} s on this machine today")
    for run in range(runs):
        wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)
        time.sleep(SETTLE_S)
        takeover = kill_and_watch(deployment, GUEST)
        takeovers.append(takeover)
        steps = "  ".join(f"{key} {value:.2f}" for key, value in takeover.steps_s.items())
        console.print(
            f"run {run + 1}: {takeover.source} → {takeover.target}: {steps}", markup=False
        )
        deployment.lab.host(takeover.source).start()
    return takeovers


def _empty_domain_s(host: SiteHost) -> float:
    """What of "domain created" is no doing of Tandem's: libvirt and QEMU starting nothing."""
    argv = ["/opt/tandem/venv/bin/python", "-c", EMPTY_DOMAIN]
    return float(host.run(argv, timeout_s=READY_TIMEOUT_S).check().stdout)


def _print(takeovers: list[Takeover], profile: str) -> None:
    table = Table("STEP", "MEDIAN s", "MIN s", "MAX s", title=f"{len(takeovers)} runs, {profile}")
    for key, label in STEPS.items():
        values = [t.steps_s[key] for t in takeovers if key in t.steps_s]
        if values:
            row = (statistics.median(values), min(values), max(values))
            table.add_row(label, *(f"{value:.2f}" for value in row))
    console.print(table)
    lost = sum(takeover.lost_writes for takeover in takeovers)
    console.print(f"acknowledged writes lost: {lost}")
    console.print("for comparison, kill to first line, medians of 5 on the same kind of lab:")
    for name, value in OTHERS_S.items():
        console.print(f"  {name}: {value} s")


if __name__ == "__main__":
    sys.exit(main())
