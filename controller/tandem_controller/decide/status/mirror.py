"""What a mirror's status says: phase, owner, conditions, and what became of an override.

Called by ``plan``. It leaves authority, device numbers and the hosts' reports as they are, and adds
no claimant.
"""

from collections.abc import Iterable

from tandem_api.authority import Mode
from tandem_api.kinds.mirror import Accepted, Mirror, MirrorStatus
from tandem_api.meta import Condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import MirrorPhase
from tandem_controller.decide.conditions import bad, good, judged, spec_valid, stamped, unknown
from tandem_controller.decide.mirrors.claimants import Assignments, kept
from tandem_controller.decide.world import replicas, sizes
from tandem_controller.decide.world.lawful import doubt
from tandem_controller.decide.world.model import Refusal, World
from tandem_controller.decide.world.moments import ahead
from tandem_controller.decide.world.standstill import standstill


def mirror_status(
    mirror: Mirror, world: World, override: Refusal | None, new: Assignments | None = None
) -> MirrorStatus:
    """The mirror's whole status.

    ``override`` is why a person's order is not carried out, ``new`` what this plan assigns.
    """
    old, generation = mirror.status, mirror.metadata.generation
    obstacle, stalled = replicas.redundancy(mirror, world), standstill(mirror, world)
    valid = not world.problems_of(mirror)
    conditions = (
        _connected(mirror, world),
        _in_sync(mirror, world),
        judged("Redundant", obstacle, Reason.IN_SYNC),
        _consistent(mirror, world),
        _sized(mirror, world),
        judged("Responsive", stalled, Reason.STEADY),
        judged("Lawful", doubt(mirror, world), Reason.STEADY),
        spec_valid(world, mirror),
    )
    reason, message = _why(mirror, world, (obstacle, stalled), override)
    return old.model_copy(
        update={
            "phase": _phase(mirror, world, obstacle),
            "owner": old.authority.owner if old.authority else "",
            "claimants": kept(mirror, world, new or {}),
            "accepted": Accepted.of(mirror.spec) if valid else old.accepted,
            "reason": reason,
            "message": message,
            "observed_generation": generation,
            "conditions": stamped(_credible(old, world), conditions, generation, world),
        }
    )


def _credible(old: MirrorStatus, world: World) -> Iterable[Condition]:
    """Without those that began at a moment that is yet to come: they are told anew."""
    known = old.conditions
    return [each for each in known if not ahead(each.last_transition_time, world.snapshot)]


def _phase(mirror: Mirror, world: World, obstacle: Refusal | None) -> MirrorPhase:
    authority = mirror.status.authority
    if authority is None and world.problems_of(mirror):
        return MirrorPhase.INVALID
    if authority is not None and authority.mode is Mode.HOLD:
        return MirrorPhase.HOLD
    if replicas.split_brain(mirror, world):
        return MirrorPhase.SPLIT_BRAIN
    if authority is None or not authority.initialised:
        return MirrorPhase.NOT_INITIALISED
    if obstacle is None:
        return MirrorPhase.REDUNDANT
    connected = replicas.connected(mirror, world)
    return MirrorPhase.RESYNCING if connected else MirrorPhase.DEGRADED


def _why(
    mirror: Mirror,
    world: World,
    obstacles: Iterable[Refusal | None],
    override: Refusal | None,
) -> tuple[str, str]:
    problems = world.problems_of(mirror)
    if problems:
        return Reason.SPEC_INVALID, "; ".join(map(str, problems))
    if override is not None:
        return override.reason, override.message
    stands = [obstacle for obstacle in obstacles if obstacle is not None]
    if not stands:
        return Reason.IN_SYNC, ""
    said = [
        f"{host}: {report.message}"
        for host, report in sorted(replicas.reports(mirror, world).items())
        if report.message
    ]
    return stands[0].reason, "; ".join([*(one.message for one in stands), *said])


def _connected(mirror: Mirror, world: World) -> Condition:
    match replicas.connected(mirror, world):
        case True:
            return good("Connected", Reason.CONNECTED)
        case False:
            return bad("Connected", Refusal(Reason.NOT_CONNECTED, "the replicas are not connected"))
        case None:
            return unknown("Connected", Reason.UNKNOWN_STATE, _NOBODY_CAN_TELL)


def _in_sync(mirror: Mirror, world: World) -> Condition:
    match replicas.in_sync(mirror, world):
        case True:
            return good("InSync", Reason.IN_SYNC)
        case False:
            stalled = replicas.resync_stalled(mirror, world)
            if stalled is not None:
                return bad("InSync", stalled)
            percent = replicas.resync_percent(mirror, world)
            how_far = "" if percent is None else f" ({percent} %)"
            message = f"the replicas are not known to hold the same{how_far}"
            return bad("InSync", Refusal(Reason.RESYNCING, message))
        case None:
            return unknown("InSync", Reason.UNKNOWN_STATE, _NOBODY_CAN_TELL)


_NOBODY_CAN_TELL = "no host that can be asked has reported"


def _sized(mirror: Mirror, world: World) -> Condition:
    """Whether each device holds what its volume says, and none is larger for nothing."""
    known = sizes.measured(mirror, replicas.reports(mirror, world))
    if not known:
        return unknown("Sized", Reason.UNKNOWN_STATE, "no host that can be asked has measured it")
    return judged("Sized", sizes.refusal(mirror, known), Reason.LARGE_ENOUGH)


def _consistent(mirror: Mirror, world: World) -> Condition:
    report = replicas.split_brain(mirror, world)
    if report is None:
        return good("Consistent", Reason.STEADY)
    return bad("Consistent", Refusal(Reason.SPLIT_BRAIN, report.message))
