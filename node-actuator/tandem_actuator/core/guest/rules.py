"""The rules of ``decide`` about a guest: stop it, start it, let its mirror go. Pure.

Each is a rule as ``decide`` describes it; their place among the others is in its ``RULES``.
"""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal, Refusal
from tandem_actuator.core.decision import (
    UNTOLD,
    Decision,
    Start,
    Stay,
    Task,
    drbd_of,
    told_too_late,
)
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.guest import starting, stopping
from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.core.mirror import procedures, transaction
from tandem_actuator.core.mirror.fruitless import unparted, waits_for_its_link
from tandem_actuator.core.model import View
from tandem_api.lease import unarmed_host
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role

REFUSED_PAUSE_S = 60.0
REFUSED_PAUSE_MAX_S = 600.0
"""How long a host that could not start a guest rests before its next round of tries, doubled."""
DATA_AWAY_AFTER_S = 10.0
"""A link that comes back within this time gives a guest its data back: it need not be stopped."""
ARMING = "the watchdog is being armed"


def overdue_guest(view: View, now_s: float, wall: str) -> Decision | None:
    """Pull the plug of a guest that had its time to stop, or cannot use it.

    Before all that asks the API: whoever cannot be reached holds this up no longer. The time begins
    with the first try, whatever libvirt answered.
    """
    if _unwanted_at(view) is None or view.domain is DomainState.UNKNOWN or view.paused_by:
        return None
    assert view.guest is not None
    if data_is_away(view, now_s):
        return Start(
            Task.PULL_PLUG,
            Reason.DESTROYING,
            "the guest shall stop, and has no disk to do it with: pulling the plug",
            lambda: stopping.pull_plug_without_data(view),
        )
    timeout_s = view.guest.in_force.shutdown_timeout_seconds
    if view.shutdown_sent_at_s is None or now_s - view.shutdown_sent_at_s < timeout_s:
        return None
    if view.guest_is_dead and waits_for_its_link(view):
        return None  # what holds it must have its turn
    return Start(
        Task.PULL_PLUG,
        Reason.DESTROYING,
        f"the guest did not stop within {timeout_s} s",
        lambda: stopping.pull_plug(view, Reason.DESTROYING, "pulled the plug"),
    )


def unwanted_guest(view: View, now_s: float, wall: str) -> Decision | None:
    """Ask a guest to stop that is assigned elsewhere or nowhere, until libvirt takes it."""
    where = _unwanted_at(view)
    if where is None or view.shutdown_heard or view.domain is DomainState.UNKNOWN:
        return None
    if view.paused_by:
        return None
    return Start(
        Task.SHUT_DOWN,
        Reason.STOPPING,
        f"the guest is assigned {where}: asking it to stop",
        lambda: stopping.shut_down(view),
    )


def stopping_guest(view: View, now_s: float, wall: str) -> Decision | None:
    """Nothing else is done about a guest that was asked to stop, or that shall be taken over."""
    assignment = view.guest.status.assignment if view.guest else None
    if not view.guest_may_run or assignment is None or assignment.host == view.host:
        return None
    if assignment.host and assignment.proof is not None:
        # A takeover from this very host: it runs here and so can answer. Its own lease and the
        # run predicate decide; a planned move comes without a proof.
        where = f"to {assignment.host}"
        return Stay(Reason.STEADY, f"assigned {where} by a takeover that has not happened")
    asked = Stay(Reason.STOPPING, "the guest was asked to stop") if view.shutdown_heard else None
    return unparted(view) or asked


def _unwanted_at(view: View) -> str | None:
    """Where a guest that may run here is assigned, in words; None if it may stay."""
    assignment = view.guest.status.assignment if view.guest else None
    if not view.guest_may_run or assignment is None or assignment.host == view.host:
        return None
    if assignment.host and (assignment.proof is not None or assignment.live):
        return None
    return f"to {assignment.host}" if assignment.host else "nowhere"


def data_is_away(view: View, now_s: float) -> bool:
    """Whether a guest here has stood still for a while for want of its data. That DRBD is told to
    connect again, and asks, brings none.
    """
    since_s = view.without_data_since_s
    away = isinstance(view.drbd, DrbdState) and view.drbd.without_data
    return away and since_s is not None and now_s - since_s >= DATA_AWAY_AFTER_S


def stands_still(view: View, now_s: float) -> Stay | None:
    if not view.guest_may_run or not data_is_away(view, now_s):
        return None
    return Stay(
        Reason.DATA_UNREACHABLE,
        f"the guest stands still: {view.host} reaches neither its own disk nor {view.peer}'s",
    )


def held_dead(view: View) -> Stay | None:
    """A guest that was killed, and whose process is still here. If libvirt does not tell, and no
    device holds it, what keeps it from going elsewhere is libvirt.
    """
    frozen = isinstance(view.drbd, DrbdState) and bool(view.drbd.suspended)
    if not view.guest_is_dead or (view.domain is DomainState.UNKNOWN and not frozen):
        return None
    held = (
        f". Its disk is frozen and holds its process until {view.host} reaches {view.peer} or the"
        f" API again; if neither comes, reboot {view.host}"
    )
    return Stay(
        Reason.SELF_FENCING,
        f"killed on {view.host}, and executes nothing there any more{held if frozen else ''}",
    )


def paused(view: View, now_s: float, wall: str) -> Decision | None:
    """Late, as it holds up nothing but the guest's own start and stop."""
    assignment = view.guest.status.assignment if view.guest else None
    if not view.paused_by or assignment is None:
        return None
    where, here = _unwanted_at(view), assignment.host == view.host
    if where is not None:
        return Stay(Reason.PAUSED, f"would ask it to stop (assigned {where}): {_by(view)}")
    if here and not view.guest_may_run:
        return Stay(Reason.PAUSED, f"would start it: {_by(view)}")
    return None


def _by(view: View) -> str:
    return f"it is paused by {view.paused_by}"


def start(view: View, now_s: float, wall: str) -> Decision | None:
    """Run the guest here if it is assigned here. A first look at what is known saves the reads."""
    guest = view.guest
    assignment = guest.status.assignment if guest else None
    if guest is None or assignment is None or assignment.host != view.host:
        return None
    stands = stands_still(view, now_s) or unparted(view) or held_dead(view)
    if stands is not None:
        return stands
    if view.domain is DomainState.UNKNOWN and not view.starting:
        return UNTOLD
    if view.domain is DomainState.PAUSED and not view.starting:
        return Stay(
            Reason.GUEST_PAUSED,
            f"libvirt says that the guest is paused on {view.host}: somebody suspended it, or QEMU"
            f" did on an error of its disk. Look why, then: virsh resume {domain_name(guest)}",
        )
    if view.guest_may_run:
        return Stay(Reason.RUNNING, "running")
    obstacle = _not_now(view) or _unheard(view, now_s) or _resting(view, now_s)
    if obstacle is not None:
        return obstacle
    facts = transaction.facts_of(view)
    glance = replace(facts, now_s=now_s)
    verdict = rules.claim(view.mirror, glance, assignment, None, "")
    if isinstance(verdict, Refusal):
        return Stay(verdict.reason, verdict.message)
    return Start(
        Task.START,
        Reason.STARTING,
        f"assigned to {view.host} ({assignment.reason}): claiming and starting",
        lambda: starting.claim_and_start(view),
    )


def _not_now(view: View) -> Stay | None:
    if not view.listed:
        why = "the API has not told yet what this guest is to do"
        return Stay(Reason.API_UNREACHABLE, why)
    if view.fence is not None:
        return Stay(Reason.SELF_FENCING, "stopping what ran here comes first")
    if view.watchdog_required and not view.watchdog_armed:
        least_s = view.watchdog_least_s
        said = unarmed_host(view.host, least_s, view.timing) if view.watchdog_refused else ARMING
        return Stay(Reason.WATCHDOG_NOT_ARMED, said)
    return None


def _unheard(view: View, now_s: float) -> Decision | None:
    """What it claims now it could not start: an epoch each try, and the peer is out for nothing."""
    sent_s, counts_s = view.renewal_sent_at_s, view.timing.self_fence_seconds
    if view.deaf:
        why = f"{view.host} cannot start it: {told_too_late(view)}. It is tried again by itself"
        return Stay(Reason.START_REFUSED, why)
    if sent_s is None or now_s - sent_s <= counts_s:
        return None
    why = f"not starting: no heartbeat of {view.host} was confirmed for {counts_s:g} s"
    return Start(Task.LISTEN, Reason.START_FAILED, why, lambda: procedures.listen(why))


def _resting(view: View, now_s: float) -> Stay | None:
    """Each round of tries needs a claim, and so an epoch: they come ever more seldom."""
    assignment = view.guest.status.assignment if view.guest else None
    if view.refusals is None or assignment is None or view.refusals.serial != assignment.serial:
        return None
    pause_s = min(REFUSED_PAUSE_S * 2 ** (view.refusals.rounds - 1), REFUSED_PAUSE_MAX_S)
    if now_s - view.refusals.at_s >= pause_s:
        return None
    return Stay(
        Reason.START_REFUSED,
        f"{view.host} cannot start it: {view.refusals.why}. Correct the guest's spec or the host."
        f" It is tried again {pause_s:g} s after the last time, and at once if the spec is edited"
        " or tandem-actuator is restarted there",
    )


def unused_primary(view: View, now_s: float, wall: str) -> Decision | None:
    """Not wanted here and not running: Secondary.

    Before anything is done about the connection: what DRBD refuses a Primary, or what takes long,
    must not keep the other host, or a person's order, waiting for it.
    """
    if not _unused(view) or drbd_of(view).role is not Role.PRIMARY or not view.record.owned_epoch:
        return None
    return Start(Task.DEMOTE, Reason.DEMOTING, "not in use here", lambda: procedures.demote(view))


def release_unused(view: View, now_s: float, wall: str) -> Decision | None:
    """Not wanted here and not running, and Secondary by now: the other host may have it."""
    if not _unused(view):
        return None
    verdict = rules.release(view.mirror, transaction.facts_of(view), "")
    if not isinstance(verdict, Proposal):
        return None
    return Start(
        Task.RELEASE,
        Reason.RELEASING,
        "stopped here: releasing it",
        lambda: procedures.change_authority(view, rules.release, Reason.RELEASED, "released"),
    )


def _unused(view: View) -> bool:
    """An object that is not there is no order to stop anything."""
    assignment = view.guest.status.assignment if view.guest else None
    wanted = assignment is None or assignment.host == view.host
    return not view.guest_may_run and not wanted


def untold_guest(view: View, now_s: float, wall: str) -> Decision | None:
    """Last: nothing was held up by it, and people should hear of it."""
    return UNTOLD if view.domain is DomainState.UNKNOWN and not view.starting else None


def stop_unrecorded(view: View, now_s: float, wall: str) -> Decision | None:
    """A disk that keeps no record must not keep a guest from being stopped for good.

    To be moved it needs more: what the other host may have to know is marked before it stops. Once
    it has, its device is closed in any case.
    """
    assignment = view.guest.status.assignment if view.guest else None
    if not view.unrecorded or assignment is None:
        return None
    stops = None
    if not assignment.host:
        stops = overdue_guest(view, now_s, wall) or unwanted_guest(view, now_s, wall)
    known = isinstance(view.drbd, DrbdState)
    return stops or (unused_primary(view, now_s, wall) if known else None)
