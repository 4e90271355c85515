"""A small scene to decide about: two sites with a host each, one mirror, one guest.

A fresh ``Scene`` is a guest that runs on burjassot-1 with everything well. Tests change what they
are about and ask for the decision, the plan or a status.
"""

from dataclasses import dataclass, field
from typing import Any

from tandem_api.authority import Authority
from tandem_api.kinds.guest import TAKEOVER_PROOFS, Guest, GuestStatus
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.lease import Delivery, Heartbeat
from tandem_api.meta import FINALIZER, ObjectKey
from tandem_api.timing import DEFAULT, Timing
from tandem_controller.decide.guests.situations import decide
from tandem_controller.decide.known import world_of
from tandem_controller.decide.plan import plan
from tandem_controller.decide.status.guest import guest_status
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.clocks import Watch
from tandem_controller.decide.world.leases import Count, LeaseTracker
from tandem_controller.decide.world.model import Decision, Plan, Snapshot, World, case_of

A, B = "burjassot-1", "tarongers-1"
SITES = {A: "burjassot", B: "tarongers"}
NOW_S = 1000.0
WALL = "2024-05-01T10:00:00Z"
BEFORE = "2024-05-01T09:00:00Z"
KEY = ObjectKey(namespace="ns", name="g")


@dataclass
class Beat:
    """A host's heartbeat: silent for how long, from which instance."""

    silent_s: float = 0.5
    boot: str = "boot"
    run: str = "run"
    armed: bool = True
    renewed: bool = True
    timing: Timing | None = DEFAULT
    version: str = "77"
    clock: Watch = field(default_factory=Watch)
    delivery: Delivery | None = None


def instance(host: str, boot: str = "boot", run: str = "run") -> str:
    return f"{host}/{boot}/{run}"


@dataclass
class Scene:
    """Mutable on purpose: a test writes what is different and then looks."""

    beats: dict[str, Beat] = field(default_factory=lambda: {A: Beat(), B: Beat()})
    sites: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"burjassot": {}, "tarongers": {}}
    )
    hosts: dict[str, dict[str, Any]] = field(default_factory=lambda: {A: {}, B: {}})
    mirror: dict[str, Any] = field(default_factory=dict)
    authority: dict[str, Any] | None = field(default_factory=lambda: owned_by(A))
    replicas: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {A: replica(A, role="Primary"), B: replica(B)}
    )
    numbers: dict[str, Any] | None = field(
        default_factory=lambda: {"port": 7789, "minors": {"root": 0}}
    )
    mirror_conditions: list[dict[str, Any]] = field(default_factory=list)
    guest: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=lambda: {"finalizers": [FINALIZER]})
    assignment: dict[str, Any] | None = field(default_factory=lambda: assigned(A))
    reports: dict[str, dict[str, Any]] = field(default_factory=lambda: {A: report(A)})
    status: dict[str, Any] = field(default_factory=dict)
    claimants: dict[str, Any] | None = None
    """None: as the assignment says."""
    covered: bool = True
    runs_s: dict[str, float] = field(default_factory=dict)
    """How long a host's actuator is known to run; for ever unless said."""
    link_down_since_s: dict[str, float] = field(default_factory=dict)
    tandems: tuple[Tandem, ...] = ()
    guestmoves: tuple[GuestMove, ...] = ()
    more: list[Guest] = field(default_factory=list)
    more_mirrors: list[Mirror] = field(default_factory=list)

    # -- what changes most

    def silent(self, host: str, silent_s: float = 60.0) -> "Scene":
        self.beats[host].silent_s = silent_s
        return self

    def unlinked(self, host: str = B) -> "Scene":
        """That host reports the link down."""
        self.replicas[host] = replica(host, connected=False)
        return self

    def lost(self) -> "Scene":
        """A is gone, and B has seen the link go."""
        return self.silent(A).unlinked(B)

    def unowned(self, **changes: Any) -> "Scene":
        self.authority = {**owned_by(""), **changes}
        self.replicas = {A: replica(A), B: replica(B)}
        self.reports = {}
        return self

    # -- what comes of it

    def snapshot(self) -> Snapshot:
        tracker = LeaseTracker(
            {
                host: Count(
                    Heartbeat(
                        host=host,
                        instance=instance(host, beat.boot, beat.run),
                        version=beat.version,
                        watchdog_armed=beat.armed,
                        timing=beat.timing,
                        delivery=beat.delivery,
                    ),
                    since_s=NOW_S - 0.1 - beat.silent_s,
                    seen_at=BEFORE,
                    renewed=beat.renewed,
                    run_since_s=NOW_S - self.runs_s.get(host, float("inf")),
                    clock=beat.clock,
                )
                for host, beat in self.beats.items()
            },
            read_s=NOW_S - 0.1 if self.covered else None,
        )
        return Snapshot(
            now_s=NOW_S,
            wall=WALL,
            leases=tracker,
            tandems=self.tandems,
            sites=tuple(site(name, **spec) for name, spec in self.sites.items()),
            hosts=tuple(host(name, **spec) for name, spec in self.hosts.items()),
            mirrors=(self.parsed_mirror(), *self.more_mirrors),
            guests=(self.parsed_guest(), *self.more),
            guestmoves=self.guestmoves,
            link_down_since_s={(KEY, h): s for h, s in self.link_down_since_s.items()},
        )

    def world(self) -> World:
        return world_of(self.snapshot(), Walls())

    def decide(self) -> Decision:
        world = self.world()
        guest = world.in_force(self.parsed_guest())
        return decide(guest, world, case_of(guest, world))

    def status_after(self) -> GuestStatus:
        """The guest's, after what is decided now."""
        world = self.world()
        guest = world.in_force(self.parsed_guest())
        case = case_of(guest, world)
        return guest_status(guest, world, case, decide(guest, world, case))

    def plan(self) -> Plan:
        return plan(self.snapshot())

    def parsed_guest(self) -> Guest:
        status = {"hosts": self.reports, **self.status}
        if self.assignment is not None:
            status["assignment"] = self.assignment
        return guest("g", status=status, metadata=self.metadata, **self.guest)

    def parsed_mirror(self) -> Mirror:
        status: dict[str, Any] = {"replicas": self.replicas, "conditions": self.mirror_conditions}
        if self.authority is not None:
            status["authority"] = self.authority
            status["claimants"] = self.claimants_shown()
        if self.numbers is not None:
            status["deviceNumbers"] = self.numbers
        return mirror("g", status=status, **self.mirror)

    def claimants_shown(self) -> dict[str, Any]:
        """Level with the assignment, unless a test says otherwise."""
        if self.claimants is not None:
            return self.claimants
        assignment = self.assignment or {}
        if not assignment.get("host"):
            return {}
        proof = assignment.get("proof") or {}
        takes = proof.get("kind") in TAKEOVER_PROOFS
        return {assignment["host"]: {"guest": "g", **({"proof": proof} if takes else {})}}


def moving() -> Scene:
    """In maintenance, so that a move away from A is wanted."""
    scene = Scene()
    scene.sites["burjassot"] = {"maintenance": True}
    return scene


def site(name: str, **spec: Any) -> Site:
    return Site.parse({"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec})


def host(name: str, *, status: dict[str, Any] | None = None, **spec: Any) -> Host:
    address = {A: "198.51.100.11", B: "198.51.100.12"}.get(name, "198.51.100.99")
    full = {"site": SITES.get(name, "burjassot"), "replicationAddress": address, **spec}
    metadata = {"name": name, "uid": f"uid-{name}"}
    return Host.parse({"metadata": metadata, "spec": full, "status": status or {}})


def mirror(name: str, *, status: dict[str, Any] | None = None, **spec: Any) -> Mirror:
    full = {
        "volumes": [{"name": "root", "size": "16Mi"}],
        "replicas": [
            {"host": host, "devices": {"root": f"/dev/vg0/{name}-root"}} for host in (A, B)
        ],
        **spec,
    }
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": "5"}
    return Mirror.parse({"metadata": metadata, "spec": full, "status": status or {}})


def guest(
    name: str,
    *,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **spec: Any,
) -> Guest:
    full = {
        "mirror": name,
        "domain": {"memory": "1Gi", "disks": [{"volume": "root"}]},
        "placement": {"preferredSite": "burjassot"},
        **spec,
    }
    about = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": "9"}
    return Guest.parse(
        {"metadata": {**about, **(metadata or {})}, "spec": full, "status": status or {}}
    )


def owned_by(owner: str, **changes: Any) -> dict[str, Any]:
    """An authority at epoch 7, both eligible."""
    both = {"eligible": True, "reason": "InSync"}
    return {
        "epoch": 7,
        "incarnation": "uid-g",
        "owner": owner,
        "ownerInstance": instance(owner) if owner else "",
        "eligible": {A: both, B: both},
        **changes,
    }


def only(host: str, reason: str = "LinkLost") -> dict[str, Any]:
    """Eligibility of one host alone."""
    return {h: {"eligible": h == host, "reason": "InSync" if h == host else reason} for h in (A, B)}


def replica(host: str, *, role: str = "Secondary", connected: bool = True, **more: Any) -> Any:
    peer = "Secondary" if role == "Primary" else "Primary"
    return {
        "instance": instance(host),
        "role": role,
        "connection": "Connected" if connected else "Connecting",
        "peerRole": peer if connected else "Unknown",
        "volumes": {
            "root": {
                "disk": "UpToDate",
                "peerDisk": "UpToDate" if connected else "DUnknown",
                "outOfSyncBytes": 0,
            }
        },
        **more,
    }


def assigned(host: str, reason: str = "InitialPlacement", **more: Any) -> dict[str, Any]:
    return {
        "host": host,
        "site": SITES.get(host, ""),
        "serial": 3,
        "reason": reason,
        "message": "It is there",
        "since": BEFORE,
        **more,
    }


def report(host: str, state: str = "Running", serial: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "instance": instance(host),
        "state": state,
        "assignmentSerial": serial,
        "reason": "Running" if state == "Running" else "Steady",
        **more,
    }


def authority_of(scene: Scene) -> Authority:
    return Authority.model_validate(scene.authority)
