"""Judges every step: what Tandem promises, checked where it would be broken.

* No acknowledged write is missing where a guest runs.
* A guest runs in at most one place. A machine that was paused may wake up beside its successor;
  it must cut the guest's network within ``silence_s`` and stop it within ``residue_s``.
* A mirror is taken from a host, or released by it, only once its guest has stopped there.
* Never two writers: once another run has had a write acknowledged, an earlier one has none.
* Where acknowledged writes are and who is the owner: ``custody``.
* The management plane alone stops no healthy guest: ``calm``.
* What people are told is paused is neither started nor asked to stop.
* What a person starts past Tandem, where its mirror is not owned, is stopped within ``residue_s``.
* Nobody acts on an authority that it knows to be of the past: ``hold``.

A person's override may give up writes; those are written off by name. A restore of the API gives up
promises 1 and 2 for the mirrors whose authority went back. Called by guests and by the API server;
``problems`` is read by whoever runs a scenario.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from sim.drbd.state import attached
from sim.engine.events import Log
from sim.engine.kernel import Kernel
from sim.host.host import Host
from sim.libvirt.guest import MIGRATED, Run
from sim.referee.calm import Calm
from sim.referee.custody import Custody, overridden
from sim.referee.hold import Hold
from sim.referee.truth import Truth
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState

CALM_AFTER_S = 3.0
"""Beyond the residue: what an earlier fault began has come to its end by then."""


class Counted(StrEnum):
    """What says how hard a seed is on those who are judged."""

    TAKEOVERS = "takeovers"
    MOVES = "moves"
    """A mirror that its owner had released was claimed by the other host."""
    SENT = "sent as they ran"
    """A guest went on at the other host with its memory."""
    RESETS = "resets"
    SWITCHED_OFF = "switched off"
    REFUSED = "refused starts"
    LATE = "late grants"
    """Leave to write alone, to an instance that died before its DRBD heard of it."""


@dataclass
class History:
    """What one guest went through. ``owner``: of its mirror, the last that it had."""

    owner: str = ""

    runs: list[tuple[float, str, Run]] = field(default_factory=list)
    ends: list[tuple[float, str, str]] = field(default_factory=list)
    alive: list[Run] = field(default_factory=list)
    acknowledged: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    answered_s: list[float] = field(default_factory=list)
    answered_until: dict[Run, int] = field(default_factory=dict)
    writer: int = 0
    woken: list[Run] = field(default_factory=list)
    late: list[Run] = field(default_factory=list)
    loud: list[Run] = field(default_factory=list)
    overridden: list[Run] = field(default_factory=list)


class Referee:
    """Collects the histories of all guests, and every broken promise."""

    def __init__(self, kernel: Kernel, log: Log, silence_s: float, residue_s: float) -> None:
        self.kernel, self.log = kernel, log
        self.silence_s, self.residue_s = silence_s, residue_s
        self.histories: dict[str, History] = defaultdict(History)
        self.problems: list[str] = []
        self.mirrors: dict[str, str] = {}
        self.counted: Counter[str] = Counter()

    def see(self, truth: Truth) -> None:
        """Where the true state of everything is to be seen."""
        self.truth = truth
        self.custody = Custody(truth, self._broken, self._lives)
        self.calm = Calm(truth, self._broken, self.residue_s + CALM_AFTER_S)
        self.hold = Hold(truth, self._broken)
        truth.server.on_authority.append(self.authority_changed)
        truth.server.restored.append(self.restored)
        truth.server.review.broken.append(self._broken)

    def knows(self, guest: str, mirror: Mirror) -> None:
        """There is this guest, on this mirror."""
        self.mirrors[mirror.drbd_name] = guest
        self.truth.guests[guest] = mirror.key

    def count(self, what: Counted) -> None:
        self.counted[what] += 1

    def _broken(self, what: str) -> None:
        problem = f"at {self.kernel.now_s - self.log.origin_s:.2f} s: {what}"
        self.problems.append(problem)
        self.log.say("referee", f"BROKEN: {what}")

    def executing(self, guest: str) -> list[Run]:
        """Runs whose processors run now: not those of a machine that is paused."""
        runs = self.histories[guest].alive
        return [run for run in runs if run.group.holder is None]

    def look(self) -> None:
        """Called often: what the newest run reads, and whether older ones have ended.

        An older one executes only because its machine stood still when it was replaced. What it
        reads is old by nature; how long it may go on after waking up is what counts.
        """
        executing: list[Run] = []
        for guest, history in self.histories.items():
            newest = history.runs[-1][2] if history.runs else None
            runs = self.executing(guest)
            executing += runs
            self.hold.look(self.kernel.now_s, guest)
            if self._void(guest):
                continue
            self.custody.look(guest)
            for run in [run for run in history.woken if self._lives(run)]:
                history.woken.remove(run)
                self.custody.started(run, history.alive)
            for run in runs:
                self._stopped_soon(run)
                if run is newest:
                    self.check_data(run)
                    if history.answered_s:
                        self.calm.wrote(self.kernel.now_s, run, history.answered_s[-1])
                    continue
                if run.heard and run not in history.loud and self._is_loud(run):
                    history.loud.append(run)
                    self._broken(f"{guest} is still heard at {run.host} beside its successor")
                if run not in history.late and self._awake_s(run) > self.residue_s:
                    history.late.append(run)
                    self._broken(f"{guest} goes on at {run.host} after it was started elsewhere")
        self.calm.look(self.kernel.now_s, executing)

    def _stopped_soon(self, run: Run) -> None:
        """What a person has started here, past Tandem."""
        authority = self.truth.authority(run.guest)
        if not run.by_hand or run in self.histories[run.guest].late or authority is None:
            return
        went_on_s = self.kernel.now_s - max(run.ordered_s, run.group.last_resumed_s)
        if authority.owner != run.host and went_on_s > self.residue_s:
            self.histories[run.guest].late.append(run)
            self._broken(f"{run.guest} goes on at {run.host}, where a person has started it")

    def _void(self, guest: str) -> bool:
        """Whether a restore of the API gave up what is promised for this one."""
        return guest in self.hold.went_back

    def _lives(self, run: Run) -> bool:
        """It executes, and its machine has not only just woken up."""
        return run.group.holder is None and self._awake_s(run) > self.residue_s

    def _is_loud(self, run: Run) -> bool:
        """Programs that are starved may be late; the watchdog is not: ``residue_s`` stays."""
        return self._awake_s(run) > self.silence_s and self.truth.hosts[run.host].prompt

    def _awake_s(self, run: Run) -> float:
        return self.kernel.now_s - run.group.last_resumed_s

    # -- told by guests

    def started(self, run: Run) -> None:
        history = self.histories[run.guest]
        self.hold.started(run)
        self._leaves(run, "starts")
        if run.memory_of is not None:
            self.count(Counted.SENT)
            self._goes_on(run, run.memory_of)
        if run.stood_still:
            history.woken.append(run)
        elif not self._void(run.guest):
            # One that has only just woken up has its time to stop; ``look`` counts that time.
            elsewhere = [other.host for other in history.alive if self._lives(other)]
            if elsewhere:
                self._broken(f"{run.guest} starts on {run.host} while it runs on {elsewhere}")
            self.custody.started(run, history.alive)
        history.runs.append((self.kernel.now_s, run.host, run))
        # One whose machine stood still in the middle of the start is older than its successor.
        history.runs.sort(key=lambda entry: entry[2].number)
        history.alive.append(run)
        self.log.say(run.host, f"{run.guest} starts (run {len(history.runs)})")
        if run is history.runs[-1][2] and not self._void(run.guest):
            self.check_data(run)

    def stands_still(self, run: Run) -> None:
        """Its memory is being sent, as it is now."""
        self.log.say(run.host, f"{run.guest} stands still: its memory goes elsewhere")
        self.histories[run.guest].answered_until[run] = len(self.histories[run.guest].answered_s)

    def _goes_on(self, run: Run, source: Run) -> None:
        """With the memory of another: nothing may have been acknowledged since it was taken."""
        history = self.histories[run.guest]
        then = history.answered_until.get(source)
        if then is None or then != len(history.answered_s):
            self._broken(f"{run.guest} goes on at {run.host} with memory older than its disk")

    def asked_to_stop(self, run: Run) -> None:
        self._leaves(run, "is asked to stop")

    def _leaves(self, run: Run, what: str) -> None:
        if not run.by_hand and self.truth.promised_to_leave(run.guest):
            self._broken(f"{run.guest} {what} on {run.host} and is said to be paused")

    def ended(self, run: Run, why: str) -> None:
        history = self.histories[run.guest]
        if run in history.woken:
            history.woken.remove(run)
        history.ends.append((self.kernel.now_s, run.host, why))
        if run in history.alive:
            history.alive.remove(run)
        self.log.say(run.host, f"{run.guest} ends: {why}")
        if why != MIGRATED:
            self.calm.ended(self.kernel.now_s, run, why)

    def acknowledged(self, run: Run, volume: str, number: int) -> None:
        history = self.histories[run.guest]
        history.answered_s.append(self.kernel.now_s)
        if self._void(run.guest) or run in history.overridden:
            return
        self.custody.acknowledged(run, volume, number)
        if run.number < history.writer and not self._is_everywhere(run, volume, number):
            self._broken(f"{run.host} acknowledged a write of an earlier run of {run.guest}")
        history.writer = max(history.writer, run.number)
        history.acknowledged[volume].add(number)

    def _is_everywhere(self, run: Run, volume: str, number: int) -> bool:
        """Also where the later run is: it had arrived, and this host's own disk answers late."""
        holders = self.truth.holders(run.guest)
        return all(number in self.truth.backings(h, run.guest)[volume].data for h in holders)

    def check_data(self, run: Run) -> None:
        """Everything acknowledged must be there to be read."""
        history = self.histories[run.guest]
        for volume, acknowledged in history.acknowledged.items():
            readable = self._readable(run, volume)
            if readable is None:
                continue
            acknowledged.difference_update(self._excused(run, volume) - readable)
            if not acknowledged <= readable:
                missing = acknowledged - readable
                self._broken(f"{run.guest} on {run.host}: {volume} lacks {len(missing)} writes")
                acknowledged.difference_update(missing)

    def _excused(self, run: Run, volume: str) -> set[int]:
        """What nobody could have kept: a disk has lost it, and the other one it, or has failed."""
        replica = run.replica
        if attached(replica.volumes[volume].disk):
            return self.custody.excuses(run.host, run.guest, volume)
        peer = self.truth.peer_of(run.host, run.guest)
        return self.custody.died_with_the_other_disk(peer.name, run.guest, volume)

    def _readable(self, run: Run, volume: str) -> set[int] | None:
        """The local copy; without one the peer's, over the link; None if reading fails."""
        replica = run.replica
        if attached(replica.volumes[volume].disk):
            return replica.holds(volume)
        peer = replica.wire.peer_now(replica)
        if peer is None or peer.volumes[volume].disk is not DiskState.UP_TO_DATE:
            return None
        return peer.holds(volume)

    # -- told by the API server

    def authority_changed(self, mirror: Mirror, before: Authority | None) -> None:
        after = mirror.status.authority
        if after is None:
            self._broken(f"the authority of {mirror.key} is gone")
            return
        owner = after.owner or "nobody"
        self.log.say(
            "api", f"{mirror.key}: epoch {after.epoch} {after.mode} owner {owner} ({after.reason})"
        )
        guest = self.mirrors[mirror.drbd_name]
        if before is not None and after.owner:
            self._count_change(self.histories[guest], before, after)
        self.hold.changed(guest, mirror, before)
        alive = self.histories[guest].alive
        self.custody.changed(guest, mirror, before, () if self._void(guest) else alive)
        if overridden(before, after):
            self._write_off(guest)
            # One of them may wake up, and write alone until it notices: that is given up as well.
            self.histories[guest].overridden.extend(alive)

    def _count_change(self, history: History, before: Authority, after: Authority) -> None:
        if before.owner and after.owner != before.owner:
            self.count(Counted.TAKEOVERS)
        elif not before.owner and history.owner not in ("", after.owner):
            self.count(Counted.MOVES)
        history.owner = after.owner
        machine = self.truth.hosts[after.owner].machine
        here = machine is not None and machine.boot_id in after.owner_instance
        if after.reason is Reason.LINK_LOST and not here:
            self.count(Counted.LATE)

    def switched_off(self, host: Host) -> None:
        """Its fence agent is about to do it: nothing may be running there that anybody hears."""
        self.count(Counted.SWITCHED_OFF)
        for guest in self.histories:
            for run in self.executing(guest):
                if run.host == host.name and run.heard and self.truth.programs_well(host.name):
                    self._broken(f"{host.name} is switched off while {guest} is heard there")

    def powers_off(self, host: Host) -> None:
        """Its machine is about to end."""
        for guest in self.histories:
            authority, replica = self.truth.authority(guest), self.truth.replica(host, guest)
            if authority is None or replica is None or not replica.suspended:
                continue
            mine = host.machine is not None and host.machine.boot_id in authority.owner_instance
            if mine and authority.reason is Reason.LINK_LOST:
                self.count(Counted.LATE)

    def _write_off(self, guest: str) -> None:
        """A person has given up what only the other side has."""
        self.histories[guest].acknowledged.clear()
        self.histories[guest].writer = 0
        self.custody.write_off(guest)

    def restored(self) -> None:
        """The API went back to a backup."""
        self.hold.restored(self.kernel.now_s, self.custody.epochs)
        for guest in self.hold.went_back:
            self._write_off(guest)

    # -- told by whoever plays a scenario

    def done(self, verb: str, arguments: tuple[str, ...]) -> None:
        """Something was done to the world."""
        self.calm.done(self.kernel.now_s, verb, arguments)
