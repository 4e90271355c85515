"""Looks ahead: would this host's libvirt take each guest's hardware, and how large are its devices?

It works through the mirrors of this host one after another, at a pace at which nobody notices, and
leaves what it found with the unit, from where it is reported. It decides nothing, and starts
nothing: a look that fails leaves what was found before, or that nothing was. Called by ``loop``.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from tandem_actuator.core.guest.domain_xml import DomainSettings, DomainXmlError, render
from tandem_actuator.core.guest.hardware import for_trial, needs, refused, told
from tandem_actuator.ports import PortError
from tandem_actuator.ports.libvirt import Premises
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest, HardwareReport
from tandem_api.kinds.mirror import DeviceNumbers

log = logging.getLogger(__name__)

PACE_S = 0.5
"""Between two rounds, each of which asks libvirt about what has changed since."""
REPEAT_ROUNDS = 20
"""Files, bridges and sizes are looked at again after so many: nobody tells of them."""


class Inspection:
    """The loop of one host."""

    def __init__(
        self,
        host: str,
        premises: Premises,
        settings: DomainSettings,
        units: Callable[[], Iterable[Unit]],
    ) -> None:
        self._host, self._premises, self._settings = host, premises, settings
        self._units = units
        self._taken: dict[str, tuple[str, DeviceNumbers | None, str]] = {}
        self._silent: dict[str, str] = {}
        self._looked: dict[str, Guest] = {}
        """As each guest was when nothing new was found in it."""

    async def run(self) -> None:
        """For ever."""
        rounds = 0
        while True:
            again = rounds % REPEAT_ROUNDS == 0
            for unit in list(self._units()):
                try:
                    if again or not self._is_known(unit):
                        await self.look(unit, again=again)
                except Exception:  # one object's bug costs that object's look
                    log.exception("bug: %s could not be looked at", unit.mirror.key)
            rounds += 1
            await asyncio.sleep(PACE_S)

    def _is_known(self, unit: Unit) -> bool:
        """Whether there is nothing new about it: most are what they were at the last round."""
        guest = unit.guest
        seen = guest is None or self._looked.get(guest.metadata.uid) is guest
        return seen and bool(unit.device_bytes)

    async def look(self, unit: Unit, *, again: bool) -> None:
        """At what is new, or at everything but what libvirt has said already."""
        if again or not unit.device_bytes:
            await self._measure(unit)
        guest = unit.guest
        if guest is None:
            return
        fingerprint = guest.in_force.domain.fingerprint
        if not again and unit.hardware.fingerprint == fingerprint:
            self._looked[guest.metadata.uid] = guest
            return
        try:
            problems = await self._problems(guest, unit)
        except PortError as error:
            if self._silent.get(guest.metadata.uid) != str(error):
                log.warning("%s: its hardware was not tried: %s", guest.key, error)
            self._silent[guest.metadata.uid] = str(error)
            return
        self._silent.pop(guest.metadata.uid, None)
        unit.hardware = HardwareReport(fingerprint=fingerprint, problems=tuple(problems))

    async def _problems(self, guest: Guest, unit: Unit) -> list[str]:
        try:
            xml = render(guest, unit.mirror, self._settings)
        except DomainXmlError as error:
            return [str(error)]
        words = await self._libvirts_words(guest, unit, xml)
        wanted = needs(guest)
        missing = await self._premises.missing(list(wanted))
        return [
            *([refused(self._host, words)] if words else ()),
            *told(self._host, wanted, missing),
        ]

    async def _libvirts_words(self, guest: Guest, unit: Unit, xml: str) -> str:
        """Asked once for each domain: it does not change its mind."""
        key, numbers = guest.metadata.uid, unit.mirror.status.device_numbers
        known = self._taken.get(key)
        if known is not None and known[:2] == (xml, numbers):
            return known[2]
        words = await self._premises.refusal(for_trial(xml))
        self._taken[key] = (xml, numbers, words)
        return words

    async def _measure(self, unit: Unit) -> None:
        replica = unit.mirror.replica_on(self._host)
        devices = replica.devices if replica else {}
        sizes = await self._premises.device_bytes(list(devices.values()))
        unit.device_bytes = {
            volume: sizes[path] for volume, path in devices.items() if path in sizes
        }
