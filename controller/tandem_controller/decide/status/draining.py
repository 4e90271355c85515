"""Whether a host or a site that is in maintenance has been emptied, and what holds it up.

Called by the statuses of both.
"""

from collections.abc import Iterable, Iterator

from tandem_api.kinds.guest import Guest
from tandem_api.meta import Condition
from tandem_api.reasons import Reason
from tandem_controller.decide.conditions import bad, good
from tandem_controller.decide.world.model import HostView, Refusal, World

NAMED = 3
"""So many guests are named; of the others there is only the number."""


def drained(views: Iterable[HostView], world: World) -> Condition:
    """Of what is in maintenance. A guest is there until its host says that it has stopped: one that
    is silent may run it all the same, as where only its way to the API is cut.
    """
    names = {view.name for view in views}
    left = [(guest, why) for guest in world.snapshot.guests if (why := _stays(guest, names))]
    unread = [str(each.key) for each in world.snapshot.unreadable if each.kind == "Guest"]
    if not left and unread:
        why = f"guest {unread[0]} cannot be read, and may be here"
        return bad("Drained", Refusal(Reason.DRAINING, why))
    if not left:
        return good("Drained", Reason.DRAINED)
    told = "; ".join(f"{guest.key}: {why}" for guest, why in left[:NAMED])
    more = f"; and {len(left) - NAMED} more" if len(left) > NAMED else ""
    count = f"{len(left)} guest{'s are' if len(left) > 1 else ' is'} still here"
    return bad("Drained", Refusal(Reason.DRAINING, f"{count} ({told}{more})"))


def _stays(guest: Guest, names: set[str]) -> str:
    """Why it is still on one of these hosts; empty if it is not."""
    assignment = guest.status.assignment
    if assignment is None:
        return ""
    if assignment.host in names:
        return guest.status.message or "it is assigned here"
    return next(_not_stopped(guest, names), "")


def _not_stopped(guest: Guest, names: set[str]) -> Iterator[str]:
    assignment = guest.status.assignment
    for host, report in sorted(guest.status.hosts.items()):
        if assignment is not None and host in names and not report.has_stopped(assignment):
            yield f"{host} has not said yet that it has stopped there"
