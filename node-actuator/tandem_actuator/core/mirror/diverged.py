"""What a replica that stands alone holds: worth nothing any more, or a person's to decide.

Called by the rules (``core/order``), ``procedures`` and ``record``.
"""

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.model import Record, View
from tandem_api.authority import Authority
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role


def has_diverged(record: Record) -> bool:
    """Whether the authority went on from before this host was its owner (``decide._diverged``)."""
    return record.marker is not None and record.marker.reason is Reason.SPLIT_BRAIN


def may_discard(authority: Authority | None, view: View) -> bool:
    """Whether this replica's own changes since the fork are known to be worthless.

    The peer took over under the rules (this side was frozen or dead and acknowledged nothing the
    peer lacks), or a person accepted the loss; and this host wrote as an owner that the authority
    has followed. Anything else stays StandAlone for a person, until an override.
    """
    return (
        authority is not None
        and (not has_diverged(view.record) or _given_to_peer_since(authority, view))
        and authority.owner == view.peer
        and not authority.may_own(view.host)
        and authority.epoch > view.record.owned_epoch
        and isinstance(view.drbd, DrbdState)
        and view.drbd.role is Role.SECONDARY
        and not view.guest_may_run
    )


def _given_to_peer_since(authority: Authority, view: View) -> bool:
    order = authority.override
    return (
        order is not None and order.host == view.peer and order.at_epoch >= view.record.owned_epoch
    )
