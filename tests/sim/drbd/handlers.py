"""The fence-peer programs that DRBD has started on a machine: each a process of its own.

What they ask, for how long, and what they make of an answer is the product's. Called by ``host``.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from sim.engine.kernel import Command, Group, Kernel, Signal, Sleep, WaitFor
from sim.engine.loop import Loop
from sim.network.fence_channel import Outside, Roles, SimSockets
from tandem_actuator import fence_peer

SOCKET = Path("/run/tandem/actuator.sock")
STARTS_S = (0.03, 0.3)
"""Until drbdadm has started it."""
KILLED = 20
NOT_CONFIGURED = 10
"""What drbdadm exits with if it cannot read its files: it starts no program then."""
AGES_S = 1e6


@dataclass(eq=False)
class _Asking:
    process: Group
    code: int | None = None
    ended: Signal = field(default_factory=Signal)

    def end(self, code: int) -> None:
        self.code = code
        self.ended.give()


class Handlers:
    """``roles``: how a program on this machine finds out what role a resource has.
    ``misconfigured``: whether drbdadm, which starts them, cannot read its files.
    """

    def __init__(
        self,
        kernel: Kernel,
        machine: Group,
        clock: Callable[[], float],
        chance: random.Random,
        roles: Roles,
        misconfigured: Callable[[], bool] = lambda: False,
    ) -> None:
        self.sockets = SimSockets()
        self._misconfigured = misconfigured
        self._kernel, self._machine, self._clock = kernel, machine, clock
        self._chance, self._roles = chance, roles
        self._asking: list[_Asking] = []

    def ask(self, resource: str, minors: list[int]) -> Generator[Command, bool, int]:
        """What the program that is started for this resource exits with."""
        yield Sleep(self._kernel.between(*STARTS_S))
        if self._misconfigured():
            return NOT_CONFIGURED
        asking = _Asking(Group(f"fence-peer@{self._machine.name}", self._machine))
        self._asking.append(asking)
        environment = {"DRBD_RESOURCE": resource, "DRBD_MINOR": " ".join(map(str, minors))}

        def crashed(why: BaseException | None) -> None:
            if why is not None:
                raise why

        loop = Loop(self._kernel, asking.process, self._clock, crashed)
        loop.begin(self._answered(asking, environment))
        while asking.code is None:
            yield WaitFor(asking.ended, AGES_S)
        self._asking.remove(asking)
        return asking.code

    async def _answered(self, asking: _Asking, environment: dict[str, str]) -> None:
        outside = Outside(self.sockets, SOCKET, self._chance, self._roles)
        code, _ = await fence_peer.answer(outside, environment)
        asking.end(code)

    def kill(self) -> None:
        """All of them; the actuator goes on with what they have asked."""
        for asking in self._asking:
            asking.process.stop()
            asking.end(KILLED)
