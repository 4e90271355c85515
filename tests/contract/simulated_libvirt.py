"""The simulator's libvirtd on a real loop, so that the contract tests hold it, too."""

import asyncio
import random
from collections.abc import Callable

from sim.libvirt.libvirtd import SimulatedLibvirtd
from sim.libvirt.processes import Idle


def simulated_libvirtd() -> SimulatedLibvirtd:
    """It runs, and is quick."""
    loop = asyncio.get_running_loop()

    def make(name: str, xml: str, told: Callable[[], None]) -> Idle:
        return Idle(name, told=told)

    daemon = SimulatedLibvirtd(loop.call_later, random.Random(1), make)
    daemon.start_s, daemon.ready = (0.02, 0.05), True
    return daemon
