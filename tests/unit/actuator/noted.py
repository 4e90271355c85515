"""A unit and its driver on ports that only note what they are asked, in order. For tests alone.

What a test is about is the order: what was known at the moment of a call, and what an answer
changes. Whatever has a meaning of its own is simulated elsewhere (``sim``).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, cast

from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.core.drbd import DrbdView
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.model import Record
from tandem_actuator.ports import Clock
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Authority
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState
from unit.builders import HERE, assignment, authority, drbd, guest, mirror, record


class Noted:
    """Every port in one. ``during``: what happens while a call of this name is under way, which may
    fail it; ``at`` and ``drbd``: what the API and the kernel say; ``told``: the service manager.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.calls: list[str] = []
        self.during: dict[str, Callable[[], None]] = {}
        self.waiting: dict[str, Callable[[], Awaitable[None]]] = {}
        self.clock = cast(FakeClock, clock or FakeClock())
        self.at, self.drbd = mirror(authority()), drbd()
        self.found: DrbdView = self.drbd
        self.domains: dict[str, DomainState] = {}
        self.asked_dead: list[list[str]] = []
        self.dead_domains, self.gone_domains = set[str](), set[str]()
        self.changed = True
        self.uids: list[str] = []
        self.told: list[str] = []
        self.node = NodeFacts(HERE.node, HERE, DEFAULT)
        self.node.renewal_sent_at_s = self.clock.boottime_s()
        whole = cast(Any, self)
        self.ports = Ports(whole, whole, whole, whole, whole, self.clock, supervisor=whole)
        settings = DomainSettings(kvm=True, serial_dir="/tmp")
        self.driver = Driver(self.ports, self.node, settings, lambda unit: "text")
        self.unit = Unit(mirror=self.at, record=record(owned_epoch=5))
        self.unit.guest = guest(assignment(HERE.node))
        self.unit.domain = DomainState.ABSENT
        self.driver.on_starting = lambda: self._note("guard")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.during.get(call, lambda: None)()

    async def _call(self, call: str) -> None:
        self._note(call)
        if call in self.waiting:
            await self.waiting[call]()

    # the API

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        await self._call("read")
        return self.at

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, new: Authority
    ) -> Mirror:
        self.uids.append(uid)
        await self._call("swap")
        status = self.at.status.model_copy(update={"authority": new})
        self.at = self.at.model_copy(update={"status": status})
        return self.at

    # DRBD

    async def query(self, at: Mirror) -> DrbdView:
        await self._call("query")
        return self.found

    async def configure(self, at: Mirror, text: str) -> bool:
        await self._call("configure")
        return self.changed

    async def adjust(self, at: Mirror) -> None:
        await self._call("adjust")

    async def check_files(self) -> None:
        await self._call("check files")

    async def forbid_two_primaries(self, at: Mirror) -> None:
        await self._call("forbid two")

    async def promote(self, at: Mirror, *, force: bool) -> None:
        await self._call("promote")

    async def demote(self, at: Mirror) -> None:
        await self._call("demote")

    async def connect(self, at: Mirror, *, discard_my_data: bool) -> None:
        await self._call("connect")

    async def disconnect(self, at: Mirror) -> None:
        await self._call("disconnect")

    # the guest

    async def states(self) -> Mapping[str, DomainState]:
        await self._call("states")
        return self.domains

    async def dead(self, names: Collection[str]) -> Mapping[str, bool]:
        self.asked_dead.append(sorted(names))
        await self._call("dead")
        return {name: name in self.dead_domains for name in names if name not in self.gone_domains}

    async def start(self, guest: Guest, xml: str) -> None:
        await self._call("start")

    async def destroy(self, name: str) -> None:
        await self._call("destroy")

    async def resume(self, name: str) -> None:
        await self._call("resume")

    async def shutdown(self, name: str) -> None:
        await self._call("shutdown")

    async def cut(self, name: str) -> None:
        await self._call("cut")

    # who started this run

    def ready(self) -> None:
        self.told.append("ready")

    def alive(self) -> None:
        self.told.append("alive")

    # the record

    def store(self, name: str, record: Record) -> None:
        self._note("store")
