"""Two hosts that only pretend to run a guest, and a look at who leads: clients of the cluster.

They write what real hosts write, with hosts' keys: heartbeats, reports, claims. So the operator in
its pods is told what a real cluster would tell it. They live in the cluster's network, in a thread
of their own, and go on whatever the caller waits for.

Called by the drill.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tandem_api.authority import Eligibility, Instance
from tandem_api.kinds.guest import Guest
from tandem_api.lease import HeartbeatContent, lease_name
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_api.timing import FAST
from tandem_controller.decide.election import LEASE_NAME
from tandem_kube import GUESTS, MIRRORS, KubeClient, KubeError
from tandem_lab.namespace import inside
from tandem_lab.pods.leadership import Seen
from tandem_lab.settings import LabError

CALL_TIMEOUT_S = 60.0
POLL_S = 0.05
PATIENCE_S = 10.0
ANSWERED = TypeVar("ANSWERED")


@dataclass
class PretendedHost:
    """One host. It runs nothing, and says that it does."""

    client: KubeClient
    name: str
    site: str
    alive: bool = True
    instance: Instance = field(init=False)

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        """Another start of the machine and of its actuator."""
        boot, start = uuid.uuid4().hex[:8], uuid.uuid4().hex[:8]
        self.instance = Instance(node=self.name, boot_id=boot, run_id=start)

    async def run(self) -> None:
        """Heartbeats, while it is alive."""
        while True:
            if self.alive:
                with suppress(KubeError):
                    await self._beat()
            await asyncio.sleep(FAST.renew_interval_seconds)

    async def _beat(self) -> None:
        content = HeartbeatContent(
            host=self.name,
            site=self.site,
            instance=str(self.instance),
            watchdog_armed=True,
            timing=FAST,
        )
        await self.client.renew_lease(
            lease_name(self.name),
            holder=content.instance,
            duration_s=FAST.lease_duration_seconds,
            labels=content.labels,
            annotations=content.annotations,
        )

    async def report_replica(self, key: ObjectKey, *, connected: bool, role: str) -> None:
        """What it would say of its disk."""
        disk = {"disk": "UpToDate", "peerDisk": "UpToDate" if connected else "DUnknown"}
        report = {
            "instance": str(self.instance),
            "role": role,
            "connection": "Connected" if connected else "Connecting",
            "peerRole": "Secondary" if connected else "Unknown",
            "volumes": {"root": {**disk, "outOfSyncBytes": 0}},
        }
        patch = {"replicas": {self.name: report}}
        await self.client.merge_patch_status(MIRRORS, key, patch, timeout_s=PATIENCE_S)

    async def say_in_sync(self, key: ObjectKey, hosts: list[str]) -> None:
        """The end of the first sync: either copy may be used."""
        both = Eligibility(eligible=True, reason=Reason.IN_SYNC)
        await self._swap(key, {"eligible": dict.fromkeys(hosts, both)})

    async def claim(self, key: ObjectKey) -> None:
        """Take what it was assigned, as an actuator does after its checks."""
        owned = {"owner": self.name, "owner_instance": str(self.instance)}
        await self._swap(key, {**owned, "reason": Reason.CLAIMED, "fenced": {}})

    async def report_guest(self, key: ObjectKey, state: str) -> None:
        """What it would say of its domain."""
        guest = await self.client.fetch(GUESTS, key)
        assert guest.status.assignment is not None
        report = {
            "instance": str(self.instance),
            "state": state,
            "assignmentSerial": guest.status.assignment.serial,
            "reason": "Running" if state == "Running" else "Steady",
        }
        await self.client.merge_patch_status(
            GUESTS, key, {"hosts": {self.name: report}}, timeout_s=PATIENCE_S
        )

    async def _swap(self, key: ObjectKey, changes: Mapping[str, Any]) -> None:
        mirror = await self.client.fetch(MIRRORS, key)
        was = mirror.status.authority
        assert was is not None
        await self.client.swap_authority(
            key,
            expected_epoch=was.epoch,
            uid=mirror.metadata.uid,
            authority=was.model_copy(update={"epoch": was.epoch + 1, **changes}),
        )


class Clients:
    """The thread that all clients live in. `seen` is filled with looks at the election's Lease."""

    def __init__(self, namespace: str, admin: Path, hosts: Mapping[str, tuple[str, Path]]) -> None:
        self._namespace, self._admin, self._given = namespace, admin, hosts
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self.hosts: dict[str, PretendedHost] = {}
        self.seen: list[Seen] = []

    def start(self) -> None:
        """Heartbeats begin."""
        self._thread.start()
        if not self._ready.wait(CALL_TIMEOUT_S):
            raise LabError("the pretended hosts did not begin")

    def stop(self) -> None:
        """End the thread. Fine if it never ran."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_TIMEOUT_S)

    def call(self, work: Coroutine[Any, Any, ANSWERED]) -> ANSWERED:
        """Run a piece of work in the thread and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def until_guest(
        self, key: ObjectKey, holds: Callable[[Guest], bool], timeout_s: float
    ) -> Guest:
        """The guest, as soon as it is so. LabError with its last status if it never is."""
        return self.call(self._until_guest(key, holds, timeout_s))

    async def _until_guest(
        self, key: ObjectKey, holds: Callable[[Guest], bool], timeout_s: float
    ) -> Guest:
        deadline_s, last = time.monotonic() + timeout_s, "never read"
        while time.monotonic() < deadline_s:
            with suppress(KubeError):
                guest = await self._client.fetch(GUESTS, key)
                if holds(guest):
                    return guest
                last = guest.status.model_dump_json(exclude_none=True)
            await asyncio.sleep(POLL_S)
        raise LabError(f"guest {key} not within {timeout_s:.0f} s; last seen: {last}")

    def _run(self) -> None:
        # A socket stays in the namespace that its thread was in.
        with inside(self._namespace):
            asyncio.set_event_loop(self._loop)
            tasks = [self._loop.create_task(self._begin())]
            try:
                self._loop.run_forever()
            finally:
                tasks += [task for task in asyncio.all_tasks(self._loop) if task not in tasks]
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(self._close(tasks))
                self._loop.close()

    async def _begin(self) -> None:
        self._client = await KubeClient.load(self._admin, component="pods")
        for name, (site, kubeconfig) in self._given.items():
            client = await KubeClient.load(kubeconfig, component=name)
            self.hosts[name] = PretendedHost(client, name, site)
        self._ready.set()
        await asyncio.gather(self._look(), *(host.run() for host in self.hosts.values()))

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in (self._client, *(host.client for host in self.hosts.values())):
            await client.close()

    async def _look(self) -> None:
        """Who leads, twenty times a second."""
        while True:
            with suppress(KubeError):
                lease = await self._client.get_lease(LEASE_NAME)
                holder = str(lease.get("spec", {}).get("holderIdentity") or "")
                version = str(lease["metadata"]["resourceVersion"])
                self.seen.append(Seen(time.monotonic(), holder, version))
            await asyncio.sleep(POLL_S)
