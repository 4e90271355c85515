"""How fence agents are asked: read, ask, read again, ask again, write; and by nobody else."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any, cast

from tandem_api.lease import Heartbeat
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Plan
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import AgentCall, AgentFailed, Outside, PowerState
from tandem_controller.run import power
from tandem_controller.run.power import Power
from tandem_controller.run.store import Store

from .scenes import NOW_S, A, B, Scene
from .test_fence_agents import scene, tracker

SECRET = {"password": "hunter2"}


class Around:
    """All that ``Power`` reaches: what was done stands in ``done``, in its order."""

    def __init__(self, made: Scene) -> None:
        self.made, self.done = made, list[str]()
        made.hosts[A]["fenceAgent"] = {**made.hosts[A]["fenceAgent"], "secretName": "a"}
        self.leases, self.led, self.version = tracker(made), True, "5"
        self.state: PowerState | Exception = PowerState.OFF
        self.calls: list[AgentCall] = []
        self.upon: dict[str, Callable[[], None]] = {}
        self.written: list[tuple[Any, str | None]] = []
        self.now_s = NOW_S
        self.store, whole = Store(lambda: None), cast(Any, self)
        outside = Outside("one", whole, whole, whole, Random(1), whole, whole)
        metrics = Metrics("tested")
        self.power = Power(outside, self.store, lambda: self.led, metrics, whole, lambda: None, 0.1)
        self.power.tracker = lambda: self.leases

    def did(self, what: str) -> None:
        self.done.append(what)
        if what in self.upon:
            self.upon.pop(what)()

    # the clock, events

    def monotonic_s(self) -> float:
        return self.now_s

    def wall(self) -> str:
        return "2024-05-01T10:00:00Z"

    def put(self, *told: Any) -> None:
        pass

    # the API

    async def list_objects(self, kind: str) -> tuple[list[Any], int]:
        snapshot = self.made.snapshot()
        found: Any = {"Host": snapshot.hosts, "Site": snapshot.sites, "Mirror": snapshot.mirrors}
        raws = [obj.wire() for obj in found.get(kind, snapshot.tandems)]
        for raw in raws:
            raw["metadata"]["resourceVersion"] = self.version
        return raws, 5

    async def heartbeats(self, timeout_s: float) -> list[Heartbeat]:
        self.did("read")
        return [count.heartbeat for count in self.leases.counts.values()]

    async def read_secret(self, name: str) -> dict[str, str]:
        self.upon.pop("secret", lambda: None)()
        return SECRET

    async def write_status(self, kind: str, key: ObjectKey, patch: Any, version: str | None) -> Any:
        self.did("write")
        self.written.append((patch, version))
        raws, _ = await self.list_objects("Host")
        return next(raw for raw in raws if raw["metadata"]["name"] == key.name)

    # the agents

    async def off(self, call: AgentCall) -> None:
        self.calls.append(call)
        self.did("off")

    async def status(self, call: AgentCall) -> PowerState:
        self.did("status")
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    async def played(self, wanted: bool = True, turns_s: float = 0.3) -> None:
        plan = cast(Any, type("P", (), {"to_power_off": {A: ("ns/g",)} if wanted else {}}))
        self.power.planned(cast(Plan, plan))
        running = asyncio.create_task(self.power.run())
        await asyncio.sleep(turns_s)
        running.cancel()
        await asyncio.wait([running])

    def heard_again(self) -> None:
        """A has sent another heartbeat: it is well."""
        count = self.leases.counts[A]
        beat = count.heartbeat.model_copy(update={"version": "78"})
        counts = {**self.leases.counts, A: replace(count, heartbeat=beat, since_s=self.now_s)}
        self.leases = LeaseTracker(counts, read_s=self.now_s)


class TestOrder:
    async def test_each_command_comes_right_after_a_read_and_the_word_last(self) -> None:
        around = Around(scene())
        await around.played()
        assert around.done == ["read", "off", "read", "status", "write"]
        patch, version = around.written[0]
        assert patch["poweredOff"]["bootID"] == "boot"
        assert (patch["poweredOff"]["leaseVersion"], version) == ("77", "5")
        assert around.calls[0].secrets == SECRET
        assert "password" not in around.calls[0].parameters

    async def test_what_is_off_is_not_switched_off_again_while_the_plan_lags(self) -> None:
        around = Around(scene())
        await around.played(turns_s=0.9)
        assert around.done.count("off") == 1

    async def test_a_host_that_is_heard_again_is_not_switched_off(self) -> None:
        around = Around(scene())
        around.upon["read"] = around.heard_again
        await around.played()
        assert "off" not in around.done

    async def test_nor_is_it_taken_for_off(self) -> None:
        around = Around(scene())
        around.upon["off"] = around.heard_again
        await around.played()
        assert around.done.count("off") == 1
        assert not {"status", "write"} & set(around.done)

    async def test_on_reads_that_took_long_nothing_is_sent(self) -> None:
        around = Around(scene())

        def late() -> None:
            around.now_s += power.FACTS_LIFE_S + 0.1

        around.upon["secret"] = late
        await around.played(turns_s=0.04)
        assert "off" not in around.done


class TestWord:
    async def test_what_is_on_again_proves_nothing(self) -> None:
        around = Around(scene())
        around.state = PowerState.ON
        await around.played()
        assert "off" in around.done and not around.written

    async def test_nor_does_an_agent_that_fails(self) -> None:
        around = Around(scene())
        around.state = AgentFailed("ended with 2: bad parameter")
        await around.played()
        assert not around.written
        refusal = around.power.agents[A]
        assert refusal is not None and refusal.reason is Reason.FENCE_AGENT_FAILS


class TestWho:
    async def test_nobody_who_does_not_lead(self) -> None:
        around = Around(scene())
        around.led = False
        await around.played()
        assert around.done == []

    async def test_nobody_who_has_ceased_to_since_he_read(self) -> None:
        around = Around(scene())

        def over() -> None:
            around.led = False

        around.upon["read"] = over
        await around.played()
        assert "off" not in around.done

    async def test_nor_writes_what_he_heard_then(self) -> None:
        around = Around(scene())

        def over() -> None:
            around.led = False

        around.upon["status"] = over
        await around.played()
        assert "status" in around.done and not around.written

    async def test_only_a_host_that_is_worth_it(self) -> None:
        around = Around(scene())
        await around.played(wanted=False)
        assert around.done == []


@contextmanager
def checked(around: Around) -> Iterator[None]:
    """Its objects are in the store: A is well."""
    raws = [obj.wire() for obj in around.made.snapshot().hosts]
    for raw in raws:
        cast(Any, raw["metadata"])["resourceVersion"] = "5"
    around.store.replace("Host", raws)
    yield


class TestTried:
    async def test_while_the_host_is_well(self) -> None:
        around = Around(scene(0.5))
        around.state = PowerState.ON
        with checked(around):
            await around.played(wanted=False)
        assert around.done == ["status"]
        assert around.power.agents == {A: None}

    async def test_not_while_it_is_silent(self) -> None:
        around = Around(scene(6.0))
        with checked(around):
            await around.played(wanted=False)
        assert around.done == []

    async def test_one_that_fails_is_told(self) -> None:
        around = Around(scene(0.5))
        around.state = AgentFailed("ended with 1: Unable to connect/login")
        with checked(around):
            await around.played(wanted=False)
        found = around.power.agents[A]
        assert found is not None and "Unable to connect/login" in found.message

    async def test_one_that_says_off_of_a_host_that_is_heard_is_about_another(self) -> None:
        around = Around(scene(0.5))

        def later() -> None:
            asyncio.get_running_loop().call_later(0.05, around.heard_again)

        around.upon["status"] = later
        with checked(around):
            await around.played(wanted=False)
        found = around.power.agents[A]
        assert found is not None and found.reason is Reason.FENCE_AGENT_ELSEWHERE

    async def test_of_one_that_is_silent_since_then_nothing_is_said(self) -> None:
        around = Around(scene(0.5))
        with checked(around):
            await around.played(wanted=False)
        assert around.power.agents == {}


def test_what_cannot_be_read_may_be_about_it() -> None:
    assert power._names({"spec": {}}, A)
    assert not power._names({"spec": {"replicas": [{"host": B}]}}, A)
