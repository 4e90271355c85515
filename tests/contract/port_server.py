"""Serves the real adapters of a site host to tests that run outside of it.

Runs inside a lab host as ``python port_server.py PORT DRBD_DIR``. A connection is one call: a
pickled (object, method, arguments, keywords), answered with a pickled (ok, result or exception).
Pickle is safe here and nowhere else: both ends are this test suite, on a network of their own.
"""

import asyncio
import pickle
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem_actuator.adapters.drbd.kernel import DrbdHost
from tandem_actuator.adapters.drbd.tools import find_tools
from tandem_actuator.adapters.fence_server import FenceServer
from tandem_actuator.adapters.libvirt.connection import RealLibvirtd
from tandem_actuator.adapters.libvirt.host import LibvirtHost
from tandem_actuator.adapters.libvirt.network import TapNetwork
from tandem_actuator.adapters.libvirt.premises import LocalPremises
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.processes import LinuxProcesses
from tandem_actuator.adapters.linux.taps import LinuxTaps
from tandem_actuator.adapters.linux.watchdog import Device
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.ports.watchdog import WatchdogInfo

LENGTH = struct.Struct(">I")


class Events:
    """Keeps what the event streams said, for a test to look at."""

    def __init__(self, drbd: DrbdHost, libvirt: LibvirtHost) -> None:
        self._drbd, self._libvirt = drbd, libvirt
        self.drbd: list[DrbdEvent] = []
        self.domains: list[str] = []

    async def follow_drbd(self) -> None:
        async for event in self._drbd.events():
            self.drbd.append(event)

    async def follow_domains(self) -> None:
        async for name in self._libvirt.events():
            self.domains.append(name)

    async def taken(self) -> tuple[list[DrbdEvent], list[str]]:
        """Everything since the last call."""
        found = (self.drbd[:], self.domains[:])
        self.drbd.clear()
        self.domains.clear()
        return found


class Fence:
    """What the fence-peer program is told, and what it asked."""

    def __init__(self) -> None:
        self.code = 1
        self._may_answer = asyncio.Event()
        self._may_answer.set()
        self.asked: list[dict[str, str]] = []

    async def answer(self, environment: Mapping[str, str]) -> tuple[int, str]:
        self.asked.append(dict(environment))
        await self._may_answer.wait()
        return self.code, "as the test says"

    async def set(self, code: int, silent: bool = False) -> None:
        """The answer from now on; ``silent``: none, until it is set again."""
        self.code = code
        if silent:
            self._may_answer.clear()
        else:
            self._may_answer.set()

    async def taken(self) -> list[dict[str, str]]:
        """The questions since the last call."""
        found, self.asked = self.asked, []
        return found


class Watchdog:
    """The device file, opened by this process as often as it is told."""

    def __init__(self, path: Path) -> None:
        self._files = [Device(path) for _ in range(2)]

    async def open(self, which: int) -> None:
        self._files[which].open()

    async def info(self, which: int) -> WatchdogInfo:
        return self._files[which].info()

    async def set_timeout(self, which: int, timeout_s: int) -> None:
        self._files[which].set_timeout(timeout_s)

    async def get_timeout(self, which: int) -> int:
        return self._files[which].get_timeout()

    async def keepalive(self, which: int) -> None:
        self._files[which].keepalive()

    async def close(self, which: int, disarm: bool) -> None:
        self._files[which].close(disarm=disarm)


async def serve(port: int, drbd_dir: Path) -> None:
    drbd = DrbdHost(await find_tools(), SystemClock(), drbd_dir)
    libvirt = LibvirtHost(RealLibvirtd("qemu:///system"), LinuxProcesses())
    events, fence = Events(drbd, libvirt), Fence()
    objects = {
        "drbd": drbd,
        "libvirt": libvirt,
        "network": TapNetwork(LinuxProcesses(), LinuxTaps()),
        "events": events,
        "fence": fence,
        "premises": LocalPremises(RealLibvirtd("qemu:///system")),
        "watchdog": Watchdog(Path("/dev/watchdog1")),
    }

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        except asyncio.IncompleteReadError:  # only looking whether anybody listens
            writer.close()
            return
        request = await reader.readexactly(length)
        answer: tuple[bool, Any]
        try:
            name, method, arguments, keywords = pickle.loads(request)
            answer = (True, await getattr(objects[name], method)(*arguments, **keywords))
        except Exception as error:
            answer = (False, error)
        body = pickle.dumps(answer)
        writer.write(LENGTH.pack(len(body)) + body)
        await writer.drain()
        writer.close()

    async with (
        FenceServer(Path("/run/tandem/actuator.sock"), fence.answer),
        await asyncio.start_server(call, "0.0.0.0", port) as server,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(events.follow_drbd())
        tasks.create_task(events.follow_domains())
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
