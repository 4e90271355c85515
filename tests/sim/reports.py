"""An actuator's reports to the API, as ``tandem_actuator.loop`` delivers them.

The real functions say what is reported; it is made anew only if what it is made from has changed.
Called by ``actuator``.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

from sim.api import Client
from sim.kernel import Command
from tandem_actuator.core.model import DrbdState, View
from tandem_actuator.core.report import (
    guest_report,
    guest_report_is_due,
    replica_report,
    replica_report_is_due,
)
from tandem_actuator.unit import NodeFacts, Unit
from tandem_api.guest import Guest, GuestReport
from tandem_api.mirror import Mirror, ReplicaReport
from tandem_api.timing import API_TIMEOUT_S


@dataclass
class Known:
    """The last reports of one unit, and what they were made from."""

    replica_of: tuple[object, ...] = ()
    replica: ReplicaReport | None = None
    guest_of: tuple[object, ...] = ()
    guest: GuestReport | None = None


@dataclass
class Reporter:
    """Delivers what changed since the last delivered report."""

    client: Client
    node: NodeFacts
    known: dict[str, Known] = field(default_factory=dict)

    def report(self, unit: Unit, view: View, now_s: float) -> Generator[Command, bool, None]:
        """Raises: ApiGone, ApiUnavailable."""
        known = self.known.setdefault(unit.mirror.drbd_name, Known())
        replica, guest = _replica(known, unit, view), _guest(known, unit, view)
        server, host = self.client.api.server, self.node.host
        stored, age_s = unit.mirror.status.replicas.get(host), now_s - unit.replica_sent_at_s
        if replica_report_is_due(replica, unit.sent_replica, stored, age_s):
            worded = replica.model_copy(update={"message": unit.message})
            mirror = unit.mirror.key
            yield from self.client.call(
                lambda: server.report(Mirror, mirror, "replicas", host, worded),
                API_TIMEOUT_S,
                write=True,
            )
            unit.sent_replica, unit.replica_sent_at_s = replica, now_s
        if guest is None or unit.guest is None:
            return
        shown, age_s = unit.guest.status.hosts.get(host), now_s - unit.guest_sent_at_s
        if guest_report_is_due(guest, unit.sent_guest, shown, age_s):
            key = unit.guest.key
            yield from self.client.call(
                lambda: server.report(Guest, key, "hosts", host, guest), API_TIMEOUT_S, write=True
            )
            unit.sent_guest, unit.guest_sent_at_s = guest, now_s


def _replica(known: Known, unit: Unit, view: View) -> ReplicaReport:
    drbd = view.drbd
    state: object = type(drbd)
    if isinstance(drbd, DrbdState):
        state = (drbd.role, drbd.connection, drbd.peer_role, drbd.volumes, drbd.suspended)
    made_of = (state, view.record, unit.reason, unit.link_lost_wall)
    if known.replica is None or known.replica_of != made_of:
        new = replica_report(view, unit.reason, "", unit.link_lost_wall)
        known.replica_of = made_of
        known.replica = new if new != known.replica else known.replica
    assert known.replica is not None
    return known.replica


def _guest(known: Known, unit: Unit, view: View) -> GuestReport | None:
    made_of = (view.guest, view.domain, unit.reason)
    if known.guest_of != made_of:
        new = guest_report(view, unit.reason, "", unit.steps)
        known.guest_of = made_of
        known.guest = new if new != known.guest else known.guest
    return known.guest
