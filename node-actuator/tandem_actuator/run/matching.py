"""Which guest belongs to which mirror here."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from tandem_actuator.run.workload import Unit
from tandem_api.check.catalogue import precedence
from tandem_api.kinds.guest import Guest
from tandem_api.meta import ObjectKey


def match_guests(units: Iterable[Unit], guests: Iterable[Guest]) -> None:
    """Give each unit the one guest that has its mirror, as far as the API shows one.

    Several guests may name one mirror, and one guest may name another mirror than it runs on. A
    guest that may run here stays with its unit whatever is written: a unit that looked at another
    object would take a running guest for stopped, and never fence it. Between others the one with
    more right wins, as it does for the controller.
    """
    units = list(units)
    claims: dict[ObjectKey, list[Guest]] = defaultdict(list)
    for guest in guests:
        claims[guest.mirror_key].append(guest)
    busy = _busy(units)
    for unit in units:
        _match(unit, claims[unit.mirror.key], busy)


class Matching:
    """The same, where of many guests one has changed: it looks at the mirrors that it claims, or
    has claimed. What another mirror gets depends on its own claims and on who runs: so all are
    matched anew where something else runs here than when that was last done.
    """

    def __init__(self) -> None:
        self._claims: dict[ObjectKey, dict[ObjectKey, Guest]] = defaultdict(dict)
        self._claimed: dict[ObjectKey, ObjectKey] = {}
        self._busy = frozenset[ObjectKey]()
        self._running: list[bool] | None = None

    def all(self, units: Mapping[ObjectKey, Unit], guests: Iterable[Guest]) -> None:
        self._running = None
        self._claims.clear()
        self._claimed.clear()
        for guest in guests:
            self._note(guest.key, guest)
        self._busy = _busy(units.values())
        running = _running(units.values())
        for unit in units.values():
            _match(unit, self._claims[unit.mirror.key].values(), self._busy)
        self._running = running

    def one(
        self, units: Mapping[ObjectKey, Unit], key: ObjectKey, guest: Guest | None
    ) -> Collection[Unit] | None:
        """This guest is another now, or gone. → the units that were looked at; None: nothing was
        done, since all must be.
        """
        running, before = _running(units.values()), self._running
        if running != before:
            return None
        self._running = None  # until it is known to be done
        touched = {self._claimed.get(key), self._note(key, guest)}
        found = [units[mirror] for mirror in touched if mirror is not None and mirror in units]
        for unit in found:
            _match(unit, self._claims[unit.mirror.key].values(), self._busy)
        self._running = before
        return found

    def _note(self, key: ObjectKey, guest: Guest | None) -> ObjectKey | None:
        """→ the mirror that it claims now."""
        before = self._claimed.pop(key, None)
        if before is not None:
            self._claims[before].pop(key, None)
        if guest is None:
            return None
        mirror = self._claimed[key] = guest.mirror_key
        self._claims[mirror][key] = guest
        return mirror


def _busy(units: Iterable[Unit]) -> frozenset[ObjectKey]:
    """The guests that may run here."""
    return frozenset(unit.guest.key for unit in units if unit.guest and unit.may_run)


def _running(units: Iterable[Unit]) -> list[bool]:
    return [unit.guest is not None and unit.may_run for unit in units]


def _match(unit: Unit, claimants: Collection[Guest], busy: Collection[ObjectKey]) -> None:
    if unit.guest is not None and unit.may_run:
        mine = unit.guest.key
        unit.observe_guest(next((guest for guest in claimants if guest.key == mine), None))
    else:
        free = (guest for guest in claimants if guest.key not in busy)
        unit.observe_guest(min(free, key=precedence, default=None))
