"""The network interfaces of a simulated machine: the actuator's Taps port, for ``libvirtd``."""

import asyncio

from sim.libvirt.processes import ProcessTable


class TapTable:
    """The kernel's network interfaces. ``refused``: they stay up; ``hangs``: no answer."""

    def __init__(self, table: ProcessTable) -> None:
        self.refused: set[str] = set()
        self.hangs = False
        self._table = table

    async def take_down(self, interface: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if interface in self.refused:
            raise OSError(f"{interface} is up again")
        if interface not in self._table.tap_is_down:
            return
        self._table.tap_is_down[interface] = True
        for process in self._table.by_pid.values():
            if interface in process.taps and all(map(self._table.tap_is_down.get, process.taps)):
                process.guest.heard = False
