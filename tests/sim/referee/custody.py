"""Where acknowledged writes are, and whose word counts: rule 1 and what a takeover rests on.

* A write that a replica lacks is acknowledged only while the other host is Standalone, or while
  that replica is locally and durably unpromotable; and never may such a replica be promoted later.
* A guest starts where its mirror is owned; or goes on where the owner has sent it and let go of it.
* Authority leaves a host only when its guest has ended in truth, or its machine stands still; and
  its device must not be able to acknowledge a write that the new owner lacks.
* Who writes alone has the other host made ineligible. Epochs rise by one, for every uid.

All from the true state of the world. Called by ``referee``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sim.libvirt.guest import Run
from sim.referee.truth import Truth, writes_alone
from tandem_api.authority import Authority, Mode
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import Role

Missing = dict[tuple[str, str], set[int]]
"""(host, volume) → acknowledged writes that its replica had not when they were acknowledged."""


def overridden(before: Authority | None, after: Authority) -> bool:
    """Whether a person's override was just carried out."""
    known = before.override if before else None
    return after.override is not None and after.override != known


@dataclass
class Custody:
    """``lives(run)``: it executes, and not only because its machine has just woken up."""

    truth: Truth
    broken: Callable[[str], None]
    lives: Callable[[Run], bool]
    missing: dict[str, Missing] = field(default_factory=lambda: defaultdict(dict))
    rotten: dict[str, Missing] = field(default_factory=lambda: defaultdict(dict))
    noted: dict[str, Missing] = field(default_factory=lambda: defaultdict(dict))
    epochs: dict[str, int] = field(default_factory=dict)

    # -- acknowledged writes

    def acknowledged(self, run: Run, volume: str, number: int) -> None:
        """Rule 1 at the moment at which it is kept or broken."""
        if not self.truth.promises_writes(run.guest):
            return
        for host in self.truth.holders(run.guest):
            if number in self.truth.backings(host, run.guest)[volume].data:
                continue
            missing = self.missing[run.guest].setdefault((host.name, volume), set())
            missing.add(number)
            if not self._alone_against(host.name, run.guest) and not self.truth.out(
                host, run.guest
            ):
                missing.discard(number)
                self.broken(
                    f"{run.host} acknowledged a write of {run.guest} that {host.name} lacks,"
                    " which nothing keeps from being promoted"
                )

    def _alone_against(self, host: str, guest: str) -> bool:
        authority = self.truth.authority(guest)
        if authority is None or authority.mode is not Mode.STANDALONE:
            return False
        return authority.owner not in ("", host)

    def rots(self, host: str, guest: str, volume: str, numbers: set[int]) -> None:
        """A disk has lost them. No protocol can help before its host has noted that."""
        self.rotten[guest].setdefault((host, volume), set()).update(numbers)

    def excuses(self, host: str, guest: str, volume: str) -> set[int]:
        """What a disk has lost and nobody could know."""
        return self.rotten[guest].get((host, volume), set())

    def died_with_the_other_disk(self, host: str, guest: str, volume: str) -> set[int]:
        """What this disk has lost, when it is the only one that is left: nobody has it any more,
        whether that was noted or not. It is missed no longer.
        """
        place = (host, volume)
        gone = self.rotten[guest].pop(place, set()) | self.noted[guest].pop(place, set())
        self.missing[guest].get(place, set()).difference_update(gone)
        return gone

    def _note_rot(self, guest: str) -> None:
        for (name, volume), lost in self.noted[guest].items():
            lost.difference_update(self.truth.backings(self.truth.hosts[name], guest)[volume].data)
        for (name, volume), lost in self.rotten[guest].items():
            host = self.truth.hosts[name]
            lost.difference_update(self.truth.backings(host, guest)[volume].data)
            if lost and self.truth.knows_of_a_difference(host, guest):
                for known in (self.missing[guest], self.noted[guest]):
                    known.setdefault((name, volume), set()).update(lost)
                lost.clear()

    def look(self, guest: str) -> None:
        """What lacks an acknowledged write must never become promotable."""
        self._note_rot(guest)
        for (name, volume), missing in self.missing[guest].items():
            host = self.truth.hosts[name]
            if not missing or not self.truth.may_be_promoted(host, guest):
                continue
            missing.difference_update(self.truth.backings(host, guest)[volume].data)
            if missing:
                self.broken(
                    f"{name} may be promoted but lacks {len(missing)} acknowledged writes of"
                    f" {guest} ({volume})"
                )
                missing.clear()

    def write_off(self, guest: str) -> None:
        """A person gave up what only one side has; or nothing is promised any more."""
        self.missing[guest].clear()
        self.rotten[guest].clear()
        self.noted[guest].clear()

    # -- authority

    def changed(
        self, guest: str, mirror: Mirror, before: Authority | None, runs: Iterable[Run]
    ) -> None:
        """``runs``: those of the guest that have not ended, also on machines that stand still."""
        after = mirror.status.authority
        assert after is not None
        uid = mirror.metadata.uid
        known = before.epoch if before else self.epochs.get(uid)
        if known is not None and after.epoch != known + 1:
            self.broken(f"{mirror.key} went from epoch {known} to {after.epoch}")
        self.epochs[uid] = after.epoch
        alone = after.mode is Mode.STANDALONE and after.owner
        if alone and any(after.may_own(host) for host in self.truth.hosts if host != after.owner):
            self.broken(f"{after.owner} may write {mirror.key} alone while the other is eligible")
        if before is not None and before.owner and before.owner != after.owner:
            self._left(guest, before, after, runs)

    def _left(self, guest: str, before: Authority, after: Authority, runs: Iterable[Run]) -> None:
        if self.truth.said_to_be_off(before.owner_instance):
            return
        for run in runs:
            if run.host != before.owner:
                continue
            if self.lives(run):
                self.broken(
                    f"{guest}: authority went from {before.owner} to {after.owner or 'nobody'}"
                    " while the guest runs there"
                )
            elif after.override is None and writes_alone(run.replica):
                self.broken(
                    f"{guest}: authority went from {before.owner} to {after.owner or 'nobody'}"
                    " while that device may write alone"
                )

    def started(self, run: Run, runs: Iterable[Run]) -> None:
        """Rule 14, in truth. ``runs``: as for ``changed``."""
        authority = self.truth.authority(run.guest)
        host = self.truth.hosts[run.host]
        if authority is None or self.truth.held(host, run.guest):
            return
        allowed = run.by_hand or self._was_sent(run, authority)
        if authority.owner != run.host and not allowed:
            owner = authority.owner or "nobody"
            self.broken(f"{run.guest} starts on {run.host}, which {owner} owns")
        for other in runs:
            elsewhere = other.host != run.host and authority.override is None
            if elsewhere and writes_alone(other.replica):
                self.broken(
                    f"{run.guest} starts on {run.host} while {other.host} may write it alone"
                )

    def _was_sent(self, run: Run, authority: Authority) -> bool:
        """All of it was sent here, and the owner, which says so, has let go of its device."""
        migration, before = authority.migration, run.memory_of
        if (
            migration is None
            or before is None
            or before.executing
            or before.host != authority.owner
        ):
            return False
        return migration.target == run.host and before.replica.role is not Role.PRIMARY
