"""Whether a mirror's authority is one that the protocol leads to. Pure.

The API server's policies refuse what no rule allows, but an administrator may take them away, or
write past them. So the controller looks afterwards: at what the object itself shows
(``contradiction``) and at each change against what was seen before (``observe``). It undoes
nothing, since what is right only a person can say; it says so, in the condition Lawful, and an
alert asks for that person.

Called by ``loop`` (``observe``) and ``mirror_status`` (``doubt``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tandem_api.authority import Authority
from tandem_api.check.writers import hands_over, order_for, proves
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Refusal, World


@dataclass(frozen=True)
class Sighting:
    """A mirror's authority as last seen, and what was wrong with how it came about.

    ``taken_from``: the authority that another host took over without a permission that was seen.
    The watch of guests may only be slower than that of mirrors, so it is looked for again.
    """

    uid: str
    authority: Authority | None
    suspicion: str = ""
    taken_from: Authority | None = None


Sightings = Mapping[ObjectKey, Sighting]


def suspicions(sightings: Sightings) -> dict[ObjectKey, str]:
    """What is wrong, for the mirrors with anything."""
    return {key: seen.suspicion for key, seen in sightings.items() if seen.suspicion}


def observe(known: Sightings, mirrors: Iterable[Mirror], guests: Iterable[Guest]) -> Sightings:
    """What is remembered after a look at all mirrors."""
    return {mirror.key: _seen(known.get(mirror.key), mirror, guests) for mirror in mirrors}


def _seen(before: Sighting | None, mirror: Mirror, guests: Iterable[Guest]) -> Sighting:
    now, uid = mirror.status.authority, mirror.metadata.uid
    if before is None or before.uid != uid or before.authority is None:
        return Sighting(uid, now)
    was = before.authority
    if now is None:
        return Sighting(uid, was, "its authority was removed")
    if now == was:
        return (
            before if before.taken_from is None else _taken(before.taken_from, now, mirror, guests)
        )
    if now.epoch < was.epoch:
        return Sighting(uid, now, f"its epoch fell from {was.epoch} to {now.epoch}")
    if now.epoch == was.epoch:
        return Sighting(uid, now, f"it was changed without a new epoch ({now.epoch})")
    if now.owner == was.owner:
        return replace(before, authority=now)
    taken = was.owner and now.owner and now.epoch == was.epoch + 1
    if taken and not hands_over(was, now):
        return _taken(was, now, mirror, guests)
    return Sighting(uid, now)  # Released or handed over, or what came between was not seen.


def _taken(was: Authority, now: Authority, mirror: Mirror, guests: Iterable[Guest]) -> Sighting:
    order = order_for(mirror, now.owner, guests)
    if order is not None and proves(order.proof, was):
        return Sighting(mirror.metadata.uid, now)
    what = (
        f"{now.owner} took it from {was.owner} after epoch {was.epoch}, and no assignment held a"
        f" proof that {was.owner} had stopped"
    )
    return Sighting(mirror.metadata.uid, now, what, was)


def doubt(mirror: Mirror, world: World) -> Refusal | None:
    """Why the authority cannot be as it is by the rules, or None."""
    what = contradiction(mirror) or world.snapshot.suspicions.get(mirror.key, "")
    if not what:
        return None
    return Refusal(
        Reason.AUTHORITY_UNLAWFUL,
        f"{what}. Somebody wrote it who must not have, or the API was restored: look who, before"
        " you trust this mirror",
    )


def contradiction(mirror: Mirror) -> str:
    """What the object itself shows to be impossible, or nothing."""
    authority = mirror.status.authority
    latest = max(((r.epoch_seen, host) for host, r in mirror.status.replicas.items()), default=None)
    epoch = authority.epoch if authority else 0
    if latest is not None and latest[0] > epoch:
        return f"{latest[1]} has seen epoch {latest[0]}, and now it is epoch {epoch}"
    if authority is None:
        return ""
    if authority.incarnation != mirror.metadata.uid:
        return f"its authority is another mirror's ({authority.incarnation})"
    if authority.owner and mirror.replica_on(authority.owner) is None:
        return f"its owner {authority.owner} keeps no replica of it"
    if not authority.names_its_owner:
        return f"its owner {authority.owner!r} is not who {authority.owner_instance!r} is"
    return ""
