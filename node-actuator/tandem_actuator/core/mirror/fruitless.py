"""Connections on which no write ever ends, and what is done about them: pure.

A path that loses large packets lets two replicas connect, and lets none of the data through. DRBD
gives up such a peer after ko-count times its timeout, connects again within a second, sends the
same writes again, and so on for ever: a frozen Primary is back before leave to go on alone was won,
and one that has leave stands still for all but a moment. So its owner notes how often in a row a
connection was lost on which writes were under way and none ended. From the second on it wins leave,
if it has none, parts, goes on alone, and connects again after a rest that grows. Where it cannot
part, since leave is not to be had or its files cannot be read, that is told.

Called by ``standstill`` with every look, by ``order`` and by ``guest.rules``.
"""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Refusal
from tandem_actuator.core.decision import Decision, Start, Stay, Task, authority_of, drbd_of
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, Fruitless
from tandem_actuator.core.mirror import parting, transaction
from tandem_actuator.core.model import View
from tandem_api.reasons import Reason
from tandem_api.timing import timers_within
from tandem_api.vocabulary import Connection, Role

NOTICED_S = 0.5
"""So much later than it was may a connection be seen first, or its end."""
LIMIT = 2
"""The first may be a link that was cut as it was written to."""
REST_S = 60.0
DOUBLINGS = 5
"""The path is tried more and more rarely, in the end every 32 minutes."""


def lasted_s(detection_s: float | None) -> float:
    """A connection that was lost sooner was not one that DRBD gave up, but lost for another cause.

    ``detection_s``: how soon DRBD notices a dead link, as its timers in force say. None: that is
    not known, so as with the shortest timers that there are.
    """
    return timers_within(detection_s or 0.0).gives_up_s - NOTICED_S


def followed(
    before: Fruitless, drbd: DrbdView, now_s: float, wall: str, detection_s: float | None = None
) -> Fruitless:
    """What is known after this look. One write that ends on a connection, and all is forgotten."""
    if isinstance(drbd, DrbdUnknown):
        return before
    if not isinstance(drbd, DrbdState):
        return Fruitless()
    if drbd.connected:
        return _connected(before, drbd, now_s)
    if before.connected_at_s is not None:
        lasted = now_s - before.connected_at_s >= lasted_s(detection_s)
        more = before.asked and lasted
        before = replace(
            before,
            connected_at_s=None,
            asked=False,
            fruitful=False,
            in_a_row=before.in_a_row + more,
            since=before.since or (wall if more else ""),
        )
    if before.kept and not drbd.suspended:
        before = replace(before, kept="")  # it goes on alone
    alone = drbd.connection is Connection.STANDALONE and before.in_a_row >= LIMIT
    if not alone:
        return replace(before, parted_at_s=None) if before.parted_at_s is not None else before
    if before.parted_at_s is not None:
        return before
    return replace(before, parted_at_s=now_s, rests=before.rests + 1, answered=before.in_a_row)


def _connected(before: Fruitless, drbd: DrbdState, now_s: float) -> Fruitless:
    if before.fruitful:
        return before
    traffic = [volume.traffic for volume in drbd.volumes.values()]
    written, asked = sum(each.written for each in traffic), any(each.writes for each in traffic)
    if before.connected_at_s is None:
        return replace(before, connected_at_s=now_s, written=written, asked=asked, parted_at_s=None)
    if written != before.written:
        return Fruitless(connected_at_s=before.connected_at_s, fruitful=True)
    return before if asked == before.asked else replace(before, asked=asked)


def rest_s(fruitless: Fruitless) -> float:
    """How long its owner does not connect after it has parted."""
    return REST_S * (1 << min(max(fruitless.rests - 1, 0), DOUBLINGS))


def part(view: View, now_s: float, wall: str) -> Decision | None:
    """It has just lost another one: before DRBD is connected again, for nothing."""
    found, drbd = view.standstill.link, drbd_of(view)
    again = found.in_a_row >= LIMIT and found.in_a_row > found.answered
    waits = drbd.connection is Connection.CONNECTING and not drbd.connected
    if not (again and waits and _is_owner(view)):
        return None
    if isinstance(rules.grant_link_loss(view.mirror, transaction.facts_of(view), ""), Refusal):
        return None
    return Start(
        Task.PART,
        Reason.LINK_UNUSABLE,
        f"{found.in_a_row} connections in a row let no write through: parting",
        lambda: parting.part(view),
    )


def unparted(view: View) -> Stay | None:
    """A guest, or what is left of a dead one, that waits for a link on which nothing gets on."""
    found, drbd = view.standstill.link, drbd_of(view)
    if drbd.connection is Connection.STANDALONE or not _is_owner(view):
        return None
    alone = drbd.own_up_to_date or not waits_for_its_link(view)
    why = found.kept or ("" if alone else parting.kept(view, f"{view.host}'s own disk is behind"))
    return Stay(Reason.LINK_UNUSABLE, why) if why else None


def waits_for_its_link(view: View) -> bool:
    """Whether nothing gets on for its owner unless it parts."""
    return view.standstill.link.in_a_row >= LIMIT and _is_owner(view)


def rests(view: View, now_s: float) -> bool:
    """Whether it has parted, and does not connect yet."""
    found, drbd = view.standstill.link, drbd_of(view)
    since_s = found.parted_at_s
    if since_s is None or drbd.connection is not Connection.STANDALONE or not _is_owner(view):
        return False
    return now_s - since_s < rest_s(found)


def resting(view: View, now_s: float, wall: str) -> Decision | None:
    """Told of a guest that runs. One that shall run is started meanwhile."""
    found = view.standstill.link
    if not (view.guest_may_run and rests(view, now_s)):
        return None
    return Stay(
        Reason.LINK_UNUSABLE,
        f"since {found.since} {found.in_a_row} connections to {view.peer} in a row were made, and"
        f" lost without one write that was answered: {parting.compare_pings(view)}. It"
        f" connects again {rest_s(found):g} s after it has parted, or at once by `drbdadm connect"
        f" {view.mirror.drbd_name}`",
    )


def _is_owner(view: View) -> bool:
    authority = authority_of(view)
    mine = authority.owner == view.host and view.instance.same_boot(authority.owner_instance)
    return mine and drbd_of(view).role is Role.PRIMARY
