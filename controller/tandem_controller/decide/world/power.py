"""What powering a host off would end: the guests that run there. Pure.

Called by every message that says that a person can do that: it must not hide what it costs.
"""

from collections.abc import Iterator

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import DomainState, Role
from tandem_controller.decide.world.hosts import rebooted
from tandem_controller.decide.world.model import World, mirror_of

NAMED = 3
"""So many guests are named; of the others there is only the number."""


def off(host: str, mirror: Mirror, world: World) -> str:
    """To power a host off for the sake of this mirror's guest, in words that name the others."""
    ends = sorted(str(guest.key) for guest in _others(host, mirror, world))
    unread = [each.key for each in world.snapshot.unreadable if each.kind == Guest.__name__]
    ends += [f"perhaps {key}, which cannot be read," for key in unread]
    if not ends:
        return f"power {host} off"
    more = [f"{len(ends) - NAMED} more"] if len(ends) > NAMED else []
    return f"power {host} off (which ends {' and '.join([*ends[:NAMED], *more])} there, too)"


def _others(host: str, mirror: Mirror, world: World) -> Iterator[Guest]:
    for guest in world.users.get(host, ()):
        if guest.mirror_key != mirror.key and _may_run(guest, host, world):
            yield guest


def _may_run(guest: Guest, host: str, world: World) -> bool:
    """By what its host said last. Where libvirt does not tell, the device does."""
    view, report = world.hosts.get(host), guest.status.hosts[host]
    if view is None or rebooted(view, report.instance):
        return False
    used = mirror_of(guest, world)
    replica = used.status.replicas.get(host) if used is not None else None
    known = report.state != DomainState.UNKNOWN
    return known or (replica is not None and replica.role == Role.PRIMARY)
