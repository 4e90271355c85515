"""A replica that marks itself for what DRBD knows it to lack, and the copy that answers that. Pure.

On 8.4 the bits stay until all was copied. On 9 they are forgotten as the two meet: there the owner
says, by the ``since`` of the marker, for which one it has told DRBD to copy. Called by the rules
(``copying``, ``rules``) and ``procedures``.
"""

from tandem_actuator.core.model import View
from tandem_api.kinds.mirror import Marker, Mirror
from tandem_api.reasons import Reason

COPIES_WHEN_TOLD = 9
"""The first DRBD that a Primary can tell to copy what its bitmap says, and nothing else."""


def asked(mirror: Mirror, host: str) -> str:
    """Since when a host says that its replica lacks something; empty if it does not."""
    report = mirror.status.replicas.get(host)
    marker = report.marker if report is not None else None
    return marker.since if marker is not None and _is_of_this_kind(marker) else ""


def is_asked_for_a_copy(view: View) -> bool:
    """Whether the peer says so, and was not answered."""
    since = asked(view.mirror, view.peer)
    return since not in ("", view.record.copied_for)


def was_copied_for(view: View) -> bool:
    """Whether this host said so, and DRBD was told to copy since."""
    marker, report = view.record.marker, view.mirror.status.replicas.get(view.peer)
    if marker is None or not _is_of_this_kind(marker) or report is None:
        return False
    return report.copied_for == marker.since


def keeps_marker(view: View) -> bool:
    """Whether this host's marker stays although DRBD shows no difference any more."""
    marker, authority = view.record.marker, view.mirror.status.authority
    if marker is None or not _is_of_this_kind(marker) or view.drbd_major < COPIES_WHEN_TOLD:
        return False
    owner = authority is not None and authority.owner == view.host
    return not owner and not was_copied_for(view)  # what an owner has is what counts


def _is_of_this_kind(marker: Marker) -> bool:
    return marker.reason is Reason.DIFFERENCE_FOUND
