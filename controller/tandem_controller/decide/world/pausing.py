"""Who has paused what. Nothing is started, stopped, moved or taken over for what is paused. Pure.

Called by the decision about a guest, by overrides, and by the statuses.
"""

from collections.abc import Iterable, Iterator

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.tandem import NAME
from tandem_api.reasons import Reason
from tandem_controller.decide.world.guestmoves import unsettled
from tandem_controller.decide.world.model import Case, Refusal, World, mirror_of


def paused_by(guest: Guest, world: World, case: Case | None, *more: str) -> str:
    """The objects that have the guest paused where it is, in words; empty if none has.

    ``more``: hosts that it would come to. Nothing has while it is on its way by hand: its hosts
    must stop and start it.
    """
    if unsettled(guest, world):
        return ""
    mirror = case.mirror if case is not None else mirror_of(guest, world)
    return " and ".join(
        (
            *_everything(world),
            *([f"Guest {guest.key}"] if guest.spec.paused else ()),
            *_mirror(mirror),
            *_hosts((*_where(guest, case), *more), world),
        )
    )


def order_paused_by(mirror: Mirror, world: World) -> str:
    """The objects that have a person's order to override paused, in words."""
    order, authority = mirror.spec.override, mirror.status.authority
    guests = world.catalogue.guests_by_mirror.get(mirror.key, ())
    hosts = (authority.owner if authority else "", order.host if order else "")
    return " and ".join(
        (
            *_everything(world),
            *(f"Guest {guest.key}" for guest in guests if guest.spec.paused),
            *_mirror(mirror),
            *_hosts(hosts, world),
        )
    )


def pause(by: str, would: str) -> Refusal:
    """``would``: what would be done."""
    return Refusal(Reason.PAUSED, f"Would {would}. {held_by(by)}")


def held_by(by: str) -> str:
    return f"It is paused by {by}: to have it done set spec.paused to false there"


def _everything(world: World) -> Iterator[str]:
    for tandem in world.snapshot.tandems:
        if tandem.spec.paused and tandem.metadata.name == NAME:
            yield f"Tandem {tandem.metadata.name}"


def _mirror(mirror: Mirror | None) -> Iterator[str]:
    if mirror is not None and mirror.spec.paused:
        yield f"Mirror {mirror.key}"


def _where(guest: Guest, case: Case | None) -> tuple[str, ...]:
    """Where it is, or may be: the host that it is assigned to, and the one that owns its mirror."""
    assignment = guest.status.assignment
    assigned = assignment.host if assignment is not None else ""
    return assigned, case.authority.owner if case is not None else ""


def _hosts(names: Iterable[str], world: World) -> Iterator[str]:
    views = [world.hosts[name] for name in dict.fromkeys(names) if name in world.hosts]
    yield from (f"Host {view.name}" for view in views if view.host.spec.paused)
    sites = (view.site_name for view in views if view.site is not None and view.site.spec.paused)
    yield from (f"Site {name}" for name in dict.fromkeys(sites))
