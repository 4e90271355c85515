"""The rules about a mirror: what is done to its replica and its authority, and when. Pure."""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal, Refusal
from tandem_actuator.core.decision import UNTOLD, Decision, Start, Stay, Task, authority_of, drbd_of
from tandem_actuator.core.drbd import DrbdUnknown, NotConfigured
from tandem_actuator.core.mirror import bringing_up, procedures, transaction
from tandem_actuator.core.mirror.differences import keeps_marker
from tandem_actuator.core.mirror.diverged import has_diverged, may_discard
from tandem_actuator.core.mirror.fruitless import rests
from tandem_actuator.core.model import View
from tandem_api.authority import Mode
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GONE_DISKS, Connection, DiskState, DomainState, Role

REFUSALS = 2
"""So often a replica that stands alone is connected before it counts as diverged."""


LIBVIRT_COMES_S = 15.0
"""So long after a boot libvirtd may just be coming up."""


ASK_AGAIN_AFTER_S = 3.0
"""DRBD's own question takes a moment to get here: kernel, drbdadm, fence-peer, socket."""


COPY_FORGOTTEN_AFTER_S = 5.0
"""A source hears a moment later than its target that a copy is done."""


def held(view: View, now_s: float, wall: str) -> Decision | None:
    refusal = rules.held(view.mirror, view.record)
    return Stay(refusal.reason, refusal.message) if refusal else None


def not_set_up(view: View, now_s: float, wall: str) -> Decision | None:
    status = view.mirror.status
    if status.authority is None or status.device_numbers is None:
        return Stay(Reason.NOT_INITIALISED, "waiting for the controller to set the mirror up")
    if view.peer not in view.addresses or view.host not in view.addresses:
        missing = view.peer if view.peer not in view.addresses else view.host
        return Stay(Reason.NOT_INITIALISED, f"host {missing} is not known to the API")
    return None


def epoch_behind(view: View, now_s: float, wall: str) -> Decision | None:
    """First, unless that fails for good: a mirror is still brought up, copied to and given up."""
    behind = authority_of(view).epoch > view.record.max_epoch
    return _note_epoch(view) if behind and not view.unrecorded else None


def unrecorded(view: View, now_s: float, wall: str) -> Decision | None:
    """Nothing is won that cannot be noted. Once it can be, the host may start guests again."""
    return _note_epoch(view) if view.unrecorded else None


def _note_epoch(view: View) -> Start:
    return Start(
        Task.NOTE_EPOCH,
        Reason.STEADY,
        f"noting epoch {authority_of(view).epoch}",
        lambda: procedures.note_epoch(view),
    )


def unknown(view: View, now_s: float, wall: str) -> Decision | None:
    """What libvirt does not tell holds up only what concerns the guest.

    But a host that has just booted waits a while for it, so as not to be current before it can
    start anything.
    """
    if isinstance(view.drbd, DrbdUnknown):
        return Stay(Reason.UNKNOWN_STATE, f"DRBD does not tell its state: {view.drbd.message}")
    since_s = view.link_lost_at_s
    new = isinstance(view.drbd, NotConfigured) and since_s is not None
    if new and view.domain is DomainState.UNKNOWN and now_s - (since_s or 0.0) < LIBVIRT_COMES_S:
        return UNTOLD
    return None


def not_configured(view: View, now_s: float, wall: str) -> Decision | None:
    return _bring_up(view, wall) if isinstance(view.drbd, NotConfigured) else None


def half_brought_up(view: View, now_s: float, wall: str) -> Decision | None:
    """A crash between attach and connect leaves a diskless or unconnected resource.

    A Consistent disk has not met the peer's since it was attached: whether it is to be marked is
    still to be told by its generation. That is so after a refused handshake as well; but what the
    authority has given up is not judged any more.
    """
    drbd = drbd_of(view)
    if drbd.role is Role.PRIMARY or view.guest_may_run:
        return None
    never_attached = all(v.disk is DiskState.DISKLESS for v in drbd.volumes.values())
    judged = (
        view.record.marker
        or may_discard(authority_of(view), view)
        or all(v.disk is not DiskState.CONSISTENT for v in drbd.volumes.values())
    )
    alone = drbd.connection is Connection.STANDALONE
    return _bring_up(view, wall) if alone and (never_attached or not judged) else None


def _bring_up(view: View, wall: str) -> Start:
    return Start(
        Task.BRING_UP,
        Reason.BRINGING_UP,
        "bringing the replica up",
        lambda: bringing_up.bring_up(view, wall),
    )


def marker_needed(view: View, now_s: float, wall: str) -> Decision | None:
    """Rule 8 on a resource that is already up: an I/O error, a detach, or an interrupted attach."""
    if view.record.marker:
        return None
    drbd = drbd_of(view)
    bad = GONE_DISKS | {DiskState.INCONSISTENT, DiskState.OUTDATED}
    found = {v.disk for v in drbd.volumes.values()} & bad
    if view.was_behind and drbd.role is Role.SECONDARY:
        found.add(DiskState.INCONSISTENT)
    alone = drbd.connection is Connection.STANDALONE and drbd.role is Role.SECONDARY
    unsure = alone and any(v.disk is DiskState.CONSISTENT for v in drbd.volumes.values())
    if not found and not unsure:
        return None
    failed = found & GONE_DISKS
    reason = Reason.LOCAL_DISK_FAILED if failed else Reason.ATTACHED_NOT_UP_TO_DATE
    return Start(
        Task.SET_MARKER,
        reason,
        "marking this replica as possibly stale",
        lambda: procedures.set_marker(view, reason, wall),
    )


def diverged(view: View, now_s: float, wall: str) -> Decision | None:
    """After a restore of the API: only this host knows of its last epoch as an owner.

    It is noted at once, since the authority's later epochs do not tell it any more. Who is in sync
    has nothing that the peer lacks.
    """
    authority = authority_of(view)
    followed = authority.epoch > view.record.owned_epoch or authority.may_own(view.host)
    known = has_diverged(view.record) or drbd_of(view).in_sync
    if authority.owner != view.peer or followed or known:
        return None
    return Start(
        Task.SET_MARKER,
        Reason.SPLIT_BRAIN,
        f"{view.peer} owns the mirror at an epoch that this host has owned: marking this replica",
        lambda: procedures.set_marker(view, Reason.SPLIT_BRAIN, wall),
    )


def first_sync(view: View, now_s: float, wall: str) -> Decision | None:
    authority, drbd = authority_of(view), drbd_of(view)
    if authority.initialised:
        return None
    blank = [name for name, volume in drbd.volumes.items() if volume.blank]
    first = view.mirror.spec.replicas[0].host == view.host
    both_secondary = drbd.role is Role.SECONDARY and drbd.peer_role is Role.SECONDARY
    if not (blank and first and both_secondary and drbd.connected):
        return None
    return Start(
        Task.FIRST_SYNC,
        Reason.FIRST_SYNC,
        "both replicas are brand-new: declaring them equal",
        lambda: bringing_up.first_sync(view, blank),
    )


def taken_over(view: View, now_s: float, wall: str) -> Decision | None:
    """This host lost the mirror while frozen: let its dead guest's last write end, unseen.

    Dead means that SIGKILL was delivered: a guest that still executes would hear of that write.
    """
    authority, drbd = authority_of(view), drbd_of(view)
    if authority.owner != view.peer or authority.may_own(view.host):
        return None
    killed = view.fence is not None and view.fence.killed
    if drbd.role is not Role.PRIMARY or not drbd.suspended or not killed:
        return None
    return Start(
        Task.THAW,
        Reason.REJOINING,
        f"{view.peer} took over: letting the dead guest's device go",
        lambda: procedures.thaw_to_discard(view),
    )


def ask_again(view: View, now_s: float, wall: str) -> Decision | None:
    """Frozen, the owner, and nobody is asking any more: DRBD itself never retries.

    Not where it would be refused, as without an own disk: what comes after it must have its turn.
    Nor for a guest that is being stopped, unless it is dead: then this alone lets it go.
    """
    authority = authority_of(view)
    mine = authority.owner == view.host and view.instance.same_boot(authority.owner_instance)
    stopping = view.fence is not None and not view.guest_is_dead
    if not mine or view.frozen_since_s is None or view.handler_running or stopping:
        return None
    patience_s = view.mirror.spec.link_loss_holdoff_seconds + ASK_AGAIN_AFTER_S
    if now_s - view.frozen_since_s < patience_s:
        return None
    if isinstance(rules.grant_link_loss(view.mirror, transaction.facts_of(view), ""), Refusal):
        return None
    return Start(
        Task.ASK_AGAIN,
        Reason.CONNECTING,
        "writes are frozen and nobody asks for leave to go on: making DRBD ask again",
        lambda: procedures.ask_again(view),
    )


def foreign_primary(view: View, now_s: float, wall: str) -> Decision | None:
    """Something else promoted this device. Nothing of Tandem's is running on it.

    An owner of this boot that has noted no epoch as its own was handed the mirror by a migration.
    """
    if drbd_of(view).role is not Role.PRIMARY or view.guest_may_run or view.record.owned_epoch:
        return None
    authority = authority_of(view)
    if authority.owner == view.host and view.instance.same_boot(authority.owner_instance):
        return None
    return Stay(
        Reason.FOREIGN_PRIMARY,
        f"{view.mirror.drbd_name} is Primary on {view.host}, but not by Tandem: look for boot"
        " scripts or another cluster manager, and make it Secondary",
    )


def adopt(view: View, now_s: float, wall: str) -> Decision | None:
    authority = authority_of(view)
    mine = authority.owner == view.host and view.instance.same_boot(authority.owner_instance)
    # Without a new heartbeat a taker finds nothing new: its claim may come after this swap too.
    if mine and view.lapsed and view.heard_since_lapse and view.fence is None:
        return Start(
            Task.ADOPT,
            Reason.ADOPTED,
            "may have stood still: making sure that nobody has taken over, nor will",
            lambda: procedures.change_authority(
                view, rules.affirm, Reason.ADOPTED, "still the owner"
            ),
        )
    if not mine or authority.owner_instance == str(view.instance):
        return None
    return Start(
        Task.ADOPT,
        Reason.ADOPTED,
        "taking over from the actuator's earlier run",
        lambda: procedures.change_authority(
            view, rules.adopt, Reason.ADOPTED, "adopted from the actuator's earlier run"
        ),
    )


def degrade(view: View, now_s: float, wall: str) -> Decision | None:
    """The owner says Standalone where DRBD goes on alone without asking."""
    authority, drbd = authority_of(view), drbd_of(view)
    if not authority.both_count or drbd.role is not Role.PRIMARY or drbd.suspended:
        return None
    verdict = rules.degrade(view.mirror, transaction.facts_of(view), "")
    if not isinstance(verdict, Proposal):
        return None
    if drbd.in_sync and now_s - (view.in_sync_since_s or now_s) < COPY_FORGOTTEN_AFTER_S:
        return None
    return Start(
        Task.DEGRADE,
        Reason.PEER_DISK_NOT_UP_TO_DATE,
        f"{view.peer}'s replica is not current: saying so before anything depends on it",
        lambda: procedures.change_authority(
            view, rules.degrade, Reason.PEER_DISK_NOT_UP_TO_DATE, "the peer is out until in sync"
        ),
    )


def rejoin(view: View, now_s: float, wall: str) -> Decision | None:
    authority, drbd = authority_of(view), drbd_of(view)
    if drbd.connection is not Connection.STANDALONE or rests(view, now_s):
        return None
    if drbd.role is Role.PRIMARY and authority.owner != view.host:
        # Claimed and promoted, but taken over before its guest was started: nothing holds it.
        return Stay(Reason.SPLIT_BRAIN, "Primary without authority: not connecting")
    discard = may_discard(authority, view) and authority.mode is Mode.STANDALONE
    if view.failures >= REFUSALS and not discard and has_diverged(view.record):
        return Stay(
            Reason.SPLIT_BRAIN,
            f"{view.host} wrote as the owner of epoch {view.record.owned_epoch}, which the"
            f" authority does not follow: {view.peer} went on without. A person decides which"
            " writes to keep",
        )
    return Start(
        Task.REJOIN,
        Reason.REJOINING,
        "the replica stands alone: connecting it again",
        lambda: procedures.rejoin(view, discard=discard),
    )


def clear_marker(view: View, now_s: float, wall: str) -> Decision | None:
    """Only after being in sync for as long as either side may need to notice a dead link.

    A resync's target knows that it is done before its source does. If the link dies in between,
    the source goes on alone without asking anybody; by the time this is cleared, either both
    know, or this side knows that the link is gone.
    """
    drbd = drbd_of(view)
    if not view.record.marker or not drbd.in_sync or view.in_sync_since_s is None:
        return None
    if drbd.out_of_sync_bytes or keeps_marker(view):
        return None
    if now_s - view.in_sync_since_s < view.timing.link_detection_seconds:
        return Stay(Reason.NOT_YET_IN_SYNC, "in sync; making sure that both sides know")
    return Start(
        Task.CLEAR_MARKER,
        Reason.IN_SYNC,
        "in sync: clearing the marker",
        lambda: procedures.clear_marker(view),
    )


def restore(view: View, now_s: float, wall: str) -> Decision | None:
    verdict = rules.restore(view.mirror, transaction.facts_of(view), "")
    if not isinstance(verdict, Proposal):
        return None
    authority = authority_of(view)
    first = view.mirror.spec.replicas[0].host == view.host
    if not authority.owner and not first:
        return None
    return Start(
        Task.RESTORE,
        Reason.IN_SYNC,
        "in sync again: back to Mirrored",
        lambda: procedures.restore(view),
    )


def withdraw(view: View, now_s: float, wall: str) -> Decision | None:
    """An owner that has rebooted was allowed to write alone, and had not yet done so."""
    facts = transaction.facts_of(view)
    verdict = rules.withdraw(view.mirror, replace(facts, now_s=now_s), "")
    if not isinstance(verdict, Proposal):
        return None
    return Start(
        Task.WITHDRAW,
        Reason.GRANT_NOT_USED,
        f"rebooted before it wrote alone, as it was allowed to: {view.peer}'s replica counts again",
        lambda: procedures.change_authority(
            view, rules.withdraw, Reason.GRANT_NOT_USED, "mirrored, as before the link was lost"
        ),
    )
