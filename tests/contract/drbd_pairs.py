"""Two hosts with one mirror each end of which is a Drbd port: simulated, or in the lab."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from conformance.language import Command
from conformance.simulated import Simulated
from sim.drbd import hanging, resync
from sim.drbd.state import Write
from sim.drbd.version import EIGHT, Version
from tandem_actuator.core.drbd import DrbdState, DrbdView, Metadata
from tandem_actuator.core.mirror import resource_file
from tandem_actuator.ports.drbd import Drbd
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.mirror import Protocol as MirrorProtocol
from tandem_api.timing import DEFAULT, drbd_timers
from tandem_lab.lab import Lab
from tandem_lab.site_host import SiteHost
from tandem_lab.topology import REPLICATION

from .remote_ports import RemotePort
from .simulated_drbd import SimulatedDrbd

WITHIN_S = 15.0
VOLUMES = ("root", "data")


class Site(Protocol):
    """One end."""

    @property
    def drbd(self) -> Drbd: ...

    async def fence_answers(self, code: int) -> None:
        """What the fence-peer handler ends with from now on."""
        ...

    async def times_asked(self) -> int:
        """How often it was called since the last look."""
        ...

    async def write(self) -> None:
        """Write to the first volume, which must be Primary and not frozen."""
        ...

    async def hold_open(self, held: bool) -> None:
        """Open the first volume, as a guest does, or close it."""
        ...

    async def allow_two_primaries(self) -> None:
        """By hand, and not in the file."""
        ...

    async def stray_file(self, there: bool) -> None:
        """One in drbd.d that drbdadm cannot read."""
        ...

    async def shell(self, script: str) -> str:
        """What a person at this host would do. In the lab only."""
        ...

    async def reformat(self, mirror: Mirror) -> None:
        """Give the detached volumes the metadata that the other DRBD (9, or 8.4) makes of it."""
        ...

    async def convert(self, commands: str) -> None:
        """By what a person is told to type."""
        ...

    async def content(self) -> str:
        """What the disk below the first volume holds."""
        ...

    async def forget_block(self) -> None:
        """The first one that was written is gone from that disk, and DRBD knows nothing of it."""
        ...

    async def verify(self) -> None:
        """Have DRBD compare the first volume with the peer's, and note what differs."""
        ...

    async def bits_on_disk(self) -> int:
        """How many bits of the first volume a power cut would leave."""
        ...

    async def hang_disk(self) -> None:
        """The disk below the first volume answers nothing any more."""
        ...

    async def disk_answers(self) -> None:
        """It does again, also to what was asked meanwhile."""
        ...

    async def disk_fails(self) -> None:
        """It does, with errors."""
        ...

    async def begin(self, *, reads: bool) -> None:
        """Read or write one block of the first volume, without waiting for its end."""
        ...

    async def detach(self) -> None:
        """Have DRBD give up the disk below the first volume by force."""
        ...


@dataclass
class Pair:
    """Both ends, and the wire between them."""

    a: Site
    b: Site
    mirror: Mirror
    text: str
    cut: Callable[[], Awaitable[None]]
    heal: Callable[[], Awaitable[None]]
    major: int = 8
    """Of the DRBD at both ends."""

    async def view(self, site: Site) -> DrbdView:
        return await site.drbd.query(self.mirror)

    async def until(self, site: Site, holds: Callable[[DrbdState], bool]) -> DrbdState:
        """The first reading for which it holds; the last one is shown if none comes."""
        view: DrbdView | None = None
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    view = await self.view(site)
                    if isinstance(view, DrbdState) and holds(view):
                        return view
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {WITHIN_S:g} s; last seen: {view}") from None

    async def until_asked(self, site: Site) -> None:
        """Until its fence-peer handler was called."""
        for _ in range(int(WITHIN_S / 0.05)):
            if await site.times_asked():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"the handler was not called within {WITHIN_S:g} s")

    async def bring_up(self) -> None:
        """New, attached and connected at both ends, and declared in sync."""
        for site in (self.a, self.b):
            await site.drbd.configure(self.mirror, self.text)
            await site.drbd.create_metadata(self.mirror, self.mirror.volume_names)
            await site.drbd.attach(self.mirror)
        for site in (self.a, self.b):
            await site.drbd.connect(self.mirror, discard_my_data=False)
        await self.until(self.a, lambda s: s.connected)
        await self.until(self.b, lambda s: s.connected)
        await self.a.drbd.skip_first_sync(self.mirror, self.mirror.volume_names)
        await self.until(self.a, lambda s: s.in_sync)
        await self.until(self.b, lambda s: s.in_sync)


def make_mirror(
    name: str, minor: int, hosts: tuple[str, str], protocol: MirrorProtocol = MirrorProtocol.C
) -> Mirror:
    """Two volumes of 32 MiB."""
    devices = {volume: f"/dev/vg0/{name}-{volume}" for volume in VOLUMES}
    return Mirror.parse(
        {
            "metadata": {"namespace": "contract", "name": name},
            "spec": {
                "protocol": protocol,
                "volumes": [{"name": volume, "size": "32Mi"} for volume in VOLUMES],
                "replicas": [{"host": host, "devices": devices} for host in hosts],
            },
            "status": {
                "deviceNumbers": {
                    "port": 7700 + minor,
                    "minors": {volume: minor + n for n, volume in enumerate(VOLUMES)},
                }
            },
        }
    )


def resource_text(mirror: Mirror, addresses: Mapping[str, str], major: int = 8) -> str:
    numbers = mirror.status.device_numbers
    assert numbers is not None
    return resource_file.render(
        mirror,
        addresses,
        numbers,
        drbd_timers(DEFAULT),
        version_major=major,
        fence_peer="/usr/local/bin/tandem-fence-peer",
    )


# --- simulated


class SimulatedSite:
    def __init__(self, both: Simulated, side: str) -> None:
        self.both, self.node = both, both.nodes[side]
        self.drbd = SimulatedDrbd(both, side)

    async def fence_answers(self, code: int) -> None:
        self.node.policy = str(code)

    async def times_asked(self) -> int:
        self.drbd.pass_time()
        count, self.node.asked = self.node.asked, 0
        return count

    async def write(self) -> None:
        assert self.drbd.write(self.both.kernel.number("write"))

    async def hold_open(self, held: bool) -> None:
        self.drbd.hold_open(held)

    async def allow_two_primaries(self) -> None:
        assert self.node.replica is not None
        self.node.replica.allow_two_primaries(allowed=True)
        self.drbd.pass_time()

    async def stray_file(self, there: bool) -> None:
        self.drbd.stray_file = there

    async def shell(self, script: str) -> str:
        raise AssertionError("there is nobody to type it")

    async def reformat(self, mirror: Mirror) -> None:
        for backing in self.node.backings.values():
            backing.convert()
            backing.other_format = Metadata.V09 if self.both.version.major == 8 else Metadata.V08

    async def convert(self, commands: str) -> None:
        for name, backing in self.node.backings.items():
            if f"-{name} internal" in commands:
                backing.convert()

    async def content(self) -> str:
        return " ".join(map(str, sorted(self.node.backings[VOLUMES[0]].data)))

    async def forget_block(self) -> None:
        self.node.backings[VOLUMES[0]].data.pop()

    async def verify(self) -> None:
        assert self.node.replica is not None
        resync.verify(self.both.pair, self.node.replica, VOLUMES[0])

    async def bits_on_disk(self) -> int:
        return self.node.backings[VOLUMES[0]].bits

    async def hang_disk(self) -> None:
        assert self.node.replica is not None
        hanging.hang(self.node.replica, VOLUMES[:1])

    async def disk_answers(self) -> None:
        assert self.node.replica is not None
        hanging.answers(self.node.replica)

    async def disk_fails(self) -> None:
        assert self.node.replica is not None
        hanging.fails(self.node.replica)

    async def begin(self, *, reads: bool) -> None:
        assert self.node.replica is not None
        self.node.backings[VOLUMES[0]].to_read = reads
        number = self.both.kernel.number("write")
        self.node.replica.submit(Write(number, VOLUMES[0], lambda _: None))

    async def detach(self) -> None:
        assert self.node.replica is not None
        hanging.detach(self.node.replica)


def simulated_pair(protocol: MirrorProtocol = MirrorProtocol.C, version: Version = EIGHT) -> Pair:
    asynchronous = protocol is MirrorProtocol.A
    both = Simulated(volumes=VOLUMES, blank=True, asynchronous=asynchronous, version=version)
    mirror = make_mirror("m1", 10, ("host-a", "host-b"), protocol)
    addresses = {"host-a": "192.0.2.1", "host-b": "192.0.2.2"}
    text = resource_text(mirror, addresses, version.major)

    async def cut() -> None:
        both.do(Command("cut"))

    async def heal() -> None:
        both.do(Command("heal"))

    a, b = SimulatedSite(both, "a"), SimulatedSite(both, "b")
    return Pair(a, b, mirror, text, cut, heal, version.major)


# --- in the lab


class LabSite:
    def __init__(self, lab: Lab, host: SiteHost, mirror: Mirror, minor: int) -> None:
        self.host, self._device, self._name = host, f"/dev/drbd{minor}", mirror.drbd_name
        self._below = f"/dev/vg0/{mirror.metadata.name}-{VOLUMES[0]}"
        self.drbd: Any = RemotePort(host, lab.settings, "drbd")
        self.fence: Any = RemotePort(host, lab.settings, "fence")

    async def fence_answers(self, code: int) -> None:
        await self.fence.set(code)

    async def times_asked(self) -> int:
        return len(await self.fence.taken())

    async def write(self) -> None:
        command = f"dd if=/dev/urandom of={self._device} bs=4k count=8 oflag=direct status=none"
        await asyncio.to_thread(self.host.shell, command)

    async def allow_two_primaries(self) -> None:
        await self.shell(f"drbdadm net-options --allow-two-primaries=yes {self._name}")

    async def stray_file(self, there: bool) -> None:
        path = "/etc/drbd.d/stray.res"
        await self.shell(f"echo 'resource {{' > {path}" if there else f"rm -f {path}")

    async def shell(self, script: str) -> str:
        return await asyncio.to_thread(self.host.shell, script)

    async def reformat(self, mirror: Mirror) -> None:
        eight = await self.shell("grep -q 'version: 8' /proc/drbd && echo v08 || true")
        create = "v09 {} internal create-md 1" if eight else "v08 {} internal create-md"
        assert mirror.status.device_numbers is not None
        for name, minor in mirror.status.device_numbers.minors.items():
            made = create.format(f"/dev/vg0/{mirror.metadata.name}-{name}")
            await self.shell(f"drbdmeta --force {minor} {made}")

    async def convert(self, commands: str) -> None:
        await self.shell(commands)

    async def content(self) -> str:
        blocks = f"if={self._below} bs=4k count=8 iflag=direct status=none"
        return await self.shell(f"dd {blocks} | md5sum")

    async def forget_block(self) -> None:
        block = f"of={self._below} bs=4k count=1 oflag=direct status=none"
        await self.shell(f"dd if=/dev/zero {block}")

    async def verify(self) -> None:
        runs = f"drbdsetup events2 --now {self._name} | grep -q Verify"
        await self.shell(f"drbdadm verify {self._name}/0")
        await self.shell(f"while {runs}; do sleep 0.1; done")

    async def bits_on_disk(self) -> int:
        layout = "$(grep -q 'version: 8' /proc/drbd && echo v08 || echo v09)"
        dump = f"drbdmeta --force {self._device} {layout} {self._below} internal dump-md"
        return sum(map(int, re.findall(r"# bits-set (\d+);", await self.shell(dump))))

    async def hang_disk(self) -> None:
        await self.shell(f"dmsetup suspend --nolockfs --noflush {self._below}")

    async def disk_answers(self) -> None:
        await self.shell(f"dmsetup resume {self._below}")

    async def disk_fails(self) -> None:
        """What DRBD has given up may only answer like this: else its kernel panics."""
        size = f"$(blockdev --getsz {self._below})"
        await self.shell(f'dmsetup load {self._below} --table "0 {size} error"')
        await self.shell(f"dmsetup resume {self._below}")

    async def begin(self, *, reads: bool) -> None:
        what = (
            f"if={self._device} of=/dev/null iflag=direct"
            if reads
            else f"if=/dev/zero of={self._device} oflag=direct"
        )
        await self.shell(f"dd {what} bs=4k count=1 status=none >/dev/null 2>&1 </dev/null &")

    async def detach(self) -> None:
        await self.shell(f"drbdadm detach --force {self._name}/0")

    async def hold_open(self, held: bool) -> None:
        pid = "/run/contract-holder.pid"
        opened = f"(exec 3<>{self._device}; exec sleep 600) >/dev/null 2>&1 & echo $! >{pid}"
        closed = f"kill $(cat {pid}); tail --pid=$(cat {pid}) -f /dev/null"
        await asyncio.to_thread(self.host.shell, opened if held else closed)


def lab_pair(lab: Lab, name: str, minor: int, protocol: MirrorProtocol = MirrorProtocol.C) -> Pair:
    first, second = lab.hosts[:2]
    for host in (first, second):
        for volume in VOLUMES:
            host.create_volume(f"{name}-{volume}", "32M")
    mirror = make_mirror(name, minor, (first.name, second.name), protocol)
    addresses = {host.name: REPLICATION.address(host.spec) for host in (first, second)}
    link = lab.link(REPLICATION.name)
    major = int(first.drbd_version().split(".")[0])

    async def cut() -> None:
        await asyncio.to_thread(link.cut)

    async def heal() -> None:
        await asyncio.to_thread(link.heal)

    a, b = LabSite(lab, first, mirror, minor), LabSite(lab, second, mirror, minor)
    return Pair(a, b, mirror, resource_text(mirror, addresses, major), cut, heal, major)
