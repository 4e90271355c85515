"""Who may claim each mirror: the assignments of its guests, as they stand on the mirror itself.

The API server judges a claim from the mirror alone, so whatever host a guest's assignment names
must have its entry there at every moment, whoever crashes between two writes. Hence an entry is
added before the assignment is written, and taken away only after another one is there. Entries are
made level with the assignments in every plan, not only when something is assigned.

Pure. Called by ``plan`` and ``mirror_status``.
"""

from collections.abc import Iterator, Mapping

from tandem_api.check.catalogue import precedence
from tandem_api.kinds.guest import Assignment, Guest
from tandem_api.kinds.mirror import Claimant, Mirror
from tandem_api.meta import ObjectKey
from tandem_controller.decide.memory import Recall
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.model import World, WriteClaimant
from tandem_controller.decide.world.phases import is_takeover

Assignments = Mapping[ObjectKey, Assignment]
"""What this plan assigns, by the guest."""


def to_add(guest: Guest, assignment: Assignment, world: World) -> WriteClaimant | None:
    """The entry that the mirror lacks for this assignment, if it is set up and lacks it."""
    mirror = world.catalogue.mirrors.get(guest.mirror_key)
    if mirror is None or mirror.status.authority is None or not assignment.host:
        return None
    wanted = _claimant(guest, assignment)
    known = (mirror.status.claimants or {}).get(assignment.host)
    return None if known == wanted else WriteClaimant(mirror, assignment.host, wanted)


def to_mend(
    world: World, new: Assignments, walls: Walls, recall: Recall
) -> Iterator[WriteClaimant]:
    """Entries that lack for assignments that stay: after an upgrade, a restore, a hand edit."""
    for mirror in world.snapshot.mirrors:
        yield from recall.again("claimants", mirror, _of_one, world, new, walls)


def _of_one(
    mirror: Mirror, world: World, new: Assignments, walls: Walls
) -> tuple[WriteClaimant, ...]:
    found = []
    with walls.around(mirror):
        for each in _to_mend(mirror, world, new):
            found.append(each)
    return tuple(found)


def _to_mend(mirror: Mirror, world: World, new: Assignments) -> Iterator[WriteClaimant]:
    done = {a.host for a in _new(mirror, world, new) if a.host}
    # Two guests on one mirror is a mistake; who was there first is right, as everywhere.
    for guest in sorted(_guests(mirror, world), key=precedence):
        assignment = guest.status.assignment
        if guest.key in new or assignment is None or assignment.host in done:
            continue
        done.add(assignment.host)
        if _proves_more(mirror, assignment):
            continue
        mended = to_add(guest, assignment, world)
        if mended is not None and mended.mirror is mirror:
            yield mended


def _proves_more(mirror: Mirror, assignment: Assignment) -> bool:
    """Another controller has given the host a proof for an assignment that is not heard of yet."""
    known = (mirror.status.claimants or {}).get(assignment.host)
    proved = known is not None and known.proves_at(mirror.status.authority)
    return proved and not is_takeover(assignment.proof)


def kept(mirror: Mirror, world: World, new: Assignments) -> dict[str, Claimant] | None:
    """The entries without those of hosts that no guest is assigned to, nor is about to be.

    All of them, while a guest there cannot be read: it may be the one that an entry is for.
    """
    known = mirror.status.claimants
    if not known or _has_unreadable_guests(mirror.metadata.namespace, world):
        return known
    present = (guest.status.assignment for guest in _guests(mirror, world))
    hosts = {each.host for each in (*present, *_new(mirror, world, new)) if each is not None}
    return {host: claimant for host, claimant in known.items() if host in hosts}


def _has_unreadable_guests(namespace: str, world: World) -> bool:
    return any(
        kind == "Guest" and key.namespace == namespace for kind, key in world.catalogue.unreadable
    )


def _guests(mirror: Mirror, world: World) -> tuple[Guest, ...]:
    return world.catalogue.guests_by_mirror.get(mirror.key, ())


def _new(mirror: Mirror, world: World, new: Assignments) -> list[Assignment]:
    return [new[guest.key] for guest in _guests(mirror, world) if guest.key in new]


def _claimant(guest: Guest, assignment: Assignment) -> Claimant:
    """A proof that nobody else owns it is not kept: the authority itself says so."""
    proof = assignment.proof if is_takeover(assignment.proof) else None
    return Claimant(guest=guest.metadata.name, proof=proof)
