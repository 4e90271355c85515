"""Which host a guest starts on when nobody owns its mirror, and which one it prefers.

Called by ``situations``, ``moves`` and the statuses. Never looks at where the guest runs now.
"""

from dataclasses import replace

from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, DomainState
from tandem_controller.decide.world import delivery
from tandem_controller.decide.world.hosts import rebooted, unable, unfit
from tandem_controller.decide.world.model import Case, Freshness, HostView, Keep, Refusal
from tandem_controller.decide.world.replicas import in_sync


def preferred_host(case: Case) -> str:
    """The host whose site the guest prefers; empty if it likes both the same."""
    views = [view for view in map(case.view, case.replicas) if view is not None]
    wanted = case.guest.spec.placement.preferred_site
    if wanted is not None:
        return next((view.name for view in views if view.site_name == wanted), "")
    ranked = sorted(views, key=_site_priority, reverse=True)
    if len(ranked) == 2 and _site_priority(ranked[0]) == _site_priority(ranked[1]):
        return ""
    return ranked[0].name if ranked else ""


def _site_priority(view: HostView) -> int:
    return view.site.spec.priority if view.site else 0


def choose(case: Case, *, last_resort: bool = False) -> str | Refusal:
    """The best host that may start the guest, none owning the mirror; or why there is none.

    ``last_resort``: a host in maintenance will do, as where it was cannot have it.
    """
    refusals = {host: cannot_start(case, host, last_resort) for host in case.replicas}
    fit = [host for host, refusal in refusals.items() if refusal is None]
    if fit:
        return min(fit, key=lambda host: _rank(case, host))
    sentences = "; ".join(refusal.message for refusal in refusals.values() if refusal)
    first = next(refusal for refusal in refusals.values() if refusal)
    return Refusal(first.reason, f"No host can start it: {sentences}")


def libvirt_silent(case: Case, host: str) -> Refusal | None:
    """Why nothing can be started there now, as the host says, or None."""
    report, view = case.guest.status.hosts.get(host), case.view(host)
    if report is None or view is None or rebooted(view, report.instance):
        return None
    if report.state != DomainState.UNKNOWN:
        return None
    return Refusal(
        Reason.HOST_NOT_READY, f"libvirt does not answer on {host}: look at libvirtd there"
    )


def refused_before(case: Case, host: str) -> Refusal | None:
    """Why this host is known not to be able to start it, or None."""
    report, view = case.guest.status.hosts.get(host), case.view(host)
    if report is None or view is None or rebooted(view, report.instance):
        return None
    if not report.refused_start:
        return None
    return Refusal(
        Reason.START_REFUSED,
        f"{host} could not start it: {report.refused_start}. Once that is mended, restart"
        f" tandem-actuator on {host} or edit the guest",
    )


def cannot_run(case: Case, host: str) -> Refusal | None:
    """What speaks against this host if there is another."""
    return libvirt_silent(case, host) or refused_before(case, host)


def worth_waiting_for(case: Case) -> HostView | None:
    """A host that may start the guest, and whose heartbeat will soon be known to be well or not."""
    undecided = (Freshness.UNKNOWN, Freshness.LATE)
    views = (case.view(host) for host in case.replicas if case.authority.may_own(host))
    return next((view for view in views if view and view.freshness in undecided), None)


def preferred_but_nearly_ready(case: Case) -> Keep | None:
    """A new guest waits a moment for the host that it prefers to be sure of its replica.

    Both hosts clear their markers at about the same time after the first sync. Without this, who
    is first would get the guest, and would keep it.
    """
    host = preferred_host(case)
    report = case.report(host) if host else None
    fit = case.authority.may_own(host) and unfit(case.view(host), host) is None
    marker = report.marker.reason if report and report.marker else None
    soon = marker is Reason.ATTACHED_NOT_UP_TO_DATE and in_sync(case.mirror, case.world) is True
    if not (fit and soon):
        return None
    return Keep(
        Reason.MIRROR_NOT_READY,
        f"waiting for {host}, which it prefers, to make sure that its replica is current",
    )


def _rank(case: Case, host: str) -> tuple[bool, bool, int, int, str]:
    """Not known to be unable, then preferred, then the higher priority, then fewer guests."""
    view = case.view(host)
    assert view is not None
    return (
        cannot_run(case, host) is not None,
        host != preferred_host(case),
        -_site_priority(view),
        case.world.load(host).guests,
        host,
    )


def cannot_start(case: Case, host: str, last_resort: bool) -> Refusal | None:
    """Rule 6 as far as it is seen from here; the host looks again. ``last_resort`` as in choose."""
    entry = case.authority.eligible.get(host)
    if not case.authority.may_own(host):
        why = entry.reason if entry else Reason.NOT_INITIALISED
        return Refusal(Reason.NOT_ELIGIBLE, f"{host} may lack acknowledged writes ({why})")
    fit = unable if last_resort else unfit
    return fit(case.view(host), host) or unusable_replica(case, host) or no_room(case, host)


def unusable_replica(case: Case, host: str) -> Refusal | None:
    """Why the host's own word rules its replica out, unless a person has overridden that."""
    report, view = case.report(host), case.view(host)
    overridden = _is_overridden(case, host, report)
    unanswered = delivery.unanswered(case.mirror, host, case.world)
    if unanswered is not None:
        return replace(unanswered, message=f"{host} can claim nothing: {unanswered.message}")
    if report is None:
        return Refusal(Reason.MIRROR_NOT_READY, f"{host} has not reported on its replica yet")
    if report.marker and not overridden:
        return Refusal(
            Reason.MARKED_STALE,
            f"{host}'s replica is marked as possibly stale ({report.marker.reason}); it must be in"
            " sync with the other once before it can be promoted",
        )
    if view is not None and rebooted(view, report.instance):
        return Refusal(
            Reason.MIRROR_NOT_READY, f"{host} has not reported on its replica since it booted"
        )
    return _unusable_disk(case, host, report, USABLE | OVERRIDABLE if overridden else USABLE)


def _is_overridden(case: Case, host: str, report: ReplicaReport | None) -> bool:
    """Whether a person's order covers what is in doubt of it: as its host sees that, until it has
    been used, and on that boot.
    """
    authority, order = case.authority, case.authority.override
    if order is None or order.host != host or authority.owner not in ("", host):
        return False
    said = Instance.parse(report.instance) if report is not None else None
    return not authority.owner or (said is not None and said.same_boot(authority.owner_instance))


USABLE = frozenset({DiskState.UP_TO_DATE, DiskState.CONSISTENT})
OVERRIDABLE = frozenset({DiskState.OUTDATED})
CANNOT_BRING_UP = (
    Reason.EFFECT_FAILED,
    Reason.METADATA_MISSING,
    Reason.METADATA_OF_OTHER_DRBD,
    Reason.UNKNOWN_STATE,
)
"""What a host says of a replica that it tried to bring up in vain."""


def cannot_come_up(report: ReplicaReport | None) -> bool:
    """Whether a host has tried to bring its replica up, in vain."""
    return report is not None and report.not_up and report.reason in CANNOT_BRING_UP


def _unusable_disk(
    case: Case, host: str, report: ReplicaReport, usable: frozenset[str]
) -> Refusal | None:
    """Rule 6: every volume's disk must be there to be promoted.

    A host that could not bring its replica up tells no disks, and why in its message.
    """
    if report.not_up:
        stuck = cannot_come_up(report)
        why = report.message if stuck else report.bug or "it is being brought up"
        reason = Reason.DISK_NOT_USABLE if stuck else Reason.MIRROR_NOT_READY
        return Refusal(reason, f"{host}'s replica is not up: {why}")
    states = {name: volume.disk for name, volume in sorted(report.volumes.items())}
    for volume in case.mirror.volume_names:
        states.setdefault(volume, "not there")
    bad = [f"{name} is {disk or 'unknown'}" for name, disk in states.items() if disk not in usable]
    if not bad:
        return None
    return Refusal(Reason.DISK_NOT_USABLE, f"{host}'s replica is of no use: {', '.join(bad)}")


def no_room(case: Case, host: str) -> Refusal | None:
    """Why the guest's memory does not fit there beside what is assigned already, or None."""
    view = case.view(host)
    if view is None or view.host.spec.capacity is None or case.assigned == host:
        return None
    capacity = view.host.spec.capacity.memory
    needed = case.guest.spec.domain.memory.bytes
    if case.world.load(host).memory_bytes + needed <= capacity.bytes:
        return None
    return Refusal(
        Reason.NO_ROOM,
        f"{host} has no room for another {case.guest.spec.domain.memory}: its {capacity} are"
        " promised to other guests",
    )


def untried_hardware(guest: Guest, hosts: tuple[str, ...]) -> Refusal | None:
    """Why the guest would not start there as it is meant, by the hosts' own look ahead."""
    reports = {host: guest.status.hosts.get(host) for host in hosts}
    # An actuator that does not look ahead yet tells nothing.
    tried = {host: report.hardware for host, report in reports.items() if report}
    wanted = guest.spec.domain.fingerprint
    for host, found in tried.items():
        if found is not None and found.fingerprint != wanted:
            message = f"{host} has not tried yet whether it can start spec.domain"
            return Refusal(Reason.HARDWARE_UNCHECKED, message)
        if found is not None and found.problems:
            return Refusal(Reason.HARDWARE_REFUSED, "; ".join(found.problems))
    return None
