"""Hosts whose heartbeats arrive and whose reports do not: what is told of them is from before.

By their own word, in the heartbeat. A host that does not tell (an older one) is believed as ever.
Called by the statuses of hosts, mirrors and guests, and by what decides where a guest may start.
"""

from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import Delivery
from tandem_api.reasons import Reason
from tandem_controller.decide.world.hosts import unfit
from tandem_controller.decide.world.model import Freshness, HostView, Refusal, World
from tandem_controller.decide.world.power import off

HEARD = (Freshness.FRESH, Freshness.LATE, Freshness.UNKNOWN)
"""Of one that is lost, that alone is what there is to say."""


def undelivered(view: HostView | None) -> Delivery | None:
    """What a host says of reports that do not arrive; None if all do, or that is not known."""
    if view is None or view.heartbeat is None or view.freshness not in HEARD:
        return None
    told = view.heartbeat.delivery
    return told if told is not None and told.since else None


def about(mirror: Mirror, host: str, world: World) -> Delivery | None:
    """The same, if it may concern this mirror and its guest."""
    told = undelivered(world.hosts.get(host))
    if told is None or (told.of and str(mirror.key) not in told.of):
        return None
    return told


def refusal(mirror: Mirror, host: str, world: World) -> Refusal | None:
    """Why what this host says of the mirror, and of its guest, is not known to be so still."""
    told = about(mirror, host, world)
    if told is None:
        return None
    return Refusal(
        Reason.REPORTS_UNDELIVERED,
        f"what is known from {host} is of {told.since}: since then {_what(told)} about it has"
        f" passed, although its heartbeat arrives{_error(told)}. {look_for(host, told)}",
    )


def unanswered(mirror: Mirror, host: str, world: World) -> Refusal | None:
    """Why this host could not claim the mirror either: of what it asks about it nothing passes.
    Where it is answered and refused, a claim may pass.
    """
    told = about(mirror, host, world)
    if told is None or told.refused:
        return None
    return refusal(mirror, host, world)


def stands_still(mirror: Mirror, owner: str, world: World) -> str:
    """What a person can do if the guest there does not get on, which nobody would be told."""
    peer, authority = mirror.peer_of(owner), mirror.status.authority
    unable = unfit(world.hosts.get(peer), peer) or unanswered(mirror, peer, world)
    if unable is not None or authority is None:
        why = f": {unable.message}" if unable is not None else ""
        return f"It could not go on at {peer}{why}"
    to_do = off(owner, mirror, world)
    if authority.both_count and authority.may_own(peer):
        return f"If the guest stands still there, {to_do} to have it started on {peer}"
    return (
        f"{peer} may lack what {owner} wrote alone. If the guest stands still there, {to_do} to be"
        f" told how to go on with what {peer} has"
    )


def of_host(view: HostView) -> Refusal | None:
    """The same in the words of the host's own status."""
    told = undelivered(view)
    if told is None:
        return None
    which = ", ".join(told.of) or (f"{told.count} objects" if told.count else "anything")
    return Refusal(
        Reason.REPORTS_UNDELIVERED,
        f"since {told.since} {_what(told)} about {which} has passed from or to {view.name},"
        f" although its heartbeat arrives{_error(told)}: what is told of it is of then."
        f" {look_for(view.name, told)}",
    )


def _what(told: Delivery) -> str:
    return "neither report nor news" if told.deaf else "no report"


def _error(told: Delivery) -> str:
    return f" ({told.why})" if told.why else ""


def look_for(host: str, told: Delivery) -> str:
    """Where a person can look."""
    if told.refused:
        return f"The API server refuses them: look at {host}'s rights, at policies and at webhooks"
    return (
        f"Look between {host} and the API server for a path that drops large packets (path MTU),"
        " and at webhooks that hang"
    )
