"""What this host says of itself: its run, its versions, and whether drbdadm can read its files.

The last is looked at now and then. drbdadm reads all of them for whatever it does, and the kernel
has it start each of DRBD's questions: one stray file costs nothing until a guest is taken over, or
the link is lost. Called by ``loop``.
"""

import asyncio
import logging
from dataclasses import dataclass

from tandem_actuator.ports import PortError
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.undelivered import Undelivered
from tandem_api.kinds.host import DrbdFiles

log = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
LOOK_EVERY_S = 30.0
LOOK_AGAIN_S = 5.0
"""While it was bad: whoever corrects a file hears of it."""


@dataclass
class HostReport:
    """Of one host. It is told once, and again when something in it is another."""

    ports: Ports
    node: NodeFacts
    cluster: Cluster
    undelivered: Undelivered

    async def run(self) -> None:
        """For ever."""
        versions = {**await self.ports.drbd.versions(), **await self.ports.libvirt.versions()}
        told: DrbdFiles | None = None
        while True:
            files = await self._look(told)
            if files != told or self._shows_another(files):
                await self._tell(versions, files)
                told = files
            await asyncio.sleep(LOOK_EVERY_S if files.readable else LOOK_AGAIN_S)

    async def _look(self, before: DrbdFiles | None) -> DrbdFiles:
        """Whether drbdadm can read its files now."""
        known = before is not None and not before.readable
        try:
            await self.ports.drbd.check_files()
        except PortError as error:
            if not known:
                log.error("drbdadm cannot read its files: %s", error)
            return DrbdFiles(readable=False, message=str(error))
        if known:
            log.info("drbdadm reads its files again")
        return DrbdFiles(readable=True)

    def _shows_another(self, files: DrbdFiles) -> bool:
        """As after a restore of the API."""
        me = self.cluster.me
        return me is None or me.status.drbd_files != files

    async def _tell(self, versions: dict[str, str], files: DrbdFiles) -> None:
        """Until it is delivered."""
        name, port = self.node.host, self.ports.migrations.port
        while True:
            if self.cluster.me is not None:
                try:
                    await self.ports.api.report_host(
                        name, self.node.instance, versions, port, files
                    )
                except PortError as error:
                    self.undelivered.failed(name, "host", error)
                    log.warning("host not reported: %s", error)
                else:
                    self.undelivered.delivered(name, "host")
                    return
            await asyncio.sleep(TRY_AGAIN_S)
