"""Guest: one virtual machine on one mirror."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tandem_api.kinds.domain import Domain
from tandem_api.meta import (
    Condition,
    Model,
    Name,
    ObjectKey,
    Resource,
    condition,
)
from tandem_api.reasons import OpenWords, Reason
from tandem_api.vocabulary import DomainState


class Placement(Model):
    """Where the guest prefers to be."""

    preferred_site: Annotated[
        Name | None, Field(description="A Site; the one with the highest priority if absent.")
    ] = None


class Policy(StrEnum):
    """Whether Tandem acts by itself or a person orders it."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class Failover(Model):
    """What happens when the guest's host is lost."""

    policy: Policy = Policy.AUTOMATIC


class Failback(Model):
    """What happens when the preferred site is back."""

    policy: Policy = Policy.MANUAL
    after_seconds: Annotated[
        int,
        Field(ge=0, le=604800, description="How long the mirror must have been redundant first."),
    ] = 600


class LiveMigration(Model):
    """How the guest is sent to another host as it runs."""

    timeout_seconds: Annotated[
        int,
        Field(
            ge=10,
            le=86400,
            description="How long sending it may take, as when its memory changes faster than the"
            " link takes it. Then it goes on where it is, or moves by a stop and a start.",
        ),
    ] = 600


class GuestSpec(Model):
    """What a person decides about a guest."""

    running: bool = True
    mirror: Annotated[Name, Field(description="A Mirror in the same namespace.")]
    domain: Domain
    placement: Placement = Placement()
    failover: Failover = Failover()
    failback: Failback = Failback()
    migration: LiveMigration = LiveMigration()
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    paused: Annotated[
        bool,
        Field(description="Neither start, stop, move nor take it over."),
    ] = False
    shutdown_timeout_seconds: Annotated[
        int, Field(ge=0, le=3600, description="How long a stop waits before it pulls the plug.")
    ] = 120


class ProofKind(OpenWords):
    """Why the controller believes that the guest runs nowhere else (rules 12 to 14).

    What another version calls otherwise proves nothing to this one.
    """

    UNOWNED = "Unowned"
    SAME_HOST = "SameHost"
    LEASE_LOST = "LeaseLost"
    FENCED = "Fenced"
    REBOOTED = "Rebooted"
    PERSON = "Person"
    POWERED_OFF = "PoweredOff"


TAKEOVER_PROOFS = (
    ProofKind.LEASE_LOST,
    ProofKind.FENCED,
    ProofKind.REBOOTED,
    ProofKind.PERSON,
    ProofKind.POWERED_OFF,
)
"""Those by which a guest is taken from another host."""


class FencingProof(Model):
    """Evidence about exactly one instance at exactly one epoch.

    It is worth nothing once the authority's epoch, the owner's instance or the lease's version
    is another: the host that uses it compares all three with what it reads itself.
    ``linkAcknowledged``: that instance lives on a replication link by what has arrived at its peer.
    """

    kind: ProofKind
    host: str = ""
    instance: str = ""
    at_epoch: int
    lease_version: str = ""
    watchdog: bool = False
    link_acknowledged: bool = False


class MoveReference(Model):
    """One GuestMove in the guest's namespace."""

    name: str
    uid: str


class Assignment(Model):
    """Where the controller wants the guest to be, on which mirror. No ``host``: nowhere.

    ``move``: the GuestMove that is carried out by this, or was under way when this came. ``live``:
    the owner is to send it there as it runs, and not to stop it for this. ``turn_seconds``: the
    last host could not start it; if this one cannot either, that one tries again after so long.
    ``undisturbed``: it takes back a move of a guest as it runs, for which nobody has asked it to
    stop.
    """

    host: str = ""
    site: str = ""
    mirror: str = ""
    serial: int
    reason: Reason
    message: str = ""
    proof: FencingProof | None = None
    move: MoveReference | None = None
    live: bool = False
    turn_seconds: int = 0
    undisturbed: bool = False
    since: str = ""


class HardwareReport(Model):
    """What a host found as it tried whether it could start this hardware.

    ``fingerprint``: which (``Domain.fingerprint``); empty: none yet. ``problems``: what keeps it
    from being started there as it is meant, each with its field.
    """

    fingerprint: str = ""
    problems: tuple[str, ...] = ()


class GuestReport(Model):
    """The guest as one host sees it. Written by that host's actuator alone.

    ``refused_start``: why it could not be started here, tried several times. It is forgotten once
    the guest was edited or is assigned here again, or this host's libvirt or actuator restarted.

    ``refused_move``: why it could not be sent to the other host as it runs, by this assignment.

    ``started_by``: the serial of the assignment by which it was started, or taken in, there; 0 if
    that is not known, as after a restart of the actuator.

    No ``hardware``: an actuator that does not know of it. ``paused_since``: of the pause that the
    host knows of, and by which it neither starts nor stops it.
    """

    instance: str = ""
    state: str = ""
    assignment_serial: int = 0
    started_at: str | None = None
    started_by: int = 0
    reason: Reason | None = None
    message: str = ""
    steps: dict[str, str] = {}
    refused_start: str = ""
    refused_move: str = ""
    hardware: HardwareReport | None = None
    paused_since: str = ""

    def has_stopped(self, assignment: Assignment) -> bool:
        """Whether the host, knowing this assignment, says that the guest certainly does not run
        there, nor is being started.
        """
        return self.state == DomainState.ABSENT and self.assignment_serial >= assignment.serial


class Takeover(Model):
    """The last takeover, with the time of each step, for people."""

    source: str
    target: str
    reason: Reason
    lease_lost_at: str
    steps: dict[str, str] = {}


class PastTakeover(Model):
    """From which site, and when (RFC 3339)."""

    site: str
    at: str


class GuestStatus(Model):
    """Where the guest is and why. ``recent_takeovers``: those of the last day.

    ``accepted``: the spec as it last passed every check, the controller's own note. It is what is
    run while an edit does not pass (``Guest.in_force``). ``paused_by``: the objects that have it
    paused, in words; empty if none has. ``paused_since``: since when any of them has, RFC 3339.
    """

    assignment: Assignment | None = None
    hosts: dict[str, GuestReport] = {}
    phase: str = ""
    site: str = ""
    host: str = ""
    mirror: str = ""
    protected: str = ""
    reason: str = ""
    message: str = ""
    paused_by: str = ""
    paused_since: str = ""
    last_takeover: Takeover | None = None
    recent_takeovers: tuple[PastTakeover, ...] = ()
    accepted: GuestSpec | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Guest(Resource):
    """A virtual machine."""

    spec: GuestSpec
    status: GuestStatus = GuestStatus()

    @property
    def in_force(self) -> GuestSpec:
        """What a host runs: the spec once the controller has found it valid, as it stands.

        Until then, and while it is not valid, the last one that was; of a guest that never had one,
        what is written. Not ``accepted`` alone: a controller of an older release leaves that as it
        was, and judges all the same.
        """
        accepted, judged = self.status.accepted, condition(self.status.conditions, "SpecValid")
        this = judged is not None and judged.observed_generation == self.metadata.generation
        valid = this and judged is not None and judged.status == "True"
        return self.spec if accepted is None or valid else accepted

    @property
    def mirror_key(self) -> ObjectKey:
        """Of the mirror that it is on: names are of a namespace."""
        return ObjectKey(namespace=self.metadata.namespace, name=self.mirror_in_use)

    @property
    def mirror_in_use(self) -> str:
        """The mirror that it is on: the one it was assigned with, until it has stopped.

        Not simply ``spec.mirror``: that may be edited while the guest runs, and nobody may then
        take it for stopped, or start it on the other mirror beside itself.
        """
        assignment = self.status.assignment
        if assignment is None or not assignment.mirror:
            return self.spec.mirror
        stopped = not assignment.host and all(
            report.has_stopped(assignment) for report in self.status.hosts.values()
        )
        return self.spec.mirror if stopped else assignment.mirror
