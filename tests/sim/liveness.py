"""Whether a guest that does not run could, in truth; and if not, whether somebody is told why.

Looked at when all that heals has healed and the time for it is over. A guest *must* run if some
host could run it by the rules, without breaking a promise and without a person: every program that
it needs there works, it is recorded as holding every write and does, and the other host has let go,
can let go, or is provably gone. If a host has every write and works, but the rules cannot know, a
person *may* be asked: the status must name the field to set. Else it must say that the guest does
not run. What a person has done as they were told must not be asked for again.

Written from the true state, not by the deciding code. Called by ``player.Seen`` and ``trial``.
"""

from dataclasses import dataclass
from enum import StrEnum

from sim import person
from sim.host import Host
from sim.lasting import is_heard
from sim.network import REPLICATION
from sim.truth import Truth
from sim.world import World
from tandem_api.kinds.guest import GuestStatus
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role

WRITES_WITHIN_S = 5.0
"""A guest that runs has had a write acknowledged within this time."""
SAYS_NOTHING = ("", "Running", "Starting", "TakingOver", "Moving", "Stopping")
"""Phases of a guest that somebody will wait for."""


class Kind(StrEnum):
    """What became of a guest."""

    RAN = "ran"
    NAMED = "named"
    """It does not run, and the status names what a person can set."""
    TOLD = "told"
    """No host could run it, and the status says that it does not run."""
    UNTOLD = "untold"
    """No host could run it, and nothing can be told without the API."""
    UNWANTED = "unwanted"
    """A person has ordered that it shall not run (``orders``)."""
    WRONG = "wrong"


SAID_BESIDES = ("It stands still: ", " has not answered since ", ", although its heartbeat arrives")
"""What is said besides, in whatever phase."""


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    words: str = ""

    @property
    def wrong(self) -> str:
        return self.words if self.kind is Kind.WRONG else ""


def verdict(world: World, name: str) -> Verdict:
    """``name``: the guest's, as a scenario has it."""
    if not wanted(world, name):
        return Verdict(Kind.UNWANTED)
    if runs(world, str(world.key(name))):
        return Verdict(Kind.RAN)
    return _idle(world, name, _Judge(world, str(world.key(name))))


def wanted(world: World, name: str) -> bool:
    """Whether people want it to run."""
    found = world.find_guest(name)
    return found is not None and not found.metadata.deletion_timestamp and found.spec.running


def _idle(world: World, name: str, judge: "_Judge") -> Verdict:
    """Of one that does not run."""
    status = world.guest(name).status
    told = f"{status.phase} {status.reason}: {status.message}"
    must = [host for host in judge.hosts if judge.must(host)]
    if must:
        return Verdict(Kind.WRONG, f"{name} could run on {' or '.join(must)}; it is {told}")
    if not world.api.up:
        return Verdict(Kind.UNTOLD)
    done = world.obeyed.get(name, [])
    if any(order in done for order in person.orders(world, name)):
        return Verdict(Kind.WRONG, f"{name} was obeyed ({', '.join(done)}) and is {told}")
    hidden = person.hidden_price(world, name)
    if hidden:
        return Verdict(Kind.WRONG, f"{name} does not say that {hidden} would end; it is {told}")
    if _says(status) and _asks(world, name):
        return Verdict(Kind.NAMED, told)
    return _told(world, name, judge, told)


def _says(status: GuestStatus) -> bool:
    """Whether it says that the guest does not get on. One that waits for its disk still runs."""
    stands = status.reason in (Reason.DISK_STALLED, Reason.DRBD_STALLED)
    besides = any(words in status.message for words in SAID_BESIDES)
    return stands or besides or str(status.phase) not in SAYS_NOTHING


def _asks(world: World, name: str) -> bool:
    """Whether its message names what a person can do."""
    by_field = "spec." in world.guest(name).status.message
    return by_field or bool(person.orders(world, name)) or person.at_a_price(world, name)


def _told(world: World, name: str, judge: "_Judge", told: str) -> Verdict:
    """Of one whose status names nothing that a person can do."""
    status = world.guest(name).status
    may = [host for host in judge.hosts if judge.has_all(host) and judge.works(host)]
    closed = "maintenance" in status.message and any(map(judge.closed, judge.hosts))
    paused = "is paused by" in status.message and judge.truth.paused(judge.guest)
    if may and (closed or paused):
        return Verdict(Kind.TOLD, told)  # a person has ordered what stands against it
    if may:
        return Verdict(Kind.WRONG, f"{name} needs a word for {' or '.join(may)}; it is {told}")
    if not _says(status) or not status.message:
        return Verdict(Kind.WRONG, f"{name} runs nowhere and no host could run it; it is {told}")
    return Verdict(Kind.TOLD, told)


def runs(world: World, guest: str) -> bool:
    """In one place, and its writes are acknowledged."""
    found = world.referee.executing(guest)
    answered_s = world.referee.histories[guest].answered_s
    last_s = answered_s[-1] if answered_s else float("-inf")
    return len(found) == 1 and world.kernel.now_s - last_s < WRITES_WITHIN_S


class _Judge:
    """Of one guest that does not run."""

    def __init__(self, world: World, guest: str) -> None:
        self.world, self.guest = world, guest
        self.truth: Truth = world.referee.truth
        self.hosts = [host.name for host in self.truth.holders(guest)]

    def works(self, name: str) -> bool:
        """Whether every part of a host is well that starting a guest needs."""
        host, machine = self.world.hosts[name], self.world.hosts[name].machine
        if machine is None or not machine.group.awake or self.world.actuator_of(name) is None:
            return False
        libvirt, hardware = machine.libvirt, machine.hardware
        armed = hardware.counting and hardware.holder is not None
        return (
            host.well
            and not libvirt.refuses_to_start
            and (armed or not host.watchdog_configured)
            and is_heard(self.world, name)
        )

    def closed(self, name: str) -> bool:
        """Whether people have put it into maintenance."""
        return self.truth.closed(name)

    def has_all(self, name: str) -> bool:
        """Whether its own disks hold every acknowledged write, and can be read."""
        host = self.world.hosts[name]
        acknowledged = self.world.referee.histories[self.guest].acknowledged
        return all(
            backing.has_metadata
            and backing.consistent
            and not (backing.broken or backing.hangs)
            and acknowledged.get(volume, set()) <= backing.data
            for volume, backing in self.truth.backings(host, self.guest).items()
        )

    def must(self, name: str) -> bool:
        """Whether the rules let it run there without a person."""
        host, authority = self.world.hosts[name], self.truth.authority(self.guest)
        if authority is None or not (self.works(name) and self.has_all(name)):
            return False
        if self.closed(name) or self.truth.paused(self.guest):
            return False
        if not self.truth.may_be_promoted(host, self.guest) or self.truth.held(host, self.guest):
            return False
        if authority.owner == name or (not authority.owner and self._arrived()):
            return True
        if not self.truth.promises_writes(self.guest):
            return False  # what the owner wrote last may not have got there
        owner = self.world.hosts[authority.owner]
        if owner.machine is not None and owner.machine.boot_id not in authority.owner_instance:
            return is_heard(self.world, owner.name)  # its heartbeat tells of another boot
        return self._lets_go(owner, host)

    def _arrived(self) -> bool:
        """Whether what the last owner wrote is known to have got there: only by protocol C."""
        return self.truth.promises_writes(self.guest)

    def _waits_for_its_disk(self, owner: Host) -> bool:
        """Its QEMU cannot be ended, or its device not be made Secondary: that is written, too."""
        replica = self.truth.replica(owner, self.guest)
        if replica is None:
            return False
        return replica.keeps_its_qemu or (replica.hangs and replica.role is Role.PRIMARY)

    def _lets_go(self, owner: Host, taker: Host) -> bool:
        """Whether the owner can be asked to, or is provably gone."""
        if owner.machine is not None and is_heard(self.world, owner.name):
            return owner.machine.libvirt.well and not self._waits_for_its_disk(owner)
        link = self.world.network.up(REPLICATION, owner.name, taker.name)
        if owner.machine is not None and link:
            return False  # it lives on the link
        late = f"late@{owner.name}" in self.world.broken_for_good
        if late and self.world.api.reachable(owner.name):
            return False  # its heartbeats arrive
        beat = self.world.api.server.leases.get(owner.name)
        return beat is not None and beat.watchdog_armed
