"""What the controller's decisions are made from, and what they come to: values only.

``Snapshot`` is what is known at one moment; ``World`` is the same, indexed and with each host's
heartbeat judged. ``Plan`` is what shall be written: a closed set of writes, in order of urgency.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from tandem_api.authority import Authority
from tandem_api.check.catalogue import Catalogue
from tandem_api.check.validation import added_volumes
from tandem_api.kinds.guest import Assignment, FencingProof, Guest, MoveReference
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Claimant, DeviceNumbers, Mirror, ReplicaReport
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.lease import Heartbeat
from tandem_api.meta import Condition, ObjectKey, Problem, Resource
from tandem_api.reasons import Reason
from tandem_base.bugs import Bug
from tandem_controller.decide.world.clocks import NEVER_MEASURED, ClockView
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.moments import First


class Freshness(StrEnum):
    """What a host's heartbeat says.

    FRESH    it was renewed while this controller watched, within the self-fence deadline.
    LATE     not renewed within the self-fence deadline; its host may be stopping its guests.
    LOST     unchanged for at least the lease's duration.
    NEVER    no heartbeat was ever seen.
    UNKNOWN  this controller has not watched for long enough to say.
    """

    FRESH = "Fresh"
    LATE = "Late"
    LOST = "Lost"
    NEVER = "Never"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Unreadable:
    """An object that is there and does not parse: only what names it, and why.

    ``ports``, ``minors``: what a mirror has of DRBD's numbers, as far as that can be read. Its
    devices may be up on hosts, so nobody else is given them. ``numbers_known``: whether that is all
    of them. ``bug``: why, if it is no mistake of whoever wrote the object. ``deleting``: asked for.
    """

    kind: str
    key: ObjectKey
    uid: str
    generation: int
    problems: tuple[Problem, ...]
    conditions: tuple[Condition, ...] = ()
    ports: frozenset[int] = frozenset()
    minors: frozenset[int] = frozenset()
    numbers_known: bool = True
    bug: Bug | None = None
    deleting: bool = False


@dataclass(frozen=True)
class Snapshot:
    """All that is known at ``now_s`` (monotonic); ``wall`` is the same moment for people.

    ``link_down_since_s``: for mirrors with an order to override, since when this controller has
    seen a host report without interruption that it is not connected. ``unknown_fields``: what
    users wrote and no type knows, by kind and key. ``suspicions``: of mirrors whose authority came
    about as no rule allows, what happened. ``moments``: see there. ``agents``: what is wrong with
    the fence agents that were tried, by host. ``bugs``: found before the plan.
    """

    now_s: float
    wall: str
    leases: LeaseTracker
    tandems: tuple[Tandem, ...] = ()
    sites: tuple[Site, ...] = ()
    hosts: tuple[Host, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    guests: tuple[Guest, ...] = ()
    guestmoves: tuple[GuestMove, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    unknown_fields: Mapping[tuple[str, ObjectKey], tuple[Problem, ...]] = field(
        default_factory=dict
    )
    link_down_since_s: Mapping[tuple[ObjectKey, str], float] = field(default_factory=dict)
    suspicions: Mapping[ObjectKey, str] = field(default_factory=dict)
    moments: Mapping[str, First] = field(default_factory=dict)
    agents: Mapping[str, "Refusal | None"] = field(default_factory=dict)
    bugs: tuple[Bug, ...] = ()


@dataclass(frozen=True)
class HostView:
    """A host and what its heartbeat says.

    ``silent_s``: how long it is known to be silent. ``run_s``: how long its actuator's run is.
    """

    host: Host
    site: Site | None
    freshness: Freshness
    silent_s: float | None = None
    last_seen: str = ""
    heartbeat: Heartbeat | None = None
    run_s: float = float("inf")
    problems: tuple[Problem, ...] = ()
    clock: ClockView = NEVER_MEASURED

    @property
    def name(self) -> str:
        return self.host.metadata.name

    @property
    def site_name(self) -> str:
        return self.host.spec.site

    @property
    def fresh(self) -> bool:
        return self.freshness is Freshness.FRESH

    @property
    def maintenance(self) -> str:
        """What is in maintenance, in words: the host or its site; empty if neither is."""
        if self.host.spec.maintenance:
            return f"host {self.name}"
        drained = self.site is not None and self.site.spec.maintenance
        return f"site {self.site_name}" if drained else ""


@dataclass(frozen=True)
class Load:
    """What is assigned to a host: how many guests, and how much memory was promised them."""

    guests: int = 0
    memory_bytes: int = 0

    def plus(self, memory_bytes: int) -> "Load":
        return Load(self.guests + 1, self.memory_bytes + memory_bytes)


@dataclass(frozen=True)
class World:
    """A snapshot, indexed. ``problems`` holds what is wrong, for the objects with any.

    ``loads`` and ``moving`` (how many planned moves are under way) include what was decided earlier
    in the same plan. ``accepted`` has the guests of which an edit does not pass, as they were
    before it, with what is wrong with that by now. ``moves``: the GuestMoves that have not ended,
    by guest, the oldest first. ``users``: the guests of which a host does not say that they are not
    there, by host. ``kept``: the reports that a judgement has asked for, by a mirror's identity.
    """

    snapshot: Snapshot
    catalogue: Catalogue
    hosts: Mapping[str, HostView]
    problems: Mapping[tuple[str, ObjectKey], tuple[Problem, ...]]
    loads: Mapping[str, Load]
    accepted: Mapping[ObjectKey, tuple[Guest, tuple[Problem, ...]]] = field(default_factory=dict)
    moves: Mapping[ObjectKey, tuple[GuestMove, ...]] = field(default_factory=dict)
    users: Mapping[str, tuple[Guest, ...]] = field(default_factory=dict)
    moving: int = 0
    kept: dict[int, dict[str, ReplicaReport]] | None = field(default=None, compare=False)

    @property
    def wall(self) -> str:
        return self.snapshot.wall

    @property
    def sites(self) -> Mapping[str, Site]:
        return self.catalogue.sites

    def load(self, host: str) -> Load:
        return self.loads.get(host, Load())

    def moves_of(self, guest: Guest) -> tuple[GuestMove, ...]:
        return self.moves.get(guest.key, ())

    def problems_of(self, obj: Resource) -> tuple[Problem, ...]:
        return self.problems.get((type(obj).__name__, obj.key), ())

    def in_force(self, guest: Guest) -> Guest:
        """The guest as it is run: without an edit that does not pass."""
        return self.accepted[guest.key][0] if guest.key in self.accepted else guest

    def faults_of(self, guest: Guest) -> tuple[Problem, ...]:
        """What is wrong with it as it is run."""
        if guest.key in self.accepted:
            return self.accepted[guest.key][1]
        return self.problems_of(guest)

    def obstacles_of(self, mirror: Mirror) -> tuple[Problem, ...]:
        """What is wrong and keeps its guest from being started: it runs without added volumes."""
        added = added_volumes(mirror)
        return tuple(each for each in self.problems_of(mirror) if each not in added)

    @cached_property
    def nobody_fresh(self) -> bool:
        """Every host of every site is stale: rather this controller than all of them."""
        return not any(view.fresh for view in self.hosts.values())


@dataclass(frozen=True)
class Case:
    """One guest with its mirror, both set up: what decisions about a guest look at."""

    guest: Guest
    mirror: Mirror
    authority: Authority
    world: World

    @property
    def replicas(self) -> tuple[str, ...]:
        return tuple(replica.host for replica in self.mirror.spec.replicas)

    def view(self, host: str) -> HostView | None:
        return self.world.hosts.get(host)

    def report(self, host: str) -> ReplicaReport | None:
        return self.mirror.status.replicas.get(host)

    @property
    def assigned(self) -> str:
        assignment = self.guest.status.assignment
        return assignment.host if assignment else ""


def case_of(guest: Guest, world: World) -> Case | None:
    """The guest with its mirror, if that has been set up."""
    mirror = mirror_of(guest, world)
    if mirror is None or mirror.status.authority is None:
        return None
    return Case(guest, mirror, mirror.status.authority, world)


def mirror_of(guest: Guest, world: World) -> Mirror | None:
    return world.catalogue.mirrors.get(guest.mirror_key)


@dataclass(frozen=True)
class Refusal:
    """Not now, and why, in a sentence for people."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Assign:
    """The guest shall be on this host, nowhere if empty; the rest is as in ``Assignment``."""

    host: str
    reason: Reason
    message: str
    proof: FencingProof | None = None
    move: MoveReference | None = None
    live: bool = False
    turn_seconds: int = 0
    undisturbed: bool = False


@dataclass(frozen=True)
class Keep:
    """It is as it should be, or on its way there."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Blocked:
    """Something should be done and may not be. ``takeover``: it is the guest's takeover.

    ``may_run``: nobody can be asked whether the guest runs.
    """

    reason: Reason
    message: str
    takeover: bool = False
    may_run: bool = False


Decision = Assign | Keep | Blocked


# -- what shall be written


@dataclass(frozen=True)
class Notice:
    """An event to tell people."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True)
class WriteClaimant:
    """Let a host claim the mirror; only if it is still as it was judged.

    With a proof about the present epoch, at that epoch; else in this version: a controller that was
    paused must not take back what the next one proved.
    """

    mirror: Mirror
    host: str
    claimant: Claimant


@dataclass(frozen=True)
class WriteAssignment:
    """The guest's new status, with a new assignment; only if the guest is still this version.

    ``claimant`` is written first, if the mirror lacks it: the host could not claim without.
    """

    guest: Guest
    assignment: Assignment
    patch: Mapping[str, object]
    notices: tuple[Notice, ...] = ()
    claimant: WriteClaimant | None = None


@dataclass(frozen=True)
class WriteFinalizers:
    """Only if the guest is still this version."""

    guest: Guest
    finalizers: tuple[str, ...]


@dataclass(frozen=True)
class DeleteMove:
    """It has ended long ago; only if it is still this object."""

    move: GuestMove


@dataclass(frozen=True)
class SetUpMirror:
    """Device numbers and the first authority, in one write; only if still this version."""

    mirror: Mirror
    numbers: DeviceNumbers
    authority: Authority | None


@dataclass(frozen=True)
class SwapAuthority:
    """A person's override, by compare-and-swap from the mirror's present epoch."""

    mirror: Mirror
    authority: Authority
    message: str


@dataclass(frozen=True)
class WriteStatus:
    """A merge patch of the controller's own part of a status; with ``version`` only of that one."""

    kind: str
    key: ObjectKey
    uid: str
    patch: Mapping[str, object]
    notices: tuple[Notice, ...] = ()
    version: str | None = None


Write = (
    WriteAssignment
    | WriteClaimant
    | WriteFinalizers
    | SetUpMirror
    | SwapAuthority
    | WriteStatus
    | DeleteMove
)


@dataclass(frozen=True)
class Plan:
    """What to write, most urgent first; what was decided for each guest and mirror; ``bugs``: which
    objects are behind a wall, and why. ``to_power_off``: see ``powering_off``.
    """

    urgent: tuple[Write, ...]
    statuses: tuple[WriteStatus, ...]
    decisions: Mapping[ObjectKey, Decision]
    refusals: Mapping[ObjectKey, Refusal]
    world: World
    bugs: tuple[Bug, ...] = ()
    to_power_off: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
