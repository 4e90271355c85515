"""Which guest belongs to which mirror here."""

from collections import defaultdict
from collections.abc import Iterable

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
        mirror = ObjectKey(namespace=guest.metadata.namespace, name=guest.mirror_in_use)
        claims[mirror].append(guest)
    busy = {unit.guest.key for unit in units if unit.guest and unit.may_run}
    for unit in units:
        claimants = claims[unit.mirror.key]
        if unit.guest is not None and unit.may_run:
            mine = unit.guest.key
            unit.observe_guest(next((guest for guest in claimants if guest.key == mine), None))
        else:
            free = (guest for guest in claimants if guest.key not in busy)
            unit.observe_guest(min(free, key=precedence, default=None))
