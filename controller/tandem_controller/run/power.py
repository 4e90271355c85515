"""Asks fence agents: switches silent hosts off, and tries the agents of those that are well.

Which hosts are worth it the plan says (``decide/guests/powering_off``); whether one may be switched
off is judged anew, on quorum reads, right before each command (``decide/world/fence_agents``). By
the leader alone, one command at a time about a host. What was switched off counts once its agent
has said that it *is* off, and once that stands on the Host.

It delays nothing: a takeover that time has proven begins beside it. Called by ``program``.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tandem_api.kinds.host import FenceAgent, Host, PoweredOff
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.reasons import Reason
from tandem_base.waits import cancelled, set_within
from tandem_controller.decide.world import leases
from tandem_controller.decide.world.fence_agents import NotYet, Order, verdict
from tandem_controller.decide.world.hosts import freshness, host_view, outrun
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Freshness, HostView, Notice, Plan, Refusal
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import (
    AgentCall,
    AgentError,
    ApiError,
    Outside,
    PowerState,
    Raw,
)
from tandem_controller.run.events import EventQueue
from tandem_controller.run.store import Store

log = logging.getLogger(__name__)

TICK_S = 0.25
FACTS_LIFE_S = 2.0
"""How long before a command the reads that it rests on may have begun."""
LOOK_S = 0.25
AGAIN_S = 1.0
"""Between tries of what is refused, or has failed."""
CHECK_S = 60.0
"""Between tries of an agent while its host is well."""
CHECKS = 4
"""So many at a time."""
HEARD_S = 3.0
"""A host that is said to be off, and sends a heartbeat so soon after, is another machine."""


@dataclass(frozen=True)
class Found:
    """What quorum reads have come to, which began at this moment."""

    began_s: float
    verdict: Order | NotYet | Refusal


class Power:
    """One replica's part. ``leads``: whether it may. ``tracker``: its counts as they are now."""

    def __init__(
        self,
        outside: Outside,
        store: Store,
        leads: Callable[[], bool],
        metrics: Metrics,
        events: EventQueue,
        wake: Callable[[], None],
        heard_s: float = HEARD_S,
    ) -> None:
        self._now_s, self._wall = outside.clock.monotonic_s, outside.clock.wall
        self._api, self._ask = outside.api, outside.agents
        self._store, self._leads, self._wake = store, leads, wake
        self._metrics, self._events, self._heard_s = metrics, events, heard_s
        self.tracker: Callable[[], LeaseTracker] = LeaseTracker
        self._wanted: Mapping[str, tuple[str, ...]] = {}
        self._stirred = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._checked: dict[str, tuple[FenceAgent, float]] = {}
        self._told: dict[str, str] = {}
        self._confirmed: dict[str, tuple[str, str]] = {}
        self.agents: dict[str, Refusal | None] = {}
        """Of the hosts whose agents were tried, what is wrong with them."""

    def planned(self, plan: Plan) -> None:
        """Take in which hosts are worth switching off."""
        self._wanted = plan.to_power_off
        self._stirred.set()

    def follows(self) -> None:
        """This replica does not lead: what it knew is another's to find out."""
        self._wanted = {}
        self.agents, self._checked, self._confirmed = {}, {}, {}
        self._stirred.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await set_within(self._stirred, TICK_S)
                self._stirred.clear()
                await self._turn()
        finally:
            await cancelled(self._tasks.values())

    async def _turn(self) -> None:
        for name, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[name]
                self._ended(name, task)
        leads = self._leads()
        over = [
            name
            for name, task in self._tasks.items()
            if not leads or (task.get_name() == "off" and name not in self._wanted)
        ]
        over += [n for n in self._wanted if n in self._tasks and _checks(self._tasks[n])]
        await cancelled([self._tasks.pop(name) for name in dict.fromkeys(over)])
        if not leads:
            return
        for name in self._wanted:
            if name not in self._tasks and self._is_news(name):
                self._begin(name, "off", self._switch_off(name))
        for host in self._store.parsed("Host"):
            if sum(map(_checks, self._tasks.values())) < CHECKS and self._is_due(host):
                self._begin(host.metadata.name, "check", self._check(host))

    def _begin(self, host: str, what: str, work: Any) -> None:
        self._tasks[host] = asyncio.create_task(work, name=what)

    def _ended(self, host: str, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a wall: it costs this host's agent alone, for a while
            log.critical("bug: fence agent of %s: %r", host, error, exc_info=error)

    # -- switching off

    async def _switch_off(self, name: str) -> None:
        """Until it is off and that is written down, or nobody waits for it any more."""
        while True:
            try:
                await asyncio.sleep(await self._try(name))
            except ApiError as error:
                self._say(name, f"not known whether it may be switched off: {error}")
                await asyncio.sleep(LOOK_S)
            if not self._is_news(name):
                return

    async def _try(self, name: str) -> float:
        """One try: how long to rest before the next."""
        found = await self._judged(name)
        if isinstance(found.verdict, NotYet):
            return max(LOOK_S / 5, found.verdict.left_s)
        if isinstance(found.verdict, Refusal):
            self._say(name, found.verdict.message)
            return AGAIN_S
        order, agent = found.verdict, found.verdict.host.spec.fence_agent
        assert agent is not None
        secrets = await self._secrets(agent)
        call = _call(agent, secrets, agent.off_timeout_seconds)
        if self._now_s() - found.began_s > FACTS_LIFE_S or not self._leads():
            return LOOK_S / 5
        waiting = ", ".join(self._wanted.get(name, ()))
        self._tell(order.host, Reason.POWERING_OFF, f"{agent.agent} is asked for {waiting}")
        if not await self._answered(name, "off", self._ask.off(call)):
            return AGAIN_S
        return await self._confirm(name, order, agent, secrets)

    async def _confirm(
        self, name: str, order: Order, agent: FenceAgent, secrets: Mapping[str, str]
    ) -> float:
        """Ask whether it is off, and write that down."""
        found = await self._judged(name)
        if not isinstance(found.verdict, Order) or _about(found.verdict) != _about(order):
            return LOOK_S / 5
        call = _call(agent, secrets, agent.status_timeout_seconds)
        state = await self._answered(name, "status", self._ask.status(call))
        if state is not PowerState.OFF:
            if state is PowerState.ON:
                self._say(name, "it was switched off, and is on again, which proves nothing")
            return AGAIN_S
        if not self._leads():
            return LOOK_S
        word = PoweredOff(
            boot_id=order.boot_id,
            lease_version=order.lease_version,
            agent=agent.agent,
            at=self._wall(),
        )
        host = found.verdict.host
        version = host.metadata.resource_version
        raw = await self._api.write_status("Host", host.key, {"poweredOff": word.wire()}, version)
        self._store.put("Host", raw)
        self._confirmed[name] = _about(order)
        self._tell(host, Reason.POWERED_OFF, f"{agent.agent} says that {name} is off")
        return LOOK_S

    def _is_news(self, name: str) -> bool:
        """Whether it was not confirmed to be off, or was heard again since."""
        known, count = self._confirmed.get(name), self.tracker().counts.get(name)
        return known is None or count is None or count.heartbeat.version != known[1]

    async def _judged(self, name: str) -> Found:
        """By quorum reads that begin now."""
        began_s, tracker = self._now_s(), self.tracker()
        *listed, beats = await asyncio.gather(
            self._api.list_objects("Tandem"),
            self._api.list_objects("Site"),
            self._api.list_objects("Host"),
            self._api.list_objects("Mirror"),
            self._api.heartbeats(leases.READ_TIMEOUT_S),
        )
        tandems, sites, hosts, mirrors = ([*objects] for objects, _ in listed)
        seen = leases.observe(tracker, began_s, self._now_s(), beats, self._wall())
        if any((raw.get("spec") or {}).get("paused") for raw in tandems):
            return Found(began_s, _refused("everything is paused"))
        try:
            views = self._views(name, sites, hosts, seen)
            named = tuple(Mirror.parse(raw) for raw in mirrors if _names(raw, name))
        except ValidationError as error:
            return Found(began_s, _refused(f"{error.title} cannot be read"))
        if name not in views:
            return Found(began_s, _refused("it is not there"))
        since_s = self._now_s() - began_s
        return Found(began_s, verdict(views[name], named, views, since_s))

    def _views(
        self, name: str, sites: list[Raw], hosts: list[Raw], seen: LeaseTracker
    ) -> dict[str, HostView]:
        """Raises: ValidationError."""
        now_s, by_whom = self._now_s(), outrun(seen)
        known = {raw["metadata"]["name"]: raw for raw in sites}
        found = {}
        for raw in hosts:
            host = Host.parse(raw)
            site = Site.parse(known[host.spec.site]) if host.spec.site in known else None
            outrun_by = {host.metadata.name: by_whom.get(host.metadata.name, frozenset())}
            found[host.metadata.name] = host_view(host, site, seen, now_s, (), outrun_by)
        return found

    # -- trying the agents of hosts that are well

    def _is_due(self, host: Host) -> bool:
        name, agent = host.metadata.name, host.spec.fence_agent
        if agent is None:
            if self.agents.pop(name, False) is not False:
                self._checked.pop(name, None)
            return False
        if name in self._tasks:
            return False
        well = freshness(self.tracker(), name, self._now_s()) is Freshness.FRESH
        known = self._checked.get(name)
        return well and (known is None or known[0] != agent or self._now_s() - known[1] >= CHECK_S)

    async def _check(self, host: Host) -> None:
        name, agent = host.metadata.name, host.spec.fence_agent
        assert agent is not None
        self._checked[name] = (agent, self._now_s())
        try:
            secrets = await self._secrets(agent)
        except ApiError as error:
            self._note(name, Refusal(Reason.FENCE_AGENT_FAILS, f"{agent.agent}: {error}"))
            return
        call = _call(agent, secrets, agent.status_timeout_seconds)
        state = await self._answered(name, "status", self._ask.status(call))
        if state is PowerState.ON:
            self._note(name, None)
        elif state is PowerState.OFF and await self._is_heard(name):
            message = (
                f"{agent.agent} says that {name} is off, and it sends its heartbeat: it is about"
                f" another machine, and is not asked to switch {name} off. Correct"
                " spec.fenceAgent.parameters"
            )
            self._note(name, Refusal(Reason.FENCE_AGENT_ELSEWHERE, message))

    async def _is_heard(self, name: str) -> bool:
        before = self.tracker().counts.get(name)
        await asyncio.sleep(self._heard_s)
        after = self.tracker().counts.get(name)
        return (
            before is not None
            and after is not None
            and after.renewed
            and (before.heartbeat.version != after.heartbeat.version)
        )

    # -- both

    async def _secrets(self, agent: FenceAgent) -> Mapping[str, str]:
        return await self._api.read_secret(agent.secret_name) if agent.secret_name else {}

    async def _answered(self, name: str, action: str, asked: Any) -> Any:
        """What the agent has answered; None if nothing, and then that is told."""
        try:
            answer = await asked
        except AgentError as error:
            self._metrics.agent_asked(name, action, type(error).__name__)
            self._say(name, f"its fence agent: {action}: {error}")
            self._note(name, Refusal(Reason.FENCE_AGENT_FAILS, f"{action}: {error}"))
            return None
        self._metrics.agent_asked(name, action, "Answered")
        return answer if answer is not None else True

    def _note(self, name: str, said: Refusal | None) -> None:
        if name not in self.agents or self.agents[name] != said:
            self.agents[name] = said
            self._wake()

    def _say(self, name: str, what: str) -> None:
        """Once, until something else is said."""
        if self._told.get(name) != what:
            self._told[name] = what
            log.info("host=%s power: %s", name, what)

    def _tell(self, host: Host, reason: Reason, what: str) -> None:
        self._say(host.metadata.name, f"{reason}: {what}")
        notice = Notice(True, reason, what)
        self._events.put("Host", host.key, host.metadata.uid, notice)


def _checks(task: "asyncio.Task[None]") -> bool:
    return task.get_name() == "check"


def _call(agent: FenceAgent, secrets: Mapping[str, str], timeout_s: float) -> AgentCall:
    return AgentCall(agent.agent, agent.parameters, secrets, timeout_s)


def _about(order: Order) -> tuple[str, str]:
    return order.boot_id, order.lease_version


def _refused(why: str) -> Refusal:
    return Refusal(Reason.WAITING_FOR_FENCING_PROOF, f"Not switched off: {why}")


def _names(raw: Raw, host: str) -> bool:
    """Whether a mirror has a replica there. One without any that can be told may have."""
    try:
        return any(replica["host"] == host for replica in raw["spec"]["replicas"])
    except (KeyError, TypeError):
        return True
