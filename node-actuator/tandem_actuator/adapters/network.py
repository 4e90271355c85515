"""Cuts a guest off its network: takes its taps down in the kernel, asking nobody.

A guest whose disk is frozen still answers from memory, so that others may believe it alive; and a
QEMU or libvirt that hangs can take nothing down. The taps are found by the files that QEMU holds
open, and by libvirt's own status file. Called by ``driver`` during a self-fence.
"""

import asyncio
import errno
import fcntl
import socket
import struct
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

from tandem_actuator.adapters.qemu_processes import QemuProcesses
from tandem_actuator.ports import CommandTimeout, PortError

CUT_TIMEOUT_S = 1.0

# linux/sockios.h and linux/if.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ = struct.Struct("16sH22x")


class TapNetwork:
    """The Network port."""

    def __init__(self, processes: QemuProcesses | None = None) -> None:
        self._processes = processes or QemuProcesses()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="network")

    async def cut(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CUT_TIMEOUT_S):
                await loop.run_in_executor(self._threads, self._cut, name)
        except TimeoutError:
            raise CommandTimeout(f"the taps of {name} were not down in time") from None

    def taps(self, name: str) -> set[str]:
        """The domain's taps. A status file alone proves nothing: its names may be another's."""
        pids = self._processes.of(name)
        held = {tap for pid in pids for tap in self._processes.taps(pid)}
        return held or (self._from_status_file(name) if pids else set())

    def _cut(self, name: str) -> None:
        problems = []
        for tap in sorted(self.taps(name)):
            try:
                take_down(tap)
            except OSError as error:
                problems.append(f"{tap}: {error}")
        if problems:
            raise PortError(f"cannot take down the taps of {name}: {'; '.join(problems)}")

    def _from_status_file(self, name: str) -> set[str]:
        try:
            # libvirt's own file, in a directory that only root may write.
            root = ET.parse(self._processes.run_dir / f"{name}.xml").getroot()
        except (OSError, ET.ParseError):
            return set()
        targets = root.iterfind("domain/devices/interface/target")
        return {device for target in targets if (device := target.get("dev"))}


def take_down(interface: str) -> None:
    """Set an interface down; no error if it is gone.

    Raises:
        OSError: the kernel refused, or it is still up.
    """
    request = IFREQ.pack(interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            _, flags = IFREQ.unpack(fcntl.ioctl(channel, SIOCGIFFLAGS, request))
            down = IFREQ.pack(interface.encode(), flags & ~IFF_UP)
            fcntl.ioctl(channel, SIOCSIFFLAGS, down)
            _, flags = IFREQ.unpack(fcntl.ioctl(channel, SIOCGIFFLAGS, request))
        except OSError as error:
            if error.errno == errno.ENODEV:  # it went with its QEMU
                return
            raise
    if flags & IFF_UP:
        raise OSError(f"{interface} is up again")
