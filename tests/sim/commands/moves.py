"""Moves that people order: the GuestMoves of a guest."""

from sim.apiserver.kinds import served_name
from sim.world import World
from tandem_api.kinds.guest_move import GuestMove, How

WITHIN_S = 120
"""How long a move may take of which a scenario does not say."""


def moves_of(world: World, guest: str) -> list[GuestMove]:
    """The oldest first."""
    key = world.key(guest)
    found = [
        move
        for move in world.api.server.every(GuestMove)
        if (move.metadata.namespace, move.spec.guest) == key
    ]
    return sorted(found, key=lambda m: (m.metadata.creation_timestamp, m.metadata.name))


def move(
    world: World,
    guest: str,
    premises: str,
    seconds: str = "",
    *,
    how: How = How.LIVE_IF_POSSIBLE,
) -> None:
    """A person orders one to a site or host, within so many seconds."""
    live = " live" if how is How.LIVE else ""
    world.log.say("scenario", f"move {guest} {premises}{seconds and f' {seconds}'}{live}")
    number = world.kernel.number("move")
    to = {"host" if premises in world.hosts else "site": premises}
    within_s = int(float(seconds or WITHIN_S))
    metadata = {
        "name": f"{guest}-{number}",
        "namespace": world.key(guest).namespace,
        "uid": f"uid-move-{number}",
        "creationTimestamp": world.log.wall("api"),
    }
    spec = {"guest": guest, "to": to, "how": how, "timeoutSeconds": within_s}
    world.api.server.put(GuestMove.parse({"metadata": metadata, "spec": spec}))


def move_of_a_newer_version(world: World, guest: str, premises: str) -> None:
    """It is ordered in words that the present version does not know."""
    world.log.say("scenario", f"move {guest} {premises} newer")
    number = world.kernel.number("move")
    metadata = {
        "name": f"{guest}-{number}",
        "namespace": world.key(guest).namespace,
        "uid": f"uid-move-{number}",
        "creationTimestamp": world.log.wall("api"),
    }
    to = {"host" if premises in world.hosts else "site": premises}
    spec = {"guest": guest, "to": to, "how": "AsOnlyANewerVersionKnows"}
    world.api.server.put_unread(GuestMove.__name__, {"metadata": metadata, "spec": spec})


def phases(world: World, guest: str) -> list[str]:
    """The oldest first; empty for one that cannot be read, and of which nothing is told."""
    raws = world.api.server.handler.shelf(served_name(GuestMove.__name__)).objects.values()
    key = world.key(guest)
    found = [
        raw
        for raw in raws
        if (raw["metadata"]["namespace"], raw["spec"]["guest"]) == (key.namespace, key.name)
    ]
    found.sort(key=lambda raw: (raw["metadata"]["creationTimestamp"], raw["metadata"]["name"]))
    read = {move.metadata.name for move in moves_of(world, guest)}
    return [
        (raw.get("status") or {}).get("phase")
        or ("Pending" if raw["metadata"]["name"] in read else "")
        for raw in found
    ]


def churn(world: World, guest: str, *, churns: bool) -> None:
    """From now on its memory changes faster than it can be sent, wherever it runs; or no more."""
    world.log.say("scenario", f"{'churn' if churns else 'calm'} {guest}")
    key = world.key(guest)
    churning = world.ways.churning
    (churning.add if churns else churning.discard)(f"{key.namespace}.{key.name}")


def unmove(world: World, guest: str) -> None:
    """A person deletes those that have not ended."""
    world.log.say("scenario", f"unmove {guest}")
    for each in moves_of(world, guest):
        if not each.ended:
            world.api.server.delete(GuestMove, each.key)
