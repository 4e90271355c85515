"""The fence agents of simulated hosts: what stands beside each, and switches its power off.

``Outlet`` is the device; ``Agents`` is the port (``tandem_controller.ports.FenceAgents``), whose
every call takes its time. Called by ``world`` and ``controller``; what goes wrong is a command.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sim.engine.kernel import Group, Kernel
from sim.host.host import Host
from tandem_controller.ports import AgentCall, AgentFailed, AgentHung, PowerState

TAKES_S = (0.1, 0.6)
BACK_S = (0.01, 0.1)
SEES_TO_IT_S = 30.0
"""So long who has mended all switches on what goes off: a host that boots is not heard yet."""


@dataclass
class Outlet:
    """One host's. ``hangs``: no call to it ends. ``refuses``: it says no. ``bounces``: what it
    switches off comes on again by itself. ``gone``: nothing is there to be asked.
    """

    host: Host
    hangs: bool = False
    refuses: bool = False
    gone: bool = False
    bounces: bool = False


class Agents:
    """See FenceAgents. A plug's name is its host's."""

    def __init__(
        self,
        kernel: Kernel,
        group: Group,
        hosts: Iterable[Host],
        boots: Callable[[Host], None],
        judge: Callable[[Host], None],
    ) -> None:
        """``judge``: is told of a host that is about to be switched off. ``boots``: switches on."""
        self._kernel, self._group, self._boots, self._judge = kernel, group, boots, judge
        self.mended_s = float("-inf")
        self.outlets = {host.name: Outlet(host) for host in hosts}

    async def off(self, call: AgentCall) -> None:
        outlet = await self._reached(call)
        if outlet.host.machine is None:
            return
        self._judge(outlet.host)
        outlet.host.power_off("its fence agent switches it off")
        if outlet.bounces or self._kernel.now_s - self.mended_s < SEES_TO_IT_S:
            after_s = self._kernel.between(*BACK_S)
            self._kernel.after(after_s, self._group, lambda: self._boots(outlet.host))

    async def status(self, call: AgentCall) -> PowerState:
        outlet = await self._reached(call)
        return PowerState.OFF if outlet.host.machine is None else PowerState.ON

    async def _reached(self, call: AgentCall) -> Outlet:
        outlet = self.outlets.get(call.parameters.get("plug", ""))
        if outlet is None:
            raise AgentFailed("there is no such plug")
        took_s = self._kernel.between(*TAKES_S)
        if outlet.hangs or outlet.gone or took_s > call.timeout_s:
            await asyncio.sleep(call.timeout_s)
            raise AgentHung(f"{call.agent} did not end within {call.timeout_s:g} s")
        await asyncio.sleep(took_s)
        if outlet.refuses:
            raise AgentFailed(f"{call.agent} ended with 1: Unable to connect/login")
        return outlet


WELL = {"hangs": False, "refuses": False, "gone": False, "bounces": False}


def ail(outlet: Outlet, how: str) -> None:
    """``how``: the field of Outlet; empty: it is well."""
    for field, value in WELL.items():
        setattr(outlet, field, field == how or value)
