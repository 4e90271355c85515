"""Cuts a guest off its network: takes its taps down in the kernel, asking nobody.

A guest whose disk is frozen still answers from memory, so that others may believe it alive; and a
QEMU or libvirt that hangs can take nothing down. The taps are found by the files that QEMU holds
open, and by libvirt's own status file. Called by ``driver`` during a self-fence.
"""

import xml.etree.ElementTree as ET
from functools import partial

from tandem_actuator.adapters.libvirt.ports import Processes, Taps
from tandem_actuator.adapters.libvirt.qemu_processes import QemuProcesses
from tandem_actuator.adapters.libvirt.slots import Slots
from tandem_actuator.ports import CommandTimeout, PortError

CUT_TIMEOUT_S = 1.0
CUTS_AT_A_TIME = 64


class TapNetwork:
    """The Network port."""

    def __init__(self, processes: Processes, taps: Taps) -> None:
        self._processes, self._taps = processes, taps
        self._qemus = QemuProcesses(processes)
        self._cuts = Slots(CUTS_AT_A_TIME)

    async def cut(self, name: str) -> None:
        try:
            await self._cuts.run(partial(self._cut, name), CUT_TIMEOUT_S)
        except TimeoutError:
            raise CommandTimeout(f"the taps of {name} were not down in time") from None

    async def taps(self, name: str) -> set[str]:
        """The domain's taps. A status file alone proves nothing: its names may be another's."""
        pids = await self._qemus.of(name)
        held = {tap for pid in pids for tap in await self._processes.taps(pid)}
        return held or (await self._from_status_file(name) if pids else set())

    async def _cut(self, name: str) -> None:
        problems = []
        for tap in sorted(await self.taps(name)):
            try:
                await self._taps.take_down(tap)
            except OSError as error:
                problems.append(f"{tap}: {error}")
        if problems:
            raise PortError(f"cannot take down the taps of {name}: {'; '.join(problems)}")

    async def _from_status_file(self, name: str) -> set[str]:
        content = await self._processes.status_file(name)
        if content is None:
            return set()
        try:
            # libvirt's own file, in a directory that only root may write.
            root = ET.fromstring(content)
        except ET.ParseError:
            return set()
        targets = root.iterfind("domain/devices/interface/target")
        return {device for target in targets if (device := target.get("dev"))}
