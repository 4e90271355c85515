"""Whether a planned move goes as the guest runs, and what becomes of one that could not. Pure.

Called by ``moves`` for a move that is about to begin, and by ``situations`` for one under way.
"""

from tandem_api.authority import Mode
from tandem_api.kinds.domain import Firmware
from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.guest_move import GuestMove, How
from tandem_api.kinds.mirror import Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState
from tandem_controller.decide.world import guestmoves
from tandem_controller.decide.world.hosts import drbd_version
from tandem_controller.decide.world.model import Assign, Case, Keep, Refusal
from tandem_controller.decide.world.replicas import (
    data_is_away,
    failed_volumes,
    incomplete,
    redundancy,
)

AS_IT_RUNS = (
    Reason.MOVE_REQUESTED,
    Reason.MAINTENANCE,
    Reason.FAILBACK,
    Reason.LOCAL_DISK_FAILED,
)
"""Moves of a guest that runs where it is, on the other host's data if need be."""


def ordered(move: GuestMove | None) -> How:
    """How a move by hand is to go; other moves go as the guest runs if that is possible."""
    return move.spec.how if move is not None else How.LIVE_IF_POSSIBLE


def how_due(case: Case) -> How:
    """Of the move that is to begin."""
    return ordered(guestmoves.due(case.guest, case.world))


def impossible(case: Case, owner: str, target: str) -> Refusal | None:
    """Why the guest cannot be sent there as it runs, or None."""
    not_set_up = where_not_set_up(case, owner, target)
    if not_set_up:
        why = f"{not_set_up} does not tell a migrationPort: live migration is not set up there"
        return Refusal(Reason.MOVE_IMPOSSIBLE, why)
    drbd = {name: drbd_version(name, case.world) for name in (owner, target)}
    if all(drbd.values()) and len({version.split(".")[0] for version in drbd.values()}) > 1:
        told = " and ".join(f"{name} runs DRBD {version}" for name, version in drbd.items())
        return Refusal(Reason.MOVE_IMPOSSIBLE, f"{told}: two of one kind alone may both be Primary")
    if case.guest.spec.domain.firmware is Firmware.UEFI:
        why = "a guest with UEFI firmware is not sent as it runs: its variables stay behind"
        return Refusal(Reason.MOVE_IMPOSSIBLE, why)
    report = case.guest.status.hosts.get(owner)
    if report is None or report.state != DomainState.RUNNING:
        return Refusal(Reason.MOVE_IMPOSSIBLE, f"{owner} does not say that it runs there")
    if case.mirror.spec.protocol is not Protocol.C:
        why = (
            f"protocol {case.mirror.spec.protocol} lets no two hosts write. It can go by a stop and"
            " a start"
        )
        return Refusal(Reason.PROTOCOL_NOT_SYNCHRONOUS, why)
    return _lacks_data(case, owner, target)


def where_not_set_up(case: Case, *hosts: str) -> str:
    """The first of these hosts that neither sends nor takes in a guest as it runs."""
    ports = {name: view.host.status.migration_port for name in hosts if (view := case.view(name))}
    return next((name for name in hosts if ports.get(name) is None), "")


def _lacks_data(case: Case, owner: str, target: str) -> Refusal | None:
    """Why the guest would not find there what it has written, or could not be taken in there.

    An owner without a disk of its own writes on the target's, and goes there.
    """
    if failed_volumes(case.report(owner)):
        return incomplete(case.mirror, target, case.world)
    return redundancy(case.mirror, case.world)


def refused(case: Case, assignment: Assignment) -> str:
    """Why the owner could not send it, by this very order; empty if nothing speaks against it."""
    owner = case.authority.owner
    report = case.guest.status.hosts.get(owner)
    if assignment.live and data_is_away(case.mirror, owner, case.world):
        return f"{owner} reaches neither its own disk nor {assignment.host}'s"
    if not assignment.live or report is None or report.assignment_serial != assignment.serial:
        return ""
    return report.refused_move


def instead(case: Case, assignment: Assignment, why: str) -> Assign | Keep | None:
    """What becomes of a move that could not go as the guest runs; None: it is taken back.

    By a stop and a start only once both hosts have let go of the try, and if that can be gone
    through with: a guest is not stopped for a move that its mirror cannot bear. One that stands
    still, without its data, is judged anew.
    """
    if data_is_away(case.mirror, case.authority.owner, case.world):
        return None
    if case.authority.mode is Mode.MIGRATING:
        return Keep(assignment.reason, f"It stays on {case.authority.owner} for now: {why}")
    how = ordered(guestmoves.under_way(case.guest, case.world))
    lacks = _lacks_data(case, case.authority.owner, assignment.host)
    if how is How.LIVE or lacks is not None:
        return None
    message = f"It moves to {assignment.host} by a stop and a start, as it was {why}"
    return Assign(assignment.host, assignment.reason, message, move=assignment.move)
