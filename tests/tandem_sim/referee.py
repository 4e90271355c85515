"""Judges every step: what Tandem promises, checked where it would be broken.

* No acknowledged write is missing where a guest runs.
* A guest runs in at most one place. A machine that was paused may wake up beside its successor;
  it must cut the guest's network within ``silence_s`` and stop it within ``residue_s``.
* A mirror is taken from a host, or released by it, only once its guest has stopped there.
* Never two writers: once another run has had a write acknowledged, an earlier one has none.
* Epochs rise by one.

A person's override may give up writes; those are written off by name. Called by guests and by the
API server; ``problems`` is read by whoever runs a scenario.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tandem_actuator.core.model import Disk
from tandem_api.authority import Authority
from tandem_api.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_sim.events import Log
from tandem_sim.guest import Run
from tandem_sim.kernel import Kernel

STEP_S = 1.0


@dataclass
class History:
    """What one guest went through."""

    runs: list[tuple[float, str, Run]] = field(default_factory=list)
    ends: list[tuple[float, str, str]] = field(default_factory=list)
    alive: list[Run] = field(default_factory=list)
    acknowledged: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    answered_s: list[float] = field(default_factory=list)
    writer: int = 0
    late: list[Run] = field(default_factory=list)
    loud: list[Run] = field(default_factory=list)


class Referee:
    """Collects the histories of all guests, and every broken promise."""

    def __init__(self, kernel: Kernel, log: Log, silence_s: float, residue_s: float) -> None:
        self.kernel, self.log = kernel, log
        self.silence_s, self.residue_s = silence_s, residue_s
        self.histories: dict[str, History] = defaultdict(History)
        self.problems: list[str] = []
        self.mirrors: dict[str, str] = {}
        self.takeovers = 0

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
        for guest, history in self.histories.items():
            newest = history.runs[-1][2] if history.runs else None
            for run in self.executing(guest):
                if run is newest:
                    self.check_data(run)
                    continue
                if run.heard and run not in history.loud and self._awake_s(run) > self.silence_s:
                    history.loud.append(run)
                    self._broken(f"{guest} is still heard at {run.host} beside its successor")
                if run not in history.late and self._awake_s(run) > self.residue_s:
                    history.late.append(run)
                    self._broken(f"{guest} goes on at {run.host} after it was started elsewhere")

    def _awake_s(self, run: Run) -> float:
        return self.kernel.now_s - run.group.last_resumed_s

    # -- told by guests

    def started(self, run: Run) -> None:
        history = self.histories[run.guest]
        # One that has only just woken up has its time to stop; ``look`` counts that time.
        awake = (r for r in self.executing(run.guest) if self._awake_s(r) > self.residue_s)
        elsewhere = [other.host for other in awake]
        if elsewhere:
            self._broken(f"{run.guest} starts on {run.host} while it runs on {elsewhere}")
        history.runs.append((self.kernel.now_s, run.host, run))
        history.alive.append(run)
        self.log.say(run.host, f"{run.guest} starts (run {len(history.runs)})")
        self.check_data(run)

    def ended(self, run: Run, why: str) -> None:
        history = self.histories[run.guest]
        history.ends.append((self.kernel.now_s, run.host, why))
        if run in history.alive:
            history.alive.remove(run)
        self.log.say(run.host, f"{run.guest} ends: {why}")

    def acknowledged(self, run: Run, volume: str, number: int) -> None:
        history = self.histories[run.guest]
        if run.number < history.writer:
            self._broken(f"{run.host} acknowledged a write of an earlier run of {run.guest}")
        history.writer = max(history.writer, run.number)
        history.acknowledged[volume].add(number)
        history.answered_s.append(self.kernel.now_s)

    def check_data(self, run: Run) -> None:
        """Everything acknowledged must be there to be read."""
        history = self.histories[run.guest]
        for volume, acknowledged in history.acknowledged.items():
            readable = self._readable(run, volume)
            if readable is not None and not acknowledged <= readable:
                missing = acknowledged - readable
                self._broken(f"{run.guest} on {run.host}: {volume} lacks {len(missing)} writes")
                acknowledged.difference_update(missing)

    def _readable(self, run: Run, volume: str) -> set[int] | None:
        """The local copy; without one the peer's, over the link; None if reading fails."""
        replica = run.replica
        if replica.volumes[volume].disk is not Disk.DISKLESS:
            return replica.holds(volume)
        peer = replica.wire.peer_now(replica)
        if peer is None or peer.volumes[volume].disk is not Disk.UP_TO_DATE:
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
        if before is not None and after.epoch != before.epoch + 1:
            self._broken(f"{mirror.key} went from epoch {before.epoch} to {after.epoch}")
        if before is not None and before.owner not in ("", after.owner):
            self.takeovers += bool(after.owner)
            self._check_given_up(mirror, before.owner)
        if after.reason is Reason.OVERRIDDEN:
            self._write_off(mirror)

    def _check_given_up(self, mirror: Mirror, host: str) -> None:
        """Who loses a mirror has stopped its guest before, also where nobody starts it yet."""
        guest = self.mirrors.get(mirror.drbd_name)
        for run in self.executing(guest) if guest is not None else ():
            if run.host == host and self._awake_s(run) > self.residue_s:
                self._broken(f"{mirror.key} is taken from {host}, which runs {guest}")

    def _write_off(self, mirror: Mirror) -> None:
        """A person has given up what only the other side has."""
        guest = self.mirrors.get(mirror.drbd_name)
        if guest is not None:
            self.histories[guest].acknowledged.clear()
            self.histories[guest].writer = 0
