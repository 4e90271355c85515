"""An API that was restored: who knows better than it does acts on nothing that it says.

After a restore promise 1 is not given for a mirror whose authority went back. What is given: a host
whose own record knows a higher epoch does not swap, promote or start by the older one, until
somebody lawfully (or a person) has raised it. The same for an authority that needs a newer
protocol. Called by ``referee``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from sim.libvirt.guest import Run
from sim.referee.truth import Truth
from tandem_api.authority import PROTOCOL, Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import Role

UNDER_WAY_S = 15.0
"""So long what was decided before the restore may take to come to its end; a slow start longer."""


@dataclass
class Hold:
    """``went_back``: guest → when its mirror's authority was made older by a restore."""

    truth: Truth
    broken: Callable[[str], None]
    went_back: dict[str, float] = field(default_factory=dict)
    roles: dict[tuple[str, str], Role] = field(default_factory=dict)

    def restored(self, now_s: float, epochs: dict[str, int]) -> None:
        """``epochs``: of each uid, before. Those of what is there now take their place."""
        for guest in self.truth.guests:
            mirror = self.truth.mirror(guest)
            if mirror is None:
                continue
            authority, uid = mirror.status.authority, mirror.metadata.uid
            epoch = authority.epoch if authority else 0
            if epoch < epochs.get(uid, 0):
                self.went_back[guest] = now_s
                epochs[uid] = epoch
                self._note_roles(guest)

    def _note_roles(self, guest: str) -> None:
        for host in self.truth.hosts.values():
            replica = self.truth.replica(host, guest)
            self.roles[(host.name, guest)] = replica.role if replica else Role.SECONDARY

    def look(self, now_s: float, guest: str) -> None:
        """Whether somebody was promoted on the word of an API that it knows to be wrong."""
        since_s = self.went_back.get(guest)
        if since_s is None:
            return
        for host in self.truth.hosts.values():
            replica = self.truth.replica(host, guest)
            role = replica.role if replica else Role.SECONDARY
            before = self.roles.get((host.name, guest), role)
            if now_s - since_s < UNDER_WAY_S or role is before or role is not Role.PRIMARY:
                continue
            if not host.prompt:
                continue  # what was decided before may take longer
            if self._knows_better(host.name, guest):
                self.broken(f"{host.name} was promoted for {guest} by an authority of the past")
        self._note_roles(guest)

    def _knows_better(self, name: str, guest: str) -> bool:
        authority = self.truth.authority(guest)
        return authority is not None and self._knows_more_than(name, guest, authority)

    def _knows_more_than(self, name: str, guest: str, authority: Authority) -> bool:
        mirror, host = self.truth.mirror(guest), self.truth.hosts[name]
        record = host.record(mirror.drbd_name) if mirror else None
        if mirror is None or record is None or record.uid != mirror.metadata.uid:
            return False
        return record.max_epoch > authority.epoch

    def changed(self, guest: str, mirror: Mirror, before: Authority | None) -> None:
        """Whoever swapped must not have known a higher epoch, nor less than is needed."""
        after = mirror.status.authority
        if before is None or after is None:
            return
        writer = after.request_id.partition("/")[0]
        if before.min_protocol > PROTOCOL:
            self.broken(f"{mirror.key} needs protocol {before.min_protocol}; {writer} swapped it")
        if writer in self.truth.hosts and self._knows_more_than(writer, guest, before):
            self.broken(f"{writer} swapped {mirror.key} at epoch {before.epoch}, of the past")

    def started(self, run: Run) -> None:
        since_s = self.went_back.get(run.guest)
        if since_s is None:
            return
        if run.ordered_s - since_s < UNDER_WAY_S or not self.truth.hosts[run.host].prompt:
            return  # libvirt may take its time, and its machine may have stood still
        if self._knows_better(run.host, run.guest):
            self.broken(f"{run.guest} starts on {run.host} by an authority of the past")
