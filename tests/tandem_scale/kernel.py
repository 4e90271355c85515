"""A kernel's DRBD with many devices, as far as it is text: what the real adapter reads.

``/proc/drbd`` as 8.4 writes it, and what ``drbdsetup events2`` prints on 8.4 and 9. Guests write,
so no two looks find the same counters: of each text there are several that differ in these, and
they are read in turn. What is not text (promotions, metadata) is answered at once. Called by
``machine``.
"""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tandem_actuator.adapters.drbd.kernel import DrbdHost
from tandem_actuator.adapters.drbd.looks import SocketsByPort
from tandem_actuator.adapters.drbd.tools import Tools
from tandem_actuator.core.drbd import Generation, Metadata
from tandem_actuator.core.sockets import Socket
from tandem_actuator.ports import Clock, CommandFailed
from tandem_api.kinds.mirror import Mirror

FIRST_PORT = 7000
VERSIONS = {8: "8.4.11", 9: "9.2.19"}
COPIES = 4
GATHER_S = 0.005
SETUP = """#!/bin/sh
case "$*" in
    *--now*) exec cat {folder}/dump.$(( $$ % {copies} ));;
    events2) cat {folder}/first; exec cat {folder}/events;;
esac
"""


@dataclass
class Device:
    """One resource with one volume, in sync. ``frozen``: it has asked, and nobody has answered."""

    name: str
    minor: int
    primary: bool = False
    connected: bool = False
    frozen: bool = False

    @property
    def role(self) -> str:
        return "Primary" if self.primary else "Secondary"

    def in_proc(self, counter: int) -> str:
        link = "Connected" if self.connected else "WFConnection"
        peer, disk = ("Secondary", "UpToDate") if self.connected else ("Unknown", "DUnknown")
        flags = "s-----" if self.frozen else "r-----"
        return (
            f"{self.minor:>2}: cs:{link} ro:{self.role}/{peer} ds:UpToDate/{disk} C {flags}\n"
            f"    ns:{counter} nr:0 dw:{counter} dr:{2 * counter} al:12 bm:0 lo:0 pe:0 ua:0 ap:0"
            " ep:1 wo:f oos:0\n"
        )

    def dumped(self, counter: int, action: str = "exists") -> str:
        name, minor = self.name, self.minor
        link, peer = ("Connected", "Secondary") if self.connected else ("Connecting", "Unknown")
        flow, disk = ("Established", "UpToDate") if self.connected else ("Off", "DUnknown")
        suspended = "fencing" if self.frozen else "no"
        return (
            f"{action} resource name:{name} role:{self.role} suspended:{suspended}"
            " force-io-failures:no write-ordering:flush may_promote:no promotion_score:10202\n"
            f"{action} connection name:{name} peer-node-id:1 conn-name:peer connection:{link}"
            f" role:{peer} congested:no ap-in-flight:0 rs-in-flight:0\n"
            f"{action} device name:{name} volume:0 minor:{minor} backing_dev:/dev/vg0/{name}"
            f" disk:UpToDate client:no quorum:yes size:1048576 read:{counter} written:{counter}"
            " al-writes:1 bm-writes:1 upper-pending:0 lower-pending:0 al-suspended:no blocked:no\n"
            f"{action} peer-device name:{name} peer-node-id:1 conn-name:peer volume:0"
            f" replication:{flow} peer-disk:{disk} peer-client:no resync-suspended:no"
            f" received:0 sent:{counter} out-of-sync:0 pending:0 unacked:0\n"
        )


class Kernel:
    """Every device of a host, and the files that show them."""

    def __init__(self, names: Collection[str], major: int, folder: Path) -> None:
        self.major, self.folder, self._reads = major, folder, 0
        self.devices = {name: Device(name, minor) for minor, name in enumerate(names)}
        self.setup = folder / "drbdsetup"
        self.setup.write_text(SETUP.format(folder=folder, copies=COPIES))
        self.setup.chmod(0o755)
        (folder / "first").write_text(self._dump(0))
        os.mkfifo(folder / "events")
        self._events = os.open(folder / "events", os.O_RDWR)
        self._stale = False
        self.write()

    def read_text(self) -> str:
        """Of /proc/drbd, in the place of a Path."""
        if self._stale:
            self.write()
        self._reads += 1
        return (self.folder / f"proc.{self._reads % COPIES}").read_text()

    def write(self) -> None:
        self._stale = False
        for copy in range(COPIES):
            if self.major == 8:
                devices = "".join(d.in_proc(1000 + copy) for d in self.devices.values())
                text = f"version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 0\n\n{devices}"
                (self.folder / f"proc.{copy}").write_text(text)
            (self.folder / f"dump.{copy}").write_text(self._dump(copy))

    def _dump(self, counter: int) -> str:
        return "".join(d.dumped(counter) for d in self.devices.values()) + "exists -\n"

    async def changed(self, *devices: Device) -> None:
        """The files say so at the next look, and ``events2`` tells."""
        self._stale = True
        if self.major != 8:  # another program reads it: written once for all that change together
            await asyncio.sleep(GATHER_S)
            if self._stale:
                self.write()
        told = "".join(device.dumped(0, "change") for device in devices).encode()
        await asyncio.get_running_loop().run_in_executor(None, self._tell, told)

    def _tell(self, told: bytes) -> None:
        while told:
            told = told[os.write(self._events, told) :]


class Sockets:
    """Two for each device, over which a packet goes each second and is acknowledged at once."""

    def __init__(self, kernel: Kernel, clock: Clock, peer: str) -> None:
        self._kernel, self._clock, self._peer = kernel, clock, peer

    def by_port(self) -> SocketsByPort:
        now_s = self._clock.boottime_s()
        packets = 8 * int(now_s)
        return {
            FIRST_PORT + device.minor: tuple(
                Socket(cookie, self._peer, device.connected, packets, packets, math.floor(now_s))
                for cookie in (2 * device.minor, 2 * device.minor + 1)
            )
            for device in self._kernel.devices.values()
        }


class Drbd(DrbdHost):
    """The real adapter as it looks; what it would do through ``drbdadm`` is done to the text."""

    def __init__(self, kernel: Kernel, clock: Clock, peer: str) -> None:
        tools = Tools(VERSIONS[kernel.major], "9.22.0", setup=str(kernel.setup))
        sockets = Sockets(kernel, clock, peer)
        super().__init__(tools, clock, kernel.folder, cast(Path, kernel), sockets=sockets)
        self.kernel, self._texts = kernel, dict[str, str]()
        self.asks: Callable[[str], Awaitable[int]]

    async def configure(self, mirror: Mirror, text: str) -> bool:
        was, self._texts[mirror.drbd_name] = self._texts.get(mirror.drbd_name), text
        return was != text

    async def adjust(self, mirror: Mirror) -> None:
        pass

    async def check_files(self) -> None:
        pass

    async def metadata(self, mirror: Mirror) -> Mapping[str, Metadata]:
        return dict.fromkeys(mirror.volume_names, Metadata.PRESENT)

    async def generations(self, mirror: Mirror) -> Mapping[str, Generation]:
        return dict.fromkeys(mirror.volume_names, Generation("A" * 16, parted=False))

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        pass

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        """Without its peer it asks first."""
        device = self.kernel.devices[mirror.drbd_name]
        if not device.connected and await self.asks(device.name) != 4:
            raise CommandFailed("(-7) Refusing to be Primary while peer is not outdated")
        device.primary = True
        await self.kernel.changed(device)

    async def demote(self, mirror: Mirror) -> None:
        device = self.kernel.devices[mirror.drbd_name]
        device.primary = device.frozen = False
        await self.kernel.changed(device)

    async def link(self, *, up: bool) -> None:
        """The link of all mirrors comes, or goes; a Primary freezes then, and asks."""
        devices = list(self.kernel.devices.values())
        for device in devices:
            device.connected, device.frozen = up, device.primary and not up
        await self.kernel.changed(*devices)
        if not up:
            await asyncio.gather(*(self.asks(device.name) for device in devices if device.primary))
