"""What this host has for guests, of libvirt's opinion, files and devices: the Premises port.

A file may lie on a storage that hangs, and libvirtd may hang: nothing here waits for long, and what
hangs keeps nobody else waiting. Called by ``inspection``.
"""

import os
import stat
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import libvirt

from tandem_actuator.adapters.libvirt.calls import Calls
from tandem_actuator.adapters.libvirt.ports import LibvirtConnection, Libvirtd, LibvirtError
from tandem_actuator.adapters.libvirt.slots import Slots
from tandem_actuator.adapters.linux.threads import in_thread
from tandem_actuator.ports import CommandTimeout

VALIDATE_TIMEOUT_S = 10.0
LOOK_TIMEOUT_S = 2.0
LOOKS_AT_A_TIME = 2
SECTOR_BYTES = 512
NOT_ABOUT_IT = frozenset(
    {
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
        libvirt.VIR_ERR_NO_MEMORY,
    }
)
"""What libvirt answers in trouble of its own."""


class LocalPremises:
    """This machine."""

    def __init__(self, libvirtd: Libvirtd) -> None:
        self._calls = Calls(libvirtd, slots=1)
        self._looks = Slots(LOOKS_AT_A_TIME)

    async def refusal(self, xml: str) -> str:
        async def ask(connection: LibvirtConnection) -> str:
            try:
                await connection.validate(xml)
            except LibvirtError as error:
                if error.code in NOT_ABOUT_IT or not await connection.alive():
                    raise
                return str(error)
            return ""

        return await self._calls.call(ask, VALIDATE_TIMEOUT_S)

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        def look() -> list[str]:
            return [path for path in paths if not os.path.lexists(path)]

        try:
            return await self._looks.run(partial(in_thread, look, "premises"), LOOK_TIMEOUT_S)
        except TimeoutError:
            raise CommandTimeout("a file could not be looked at in time") from None

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        def look() -> dict[str, int]:
            return {path: size for path in paths if (size := _size(path)) is not None}

        try:
            return await self._looks.run(partial(in_thread, look, "premises"), LOOK_TIMEOUT_S)
        except TimeoutError:
            return {}


def _size(path: str) -> int | None:
    """From the kernel's own table: the device is not opened."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a device number is wanted, not a path
        if not stat.S_ISBLK(found.st_mode):
            return None
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        return int(Path("/sys/dev/block", number, "size").read_text()) * SECTOR_BYTES
    except (OSError, ValueError):
        return None
