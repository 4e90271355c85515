"""Looks at what the kernel says of all mirrors, shared by those who ask meanwhile.

A look must be cheap enough to be always fresh. On 8.4 it reads ``/proc/drbd``, which takes no
lock, starts no program, and answers also while a promotion waits for its fence-peer handler. It
knows devices by number only, so it is used only while the event stream says that these numbers
belong to this resource; everything else asks ``drbdsetup events2 --now``. TCP is asked after DRBD
has answered: what had been sent by the time of a look is then no more than what it tells.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tandem_actuator.adapters.drbd import proc
from tandem_actuator.adapters.drbd import text as drbd_text
from tandem_actuator.adapters.drbd.block import with_requests
from tandem_actuator.adapters.drbd.events import EventStream
from tandem_actuator.adapters.drbd.shared_look import SharedLook
from tandem_actuator.adapters.drbd.tools import COMMAND_TIMEOUT_S, Tools
from tandem_actuator.adapters.linux.process import run
from tandem_actuator.core.drbd import DrbdState, DrbdView
from tandem_actuator.core.sockets import Socket
from tandem_actuator.ports import Clock
from tandem_api.kinds.mirror import Mirror

SocketsByPort = Mapping[int, tuple[Socket, ...]]


class Sockets(Protocol):
    """TCP on this host."""

    def by_port(self) -> SocketsByPort:
        """Raises: OSError: the kernel did not tell."""
        ...


class Looks:
    """At DRBD's states, at its devices' requests and at its sockets. ``taken``: how many so far."""

    def __init__(
        self,
        tools: Tools,
        stream: EventStream,
        clock: Clock,
        proc_drbd: Path,
        sys_block: Path,
        sockets: Sockets,
    ) -> None:
        self._tools, self._stream = tools, stream
        self._proc_drbd, self._sys_block, self._sockets = proc_drbd, sys_block, sockets
        self.taken = 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="looks")
        self._dumps = SharedLook(self._dump, clock)
        self._procs = SharedLook(self._proc, clock)
        self._tcp = SharedLook(self._by_port, clock)

    async def at(self, mirror: Mirror) -> DrbdView:
        """Raises: PortError, OSError, ValueError: no answer, or none that can be read."""
        view, numbers = await self._states(mirror), mirror.status.device_numbers
        if not isinstance(view, DrbdState) or numbers is None:
            return view
        by_port, _ = await self._tcp.newer_than_now()
        sockets = None if by_port is None else by_port.get(numbers.port, ())
        return replace(with_requests(view, numbers.minors, self._sys_block), sockets=sockets)

    async def resources(self) -> Mapping[str, drbd_text.ResourceFields]:
        """All that DRBD tells of each resource, by a look begun after this call."""
        return (await self._dumps.newer_than_now())[0]

    async def _states(self, mirror: Mirror) -> DrbdView:
        numbers = mirror.status.device_numbers
        names = list(mirror.volume_names)
        if numbers is not None and self._proc_is_enough(mirror, numbers.minors):
            devices, queried_at_s = await self._procs.newer_than_now()
            minors = {name: numbers.minors[name] for name in names}
            return proc.state_from_proc(devices, minors, queried_at_s)
        resources, queried_at_s = await self._dumps.newer_than_now()
        fields = resources.get(mirror.drbd_name)
        if fields is not None and numbers is not None:
            names = drbd_text.volumes_in_use(fields, numbers.minors) or names
        return drbd_text.state_from_dump(fields, names, queried_at_s)

    async def _proc(self) -> Mapping[int, proc.ProcDevice]:
        """Read and parsed off the loop: with many mirrors it is long."""
        self.taken += 1

        def look() -> Mapping[int, proc.ProcDevice]:
            return proc.parse_proc(self._proc_drbd.read_text())

        return await asyncio.get_running_loop().run_in_executor(self._reader, look)

    async def _by_port(self) -> SocketsByPort | None:
        """None: the kernel did not tell. Nothing but a quicker takeover is lost by that."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reader, self._sockets.by_port)
        except OSError:
            return None

    async def _dump(self) -> Mapping[str, drbd_text.ResourceFields]:
        self.taken += 1
        command = [self._tools.setup, "events2", "--now", "--statistics"]
        answer = (await run(command, timeout_s=COMMAND_TIMEOUT_S)).check()
        return drbd_text.parse_dump(answer.stdout)

    def _proc_is_enough(self, mirror: Mirror, minors: Mapping[str, int]) -> bool:
        """8.4, and the kernel is known to use exactly these device numbers for this mirror."""
        if self._tools.major != 8 or not self._stream.live:
            return False
        wanted = {minors.get(name) for name in mirror.volume_names}
        return wanted == self._stream.minors_of(mirror.drbd_name)
