"""Whether a look, or all that is known, says something else than the last one. Pure.

Called by ``workload``, ``calm`` and ``reports``.
"""

from dataclasses import fields
from operator import attrgetter, is_

from tandem_actuator.core.drbd import DrbdState, DrbdView
from tandem_actuator.core.model import View
from tandem_api.vocabulary import Connection


def says_the_same(new: DrbdView, old: DrbdView) -> bool:
    """Whether two readings tell the same, apart from the time that they were taken at."""
    if not (isinstance(new, DrbdState) and isinstance(old, DrbdState)):
        return type(new) is type(old)
    return (
        new.volumes == old.volumes
        and new.role is old.role
        and new.connection is old.connection
        and new.peer_role is old.peer_role
        and new.suspended == old.suspended
    )


def tells_the_same(new: View, old: View) -> bool:
    """Whether they differ in nothing, or only in when DRBD was looked at and a heartbeat sent,
    and in what has arrived by then.

    By identity but for the look, so two that are equal may count as different. While a resync is
    followed it counts as different, as what that means depends on the time. What the guest reads
    and writes meanwhile is for the reports alone (``is_at_rest``).
    """
    if new.resync is not None:
        return False
    if new is old:
        return True
    return all(map(is_, _LASTING(new), _LASTING(old))) and _same_look(new.drbd, old.drbd)


_PASSING = ("drbd", "packets", "standstill", "renewal_sent_at_s")
_LASTING = attrgetter(*(field.name for field in fields(View) if field.name not in _PASSING))


def is_at_rest(view: View) -> bool:
    """Whether nothing is followed of which more is told as time passes."""
    return view.resync is None and not view.standstill.is_under_way


def _same_look(new: DrbdView, old: DrbdView) -> bool:
    """Also in what nobody is woken for."""
    if not says_the_same(new, old):
        return False
    if isinstance(new, DrbdState) and isinstance(old, DrbdState):
        return new.protocol is old.protocol
    return True


def is_unclear(drbd: DrbdView) -> bool:
    """A word for the connection that this version does not know."""
    return isinstance(drbd, DrbdState) and drbd.connection is Connection.UNKNOWN
