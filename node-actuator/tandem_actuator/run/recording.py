"""Changes a mirror's durable record: one after another, and never believed before it is stored."""

import asyncio

from tandem_actuator.core import effects as fx
from tandem_actuator.core.mirror.record import updated
from tandem_actuator.core.model import Record
from tandem_actuator.ports import PortError
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import Unit


class Recording:
    """For the driver."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    async def update(self, unit: Unit, effect: fx.UpdateRecord) -> fx.Outcome:
        """It goes on to its end also if nobody waits any more: what is being written when the next
        is written may get onto the disk after it.
        """
        changing = asyncio.create_task(self._change(unit, effect))
        return await asyncio.shield(changing)

    async def _change(self, unit: Unit, effect: fx.UpdateRecord) -> fx.Outcome:
        """One at a time for each mirror: nothing comes between reading and writing its record.

        A store that fails may have reached the disk all the same, so the next one is made whatever
        it holds. Until one succeeds what was durable before is believed.
        """
        async with unit.record_lock:
            if unit.record.unreadable:
                return fx.Failed(unit.record.unreadable)
            behinds = unit.behinds
            record = updated(unit.record, effect)
            migration = effect.outgoing
            if not isinstance(migration, fx.Keep | None) and record.outgoing != migration:
                return fx.Failed("of its migration something else was noted meanwhile")
            if record != unit.record or unit.record_unsure:
                try:
                    await self._store(unit.mirror.drbd_name, record)
                except PortError as error:
                    unit.store_failed(str(error))
                    return fx.Failed(str(error))
                unit.stored(record)
            if not isinstance(effect.marker, fx.Keep) and unit.behinds == behinds:
                unit.was_behind = False  # what it called for is written, or was waited out
            return fx.Done()

    async def _store(self, name: str, record: Record) -> None:
        """A disk syncs for as long as it takes: other guests' deadlines do not wait for it."""
        await self.ports.off_loop(lambda: self.ports.records.store(name, record))
