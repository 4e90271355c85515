"""`make bench-policies`: what the API server's own checks cost, and the write that they need.

On an API server of its own, without the lab: how long one status patch takes with and without the
policies, in blocks that take turns, and how long the writes of a takeover of many guests take: the
assignments alone, as they were before there was `status.claimants`, with their entries, and with
the policies in force; and the claims that follow. The clients run beside the server.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tandem_api.authority import Authority, Eligibility
from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.kinds.mirror import Claimant, Mirror
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_kube import GUESTS, MIRRORS, KubeClient
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.policies import apply_policies, remove_policies
from tandem_lab.settings import SOURCE_DIR

A, B = "burjassot-1", "tarongers-1"
NAMESPACE = "bench"
AT_ONCE = 16
"""As many writes as the controller has under way."""
PATCHES = 400
BLOCKS = 2
TIMEOUT_S = 30.0
SETTLE_S = 3.0


@dataclass
class Clients:
    """One client for each identity."""

    admin: KubeClient
    controller: KubeClient
    hosts: dict[str, KubeClient]

    async def close(self) -> None:
        for client in (self.admin, self.controller, *self.hosts.values()):
            await client.close()


async def clients_of(plane: ControlPlane) -> Clients:
    async def load(path: Path) -> KubeClient:
        return await KubeClient.load(path, component="bench")

    account = plane.serviceaccount_kubeconfig("tandem-system", "tandem-controller")
    hosts = {
        name: await load(plane.user_kubeconfig(f"tandem:host:{name}", ["tandem:hosts"]))
        for name in (A, B)
    }
    return Clients(await load(plane.admin_kubeconfig()), await load(account), hosts)


def key(number: int) -> ObjectKey:
    return ObjectKey(namespace=NAMESPACE, name=f"g{number}")


async def all_of(calls: Iterable[Callable[[], Awaitable[object]]]) -> float:
    """Seconds from the first to the last, a bounded number at a time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(call: Callable[[], Awaitable[object]]) -> None:
        async with slots:
            await call()

    began_s = time.monotonic()
    await asyncio.gather(*(one(call) for call in calls))
    return time.monotonic() - began_s


async def make(clients: Clients, number: int) -> None:
    """A guest on a mirror that A owns. No claimant: as a controller of before leaves it."""
    where = {"namespace": NAMESPACE, "name": f"g{number}"}
    devices = {"root": f"/dev/vg0/g{number}"}
    replicas = [{"host": host, "devices": devices} for host in (A, B)]
    volumes = [{"name": "root", "size": "16Mi"}]
    spec: dict[str, Any] = {"volumes": volumes, "replicas": replicas}
    made = await clients.admin.create(
        MIRRORS, {"metadata": where, "spec": spec}, timeout_s=TIMEOUT_S
    )
    domain = {"memory": "32Mi", "disks": [{"volume": "root"}]}
    guest = {"mirror": f"g{number}", "domain": domain}
    await clients.admin.create(GUESTS, {"metadata": where, "spec": guest}, timeout_s=TIMEOUT_S)
    both = Eligibility(eligible=True, reason=Reason.IN_SYNC)
    first = Authority(
        epoch=1,
        incarnation=made["metadata"]["uid"],
        owner=A,
        owner_instance=f"{A}/boot/run",
        eligible={A: both, B: both},
    )
    numbers = {"port": 7789, "minors": {"root": 0}}
    status = {"authority": first.wire(), "deviceNumbers": numbers}
    await clients.admin.merge_patch_status(MIRRORS, key(number), status, timeout_s=TIMEOUT_S)


async def patch_times_s(client: KubeClient) -> list[float]:
    """Of a host's reports, one after another."""
    times = []
    for turn in range(PATCHES):
        report = {"replicas": {A: {"role": "Primary", "epochSeen": turn}}}
        began_s = time.monotonic()
        await client.merge_patch_status(MIRRORS, key(0), report, timeout_s=TIMEOUT_S)
        times.append(time.monotonic() - began_s)
    return times


async def takeover(clients: Clients, taker: str, count: int, *, claimants: bool) -> list[float]:
    """Seconds for the controller's writes, and for the taker's claims."""
    mirrors = {
        raw["metadata"]["name"]: Mirror.parse(raw)
        for raw in (await clients.admin.list(MIRRORS, NAMESPACE)).items
    }

    async def assign(number: int) -> None:
        mirror = mirrors[f"g{number}"]
        proof = proof_of(mirror)
        if claimants:
            entry = Claimant(guest=f"g{number}", proof=proof)
            await clients.controller.add_claimant(mirror, taker, entry, timeout_s=TIMEOUT_S)
        order = {"host": taker, "mirror": f"g{number}", "serial": 2, "reason": "LeaseLost"}
        patch = {"assignment": {**order, "proof": proof.wire()}}
        await clients.controller.merge_patch_status(GUESTS, key(number), patch, timeout_s=TIMEOUT_S)

    async def claim(number: int) -> None:
        mirror = mirrors[f"g{number}"]
        was = mirror.status.authority
        assert was is not None
        new = {"epoch": was.epoch + 1, "owner": taker, "owner_instance": f"{taker}/boot/run"}
        await clients.hosts[taker].swap_authority(
            key(number),
            expected_epoch=was.epoch,
            uid=mirror.metadata.uid,
            authority=was.model_copy(update=new),
            timeout_s=TIMEOUT_S,
        )

    await asyncio.sleep(SETTLE_S)
    assigned_s = await all_of(partial(assign, number) for number in range(count))
    claimed_s = await all_of(partial(claim, number) for number in range(count))
    return [assigned_s, claimed_s]


def proof_of(mirror: Mirror) -> FencingProof:
    """That the owner has stopped."""
    was = mirror.status.authority
    assert was is not None
    return FencingProof(
        kind=ProofKind.LEASE_LOST,
        host=was.owner,
        instance=was.owner_instance,
        at_epoch=was.epoch,
        watchdog=True,
    )


async def measure(plane: ControlPlane, count: int) -> None:
    clients = await clients_of(plane)
    await all_of(partial(make, clients, number) for number in range(count))
    rounds = [("the assignments alone, no policies", False), ("with claimants, no policies", True)]
    found: list[tuple[str, list[float]]] = []
    for (what, claimants), taker in zip(rounds, (B, A), strict=True):
        found.append((what, await takeover(clients, taker, count, claimants=claimants)))
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(BLOCKS):
        times[False] += await patch_times_s(clients.hosts[A])
        apply_policies(plane)
        times[True] += await patch_times_s(clients.hosts[A])
        remove_policies(plane)
    apply_policies(plane)
    what = "with claimants, with policies"
    found.append((what, await takeover(clients, B, count, claimants=True)))
    await clients.close()
    show(times, found, count)


def show(times: dict[bool, list[float]], found: list[tuple[str, list[float]]], count: int) -> None:
    console = Console()
    table = Table(title=f"one status patch, ms ({PATCHES * BLOCKS} of each)")
    for name in ("", "p50", "p99"):
        table.add_column(name)
    for policies, each in times.items():
        cuts = statistics.quantiles(each, n=100)
        row = "with policies" if policies else "without"
        table.add_row(row, f"{cuts[49] * 1e3:.1f}", f"{cuts[98] * 1e3:.1f}")
    console.print(table)
    table = Table(title=f"{count} guests are taken over, {AT_ONCE} writes at a time, seconds")
    for name in ("", "assigned", "claimed"):
        table.add_column(name)
    for what, (assigned_s, claimed_s) in found:
        table.add_row(what, f"{assigned_s:.2f}", f"{claimed_s:.2f}")
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench_policies", description=__doc__)
    parser.add_argument("--guests", type=int, default=1000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as directory:
        plane = ControlPlane(Path(directory), die_with_parent=True)
        plane.start()
        try:
            for folder in ("base", "hosts"):
                apply_path(plane, SOURCE_DIR / "manifests" / folder)
            plane.kubectl("create", "namespace", NAMESPACE)
            asyncio.run(measure(plane, options.guests))
        finally:
            plane.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
