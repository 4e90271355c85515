"""Which copy of a mirror is the better one, and which could be gone on with: for overrides.

What people are advised to give up, and what they may give up, is decided here alone. Pure. Called
by ``override`` and by what says why a guest is not started.
"""

from tandem_api.authority import Mode
from tandem_api.kinds.mirror import Mirror, OverrideRequest
from tandem_api.meta import moment
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState
from tandem_controller.decide.world.hosts import rebooted
from tandem_controller.decide.world.model import Refusal, World
from tandem_controller.decide.world.power import off
from tandem_controller.decide.world.replicas import differing_though_current, in_sync

IN_DOUBT = (Reason.MARKED_STALE, Reason.NOT_ELIGIBLE)
"""Why a copy is not gone on with that can be, if a person says so."""
READABLE = frozenset({DiskState.UP_TO_DATE, DiskState.CONSISTENT, DiskState.OUTDATED})
"""Disks that hold some state of the whole volume, if perhaps an old one."""


def better(mirror: Mirror) -> str:
    """The host that alone has every acknowledged write; empty if none, or if that is not known.

    The authority's word does not count if that host's disk has failed: what was written after that
    only the other one may have.
    """
    alone = _alone(mirror)
    return "" if alone and _has_failed(mirror, alone) else alone


def _alone(mirror: Mirror) -> str:
    """The only host that may own the mirror, by the authority's word; empty if none."""
    authority = mirror.status.authority
    if authority is None or not authority.initialised:
        return ""
    if authority.mode is Mode.STANDALONE:
        return authority.owner
    able = [replica.host for replica in mirror.spec.replicas if authority.may_own(replica.host)]
    return able[0] if len(able) == 1 else ""


def reachable(mirror: Mirror, host: str, world: World) -> bool:
    """Whether this host is heard and says that its copy can be read."""
    view, report = world.hosts.get(host), mirror.status.replicas.get(host)
    if view is None or report is None or not view.fresh or rebooted(view, report.instance):
        return False
    if report.not_up:
        return False
    names = set(mirror.volume_names)
    readable = {name for name, volume in report.volumes.items() if volume.disk in READABLE}
    return names <= readable


def coming(mirror: Mirror, host: str, world: World) -> bool:
    """Whether this host is heard, and has not said yet what became of its copy since it booted."""
    view, report = world.hosts.get(host), mirror.status.replicas.get(host)
    if view is None or not view.fresh or report is None:
        return False
    if rebooted(view, report.instance):
        return True
    in_vain = (Reason.EFFECT_FAILED, Reason.METADATA_MISSING, Reason.METADATA_OF_OTHER_DRBD)
    return report.not_up and report.reason not in in_vain


def _until_it_came(mirror: Mirror, host: str, world: World) -> str:
    report = mirror.status.replicas.get(host)
    why = f" ({report.bug})" if report is not None and report.bug else ""
    return (
        f"Wait until {host} has brought its replica up{why}; if that does not come,"
        f" {off(host, mirror, world)}"
    )


def advice(mirror: Mirror, target: str, world: World) -> str:
    """What a person can do if ``target`` may lack writes; never to give up the better copy."""
    authority, owner = mirror.status.authority, mirror.peer_of(target)
    assert authority is not None
    here, there = (reachable(mirror, host, world) for host in (target, owner))
    stuck = _not_connecting(mirror)
    if here and there and in_sync(mirror, world):
        return _the_same(mirror, target, owner)
    if here and there and stuck:
        why = mirror.status.replicas[stuck].message
        return f"{stuck} does not connect: {why}{beside(mirror, stuck, world)}"
    if here and there:
        return _neither_is_known_to_be_better(mirror, world)
    for host in (owner, target):
        if coming(mirror, host, world):
            return _until_it_came(mirror, host, world)
    if here:
        marked = mirror.status.replicas[target].marker is not None
        back = f"Bring {owner} back. " if marked else ""
        return f"{back}To accept that, set on the mirror: {override_hint(target, authority.epoch)}"
    if there:
        return (
            f"{target} is not there. To go on with what {owner} has, whatever {target} wrote, set"
            f" on the mirror: {override_hint(owner, authority.epoch)}"
        )
    view, report = world.hosts.get(owner), mirror.status.replicas.get(owner)
    if view is not None and view.fresh and report is not None and report.not_up and report.message:
        return f"{owner}'s replica does not come up: {report.message}. Mend that"
    return f"Bring {owner} back"


def _neither_is_known_to_be_better(mirror: Mirror, world: World) -> str:
    differ = differing_though_current(mirror, world)
    if differ:
        told = f"They are connected, and {differ} bytes differ: DRBD copies nothing by itself"
        return f"{told}{_whose_copy(mirror, 'You')}"
    back = "Bring the replication link back: then they find out by themselves who is current"
    return f"{back}{_whose_copy(mirror, 'If it stays lost, you')}"


def _the_same(mirror: Mirror, target: str, owner: str) -> str:
    """Both are in sync, which makes both count once each host could note it."""
    failing = {
        host: report.message
        for host, report in mirror.status.replicas.items()
        if report.reason is Reason.EFFECT_FAILED
    }
    if owner not in failing:
        return f"Wait until {owner} has noted that both replicas are in sync"
    why = f"Both replicas are in sync, which {owner} cannot note: {failing[owner]}. Mend that"
    authority = mirror.status.authority
    if target in failing or authority is None:
        return why
    hint = override_hint(target, authority.epoch)
    return f"{why}; or go on with what {target} has, which is the same: set on the mirror {hint}"


def _not_connecting(mirror: Mirror) -> str:
    """The one host that cannot connect its replica for want of something else; empty if none."""
    stuck = [
        host
        for host, report in mirror.status.replicas.items()
        if report.connection == Connection.STANDALONE and report.reason is Reason.EFFECT_FAILED
    ]
    return stuck[0] if len(stuck) == 1 else ""


def doubted(mirror: Mirror, world: World) -> str:
    """What a person can do where the one copy that can be read is in doubt of itself; else empty.

    By the authority it has every acknowledged write, if its own disk was not lost for a while: what
    its host wrote then went to the other one alone.
    """
    authority = mirror.status.authority
    there = [each.host for each in mirror.spec.replicas if reachable(mirror, each.host, world)]
    if authority is None or len(there) != 1 or not authority.may_own(there[0]):
        return ""
    host, other = there[0], mirror.peer_of(there[0])
    marker = mirror.status.replicas[host].marker
    if marker is None:
        return ""
    if coming(mirror, other, world):
        return _until_it_came(mirror, other, world)
    if marker.reason is Reason.DIFFERENCE_FOUND:
        return (
            f"{other} has what {host} was found to lack: bring it back. If it is lost, go on with"
            f" what {host} has; set on the mirror: {override_hint(host, authority.epoch)}"
        )
    if marker.reason is not Reason.ATTACHED_NOT_UP_TO_DATE:
        return (
            f"{other} may have what was written after {host}'s disk had failed: bring it and its"
            f" disk back. If they are lost, go on with what {host} has; set on the mirror:"
            f" {override_hint(host, authority.epoch)}"
        )
    return (
        f"{host} has every acknowledged write, unless its disk had failed and {other}'s was written"
        f" alone: then bring {other} back. To start it from what {host} has, set on the mirror:"
        f" {override_hint(host, authority.epoch)}"
    )


def beside(mirror: Mirror, host: str, world: World) -> str:
    """A further sentence: what a person can do where ``host`` cannot start the guest, and the other
    copy can be read, but not gone on with unless a person says so; else empty.
    """
    other = mirror.peer_of(host)
    if coming(mirror, other, world):
        return f". {_until_it_came(mirror, other, world)}"
    if not reachable(mirror, other, world):
        return ""
    lacks = "" if in_sync(mirror, world) else ", which may lack what was written last"
    return f". Mend that, or {off(host, mirror, world)} to go on with what {other} has{lacks}"


def both_doubted(mirror: Mirror, world: World) -> str:
    """What a person can do where both copies can be read, and both are marked; else empty."""
    hosts = [each.host for each in mirror.spec.replicas]
    reports = [mirror.status.replicas.get(host) for host in hosts]
    marked = all(report is not None and report.marker is not None for report in reports)
    there = all(reachable(mirror, host, world) for host in hosts)
    return advice(mirror, hosts[0], world) if marked and there else ""


def lacking(mirror: Mirror, world: World) -> str:
    """What a person can do where the one copy that is there may lack writes; else empty."""
    authority = mirror.status.authority
    there = [each.host for each in mirror.spec.replicas if reachable(mirror, each.host, world)]
    if authority is None or len(there) != 1 or authority.may_own(there[0]):
        return ""
    return advice(mirror, mirror.peer_of(there[0]), world)


def _whose_copy(mirror: Mirror, you: str) -> str:
    """Whose copy a person can go on with where neither is known to be the better one.

    The owner's, for that was written to: unless its disk has failed, and the other's has not. The
    better one needs a person's word only if it is in doubt of itself.
    """
    authority, best = mirror.status.authority, _alone(mirror)
    assert authority is not None
    owner = authority.owner or mirror.spec.replicas[0].host
    peer = mirror.peer_of(owner)
    whole = [host for host in (owner, peer) if not _has_failed(mirror, host)]
    if best:
        said = mirror.status.replicas.get(best)
        whole = [best] if said is not None and said.marker and best in whole else []
    if not whole:
        return _failed_last(mirror, best) or _either_lacks(mirror, best)
    return (
        f". {you} can go on with what {whole[0]} has, whatever the other one wrote"
        f" last: set on the mirror {override_hint(whole[0], authority.epoch)}"
    )


def _either_lacks(mirror: Mirror, best: str) -> str:
    """Of two copies that are both marked, for more than being behind: what is known of them.

    The better one by the authority has lost its disk for a while; or nobody knows of a better.
    """
    authority = mirror.status.authority
    assert authority is not None
    if not best:
        hints = [override_hint(one.host, authority.epoch) for one in mirror.spec.replicas]
        return (
            f". If it stays lost: both copies are in doubt of themselves ({_markers(mirror)}), and"
            " it is not known which of them has more. To go on with one, set on the mirror"
            f" {' or '.join(hints)}"
        )
    other = mirror.peer_of(best)
    lost = "until that failed, too" if _disk_failed(mirror, other) else "while its disk was lost"
    return (
        f". If it stays lost: {other} lacks what {best} wrote alone, and {best} what was written"
        f" to {other} {lost}, if any was. To go on with what {best} has, set on"
        f" the mirror: {override_hint(best, authority.epoch)}"
    )


def _markers(mirror: Mirror) -> str:
    said = sorted(mirror.status.replicas.items())
    return ", ".join(f"{host}: {report.marker.reason}" for host, report in said if report.marker)


def _failed_last(mirror: Mirror, best: str) -> str:
    """Both disks have failed: the one that did so last was written to for longer.

    Unless the authority has another one as the better: then it is not known.
    """
    authority = mirror.status.authority
    assert authority is not None
    markers = {
        host: report.marker
        for host, report in mirror.status.replicas.items()
        if _disk_failed(mirror, host)
    }
    times = {host: moment(marker.since) for host, marker in markers.items() if marker}
    known = {host: at for host, at in times.items() if at is not None}
    if len(known) < 2 or len(set(known.values())) < 2:
        return ""
    first, last = sorted(known, key=lambda host: known[host])
    if best not in ("", last):
        return ""
    early, late = (known[host].isoformat(timespec="seconds") for host in (first, last))
    return (
        ". If it stays lost, you can go on with the copy whose disk failed last: by their hosts'"
        f" clocks {first}'s did so at {early}, and {last}'s at {late}. For {last}'s set on the"
        f" mirror {override_hint(last, authority.epoch)}"
    )


def _disk_failed(mirror: Mirror, host: str) -> bool:
    """Whether its host has seen its disk fail. Other markers have other causes, and other times."""
    report = mirror.status.replicas.get(host)
    marker = report.marker if report else None
    return marker is not None and marker.reason is Reason.LOCAL_DISK_FAILED


def _has_failed(mirror: Mirror, host: str) -> bool:
    """Whether its host has another reason to doubt its copy than that it was behind as it came up:
    most often its disk failed, while the other may have written on.
    """
    report = mirror.status.replicas.get(host)
    marker = report.marker if report else None
    return marker is not None and marker.reason is not Reason.ATTACHED_NOT_UP_TO_DATE


def _unmarked_beside(mirror: Mirror, host: str) -> str:
    """The other host, if only this one's copy is in doubt of itself; else empty."""
    authority, other = mirror.status.authority, mirror.peer_of(host)
    here, there = (mirror.status.replicas.get(each) for each in (host, other))
    if authority is None or here is None or there is None or not authority.may_own(other):
        return ""
    return other if here.marker is not None and there.marker is None else ""


def worse(mirror: Mirror, order: OverrideRequest, world: World) -> Refusal | None:
    """Why a person's order would throw the better copy away, although that is there; or None."""
    if in_sync(mirror, world):
        return None  # nothing is thrown away, whichever it is
    best = better(mirror) or _unmarked_beside(mirror, order.host)
    if best not in ("", order.host) and coming(mirror, best, world):
        return Refusal(
            Reason.OVERRIDE_WAITING,
            f"Waiting to carry out spec.override: {best} has every acknowledged write, which"
            f" {order.host} may lack. {_until_it_came(mirror, best, world)}",
        )
    if best not in ("", order.host) and reachable(mirror, best, world):
        return Refusal(
            Reason.OVERRIDE_REFUSED,
            f"{best} is there with every acknowledged write, which {order.host} may lack. Remove"
            f" spec.override, and start the guest on {best}; or, if those writes shall go,"
            f" {off(best, mirror, world)} first",
        )
    view, report = world.hosts.get(order.host), mirror.status.replicas.get(order.host)
    known = view is not None and view.fresh and report is not None and bool(report.volumes)
    if known and not reachable(mirror, order.host, world):
        return Refusal(
            Reason.OVERRIDE_REFUSED,
            f"{order.host} has no copy that can be read, so there is nothing to go on with there",
        )
    return None


def override_hint(host: str, epoch: int) -> str:
    """What a person has to write to give a mirror to a host that may lack writes."""
    order = f"host: {host}, epoch: {epoch}, acceptDataLoss: true, by: <your user name>"
    return f"spec.override: {{{order}}}"
