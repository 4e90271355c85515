"""Who may write what into a status: what RBAC cannot say.

RBAC lets every host patch every Mirror's and Guest's status. These rules bind each writer to its
own part: a host to its own entries and to an authority in its own name, the controller to the
rest. And nobody, a person with ``kubectl edit`` neither, may write an authority that no rule of
the protocol leads to: an epoch that does not rise by one, an owner without a replica.

``policies`` says the same to the API server, in CEL. Pure: the object before and after, and who
writes. Called by the controller's admission webhook, and by tests that hold every transition of
``tandem_actuator.core.authority``, and the policies, against it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from tandem_api.authority import Authority, Mode, missteps
from tandem_api.kinds.guest import TAKEOVER_PROOFS, Assignment, FencingProof, Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import lease_name
from tandem_api.meta import Problem
from tandem_api.registry import BY_NAME

HOST_USER_PREFIX = "tandem:host:"
HOSTS_GROUP = "tandem:hosts"
CONTROLLER_USER = "system:serviceaccount:tandem-system:tandem-controller"

Raw = Mapping[str, Any]


class Party(StrEnum):
    """What a writer is to Tandem. Everybody who is no program of Tandem's is a person."""

    HOST = "Host"
    CONTROLLER = "Controller"
    PERSON = "Person"


@dataclass(frozen=True)
class Writer:
    """Who writes. ``host`` is a host's name, else empty."""

    party: Party
    host: str = ""

    @classmethod
    def of(
        cls, user: str, groups: Iterable[str] = (), controller: str = CONTROLLER_USER
    ) -> "Writer":
        """The writer whom the API server knows by this name and these groups.

        Somebody in the hosts' group without a host's name is a host that nothing belongs to.
        """
        if user.startswith(HOST_USER_PREFIX):
            return cls(Party.HOST, user.removeprefix(HOST_USER_PREFIX))
        if HOSTS_GROUP in groups:
            return cls(Party.HOST)
        return cls(Party.CONTROLLER if user == controller else Party.PERSON)

    def __str__(self) -> str:
        return (
            f"host {self.host or 'without a name'}"
            if self.party is Party.HOST
            else self.party.lower()
        )


def status_problems(kind: str, writer: Writer, old: Raw, new: Raw) -> list[Problem]:
    """What this writer may not do about a status; empty if the write is all right.

    ``old`` and ``new`` are whole objects.
    """
    found = list(_fields(kind, writer, old, new))
    if kind == "Mirror" and not found:
        found += _authority(writer, old, new)
    return found


# -- whose field it is


def _fields(kind: str, writer: Writer, old: Raw, new: Raw) -> Iterator[Problem]:
    before, after = _status(old), _status(new)
    info = BY_NAME[kind]
    entries, own = info.hosts_entries, info.hosts_own
    for field in changed(before, after):
        path = f"status.{field}"
        if field in info.shared or writer.party is Party.PERSON:
            continue
        if writer.party is Party.CONTROLLER:
            if field == entries or field in own:
                yield Problem(path, "is each host's own; the controller leaves it alone")
        elif field == entries:
            yield from _entries(path, writer, _mapping(before, field), _mapping(after, field))
        elif field not in own:
            yield Problem(path, f"is not a host's to write, and {writer} did")
        elif new["metadata"]["name"] != writer.host:
            yield Problem(path, f"belongs to host {new['metadata']['name']}, not to {writer}")


def _entries(path: str, writer: Writer, before: Raw, after: Raw) -> Iterator[Problem]:
    for name in sorted(before.keys() | after.keys()):
        same = name in before and name in after and before[name] == after[name]
        if name != writer.host and not same:
            yield Problem(f"{path}.{name}", f"belongs to host {name}, not to {writer}")


def lease_problems(writer: Writer, name: str) -> list[Problem]:
    """Why this writer may not make the Lease of that name in Tandem's namespace.

    Who may renew one, RBAC says; but a creation it cannot bind to a name.
    """
    if writer.party is Party.HOST and name != lease_name(writer.host):
        own = lease_name(writer.host)
        return [Problem("metadata.name", f"{writer} makes no Lease but {own}")]
    if writer.party is not Party.HOST and name.startswith(lease_name("")):
        return [Problem("metadata.name", f"{name} is a heartbeat; the host itself makes it")]
    return []


def override_problems(user: str, old: Raw | None, new: Raw) -> list[Problem]:
    """Why this user may not order what stands in ``spec.override``: in another's name."""
    before = _mapping(old or {}, "spec").get("override")
    order = _mapping(new, "spec").get("override")
    if not isinstance(order, Mapping) or order == before or order.get("by") == user:
        return []
    said = f"is {order.get('by')}, and it is {user} who orders it; write that name"
    return [Problem("spec.override.by", said)]


def changed(before: Raw, after: Raw) -> list[str]:
    """The names whose values differ; absent, null and empty text are the same."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if (before.get(name) or None) != (after.get(name) or None)]


def _status(raw: Raw) -> Raw:
    return _mapping(raw, "status")


def _mapping(raw: Raw, field: str) -> Raw:
    found = raw.get(field)
    return found if isinstance(found, Mapping) else {}


# -- the authority

FIELD = "status.authority"


def _authority(writer: Writer, old: Raw, new: Raw) -> Iterator[Problem]:
    if not changed({"": _status(old).get("authority")}, {"": _status(new).get("authority")}):
        return
    try:
        before, mirror = Mirror.parse(old), Mirror.parse(new)
    except ValidationError as error:
        yield Problem(FIELD, f"cannot be read after this write ({error.error_count()} problems)")
        return
    was, now = before.status.authority, mirror.status.authority
    if now is None:
        yield Problem(FIELD, "cannot be removed: it says who may write, and which writes count")
    elif was is None:
        yield from _first(writer, now)
    else:
        yield from _next(was, now, mirror)
        if writer.party is Party.HOST:
            yield from _by_host(writer, was, now)
            yield from _claim(writer, was, now, mirror)
        elif writer.party is Party.CONTROLLER:
            yield from _by_controller(was, now)


def _first(writer: Writer, now: Authority) -> Iterator[Problem]:
    if writer.party is Party.HOST:
        yield Problem(FIELD, f"is set up by the controller, and {writer} did")
    if now.epoch != 1 or now.owner:
        yield Problem(FIELD, "must begin at epoch 1 without an owner")


def _next(was: Authority, now: Authority, mirror: Mirror) -> Iterator[Problem]:
    """What holds for every write, whoever's."""
    for field, message in missteps(was, now):
        yield Problem(f"{FIELD}.{field}", message)
    hosts = [replica.host for replica in mirror.spec.replicas]
    if now.owner and now.owner not in hosts and now.owner != was.owner:
        yield Problem(
            f"{FIELD}.owner", f"{now.owner} keeps no replica of it; {' or '.join(hosts)} do"
        )
    if not now.names_its_owner:
        yield Problem(
            f"{FIELD}.ownerInstance", f"{now.owner_instance!r} is none of {now.owner!r}'s"
        )


def _by_host(writer: Writer, was: Authority, now: Authority) -> Iterator[Problem]:
    """A host writes in its own name: it claims, keeps or gives up, and speaks for nobody else."""
    me = writer.host
    claims = now.owner == me and was.owner != me
    if was.owner not in ("", me) and not claims:
        yield Problem(FIELD, f"is {was.owner}'s; {writer} may only claim it")
    hands = was.owner == me and hands_over(was, now)
    if now.owner not in ("", me) and not hands:
        yield Problem(f"{FIELD}.owner", f"is {now.owner}: {writer} may write its own name alone")
    known = now.mode in (Mode.MIRRORED, Mode.STANDALONE)
    known = known or (now.mode is Mode.MIGRATING and _begins_to_migrate(me, was, now))
    if now.mode is not was.mode and (was.mode is Mode.HOLD or not known):
        yield Problem(f"{FIELD}.mode", f"no host may change it from {was.mode} to {now.mode}")
    others = [name for name in changed(_wire(was.fenced), _wire(now.fenced)) if name != me]
    if others and now.fenced:
        yield Problem(f"{FIELD}.fenced.{others[0]}", f"is that host's own word, not {writer}'s")
    if now.override is not None and now.override != was.override:
        yield Problem(f"{FIELD}.override", f"is a person's order, and {writer} wrote one")
    if now.handed_over not in ("", was.handed_over) and not hands:
        said = "is for the host to say that has sent the guest, of this migration"
        yield Problem(f"{FIELD}.handedOver", said)


def _begins_to_migrate(me: str, was: Authority, now: Authority) -> bool:
    """The owner is to send the guest from here to the other host; it is the owner still."""
    ends = (now.migration.source, now.migration.target) if now.migration else ("", "")
    leads = ends[0] == me and ends[1] not in ("", me)
    return leads and was.mode is Mode.MIRRORED and was.owner == now.owner == me


def hands_over(was: Authority, now: Authority) -> bool:
    """The one way in which an owner makes another host that: the target of its own migration."""
    return (
        was.mode is Mode.MIGRATING
        and was.migration is not None
        and (now.owner, now.handed_over) == (was.migration.target, was.migration.id)
    )


def _wire(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.wire() for name, value in mapping.items()}


def _claim(writer: Writer, was: Authority, now: Authority, mirror: Mirror) -> Iterator[Problem]:
    """Rules 6, 12 and 14, as far as objects show them."""
    me = writer.host
    if now.owner != me or was.owner == me:
        return
    if was.owner and was.mode is Mode.STANDALONE:
        yield Problem(
            f"{FIELD}.owner", f"{was.owner} may have written alone; {writer} cannot have it"
        )
    if not was.may_own(me):
        yield Problem(f"{FIELD}.owner", f"{me} may lack acknowledged writes; it cannot have it")
    claimants = mirror.status.claimants
    if claimants is None:
        return  # as set up before there was such a field
    if me not in claimants:
        yield Problem(f"{FIELD}.owner", f"no guest of this mirror is assigned to {me}")
    elif was.owner and not proves(claimants[me].proof, was):
        yield Problem(
            f"{FIELD}.owner",
            f"the assignment to {me} holds no proof that {was.owner} has stopped"
            f" ({was.owner_instance} at epoch {was.epoch})",
        )


def order_for(mirror: Mirror, host: str, guests: Iterable[Guest]) -> Assignment | None:
    """The assignment of a guest of this mirror to that host, if there is one."""
    for guest in guests:
        assignment = guest.status.assignment
        if guest.mirror_key == mirror.key and assignment and assignment.host == host:
            return assignment
    return None


def proves(proof: FencingProof | None, was: Authority) -> bool:
    """Whether the proof shows that this very owner had stopped (rules 12 and 13)."""
    return (
        proof is not None
        and proof.kind in TAKEOVER_PROOFS
        and (proof.at_epoch, proof.instance) == (was.epoch, was.owner_instance)
    )


def _by_controller(was: Authority, now: Authority) -> Iterator[Problem]:
    """The controller changes an authority only by a person's order."""
    if now.owner or now.override is None or now.override == was.override:
        yield Problem(FIELD, "is the hosts' to change; the controller carries out overrides only")
