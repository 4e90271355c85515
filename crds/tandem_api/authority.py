"""Who may write a mirror: the one struct that is only ever changed by a compare-and-swap.

Defines the values, and how one follows another: ``first_authority`` makes the first, ``next_epoch``
alone raises an epoch. When they may be called is decided elsewhere, in
``tandem_actuator.core.authority`` (a host claims, is granted, restores, releases) and in
``tandem_controller.decide.mirrors.override`` (a person overrides). What others wrote is held
against the same rules by ``writers``.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Self, TypedDict, Unpack

from tandem_api.meta import Model, Problem
from tandem_api.reasons import Reason

PROTOCOL = 1
"""The authority protocol that this code speaks. A struct with a higher minProtocol is held."""


class Mode(StrEnum):
    """How the mirror may be written.

    MIRRORED    a write is acknowledged once both replicas have it; either may become the owner.
    STANDALONE  the owner may acknowledge writes that the other replica lacks.
    HANDOVER    a planned move is under way.
    MIGRATING   a live migration is under way.
    HOLD        something is wrong that a person must look at; nobody may promote.
    """

    MIRRORED = "Mirrored"
    STANDALONE = "Standalone"
    HANDOVER = "Handover"
    MIGRATING = "Migrating"
    HOLD = "Hold"


class Eligibility(Model):
    """Whether a host may become the owner, and why (not)."""

    eligible: bool
    reason: Reason


class Fenced(Model):
    """A host's own word that this instance no longer runs or writes anything."""

    instance: str
    epoch: int


class Migration(Model):
    """A live migration under way: ``source`` owns the mirror and runs the guest until it has handed
    both over. ``by_events``: the source keeps to what a target needs that goes on by DRBD's events,
    before it owns the mirror; one of an earlier release does not.
    """

    id: str
    source: str
    target: str
    by_events: bool = False


class Override(Model):
    """A person's decision to go on without writes that only the other side has."""

    by: str
    at_epoch: int
    accept_data_loss: bool
    host: str


class Authority(Model):
    """Mirror.status.authority. ``epoch`` rises by one with every write to it.

    ``handed_over``: the migration by which its owner has become that, until the owner writes
    anything else. It alone lets a host go on with a guest whose memory it was sent.
    """

    epoch: int
    incarnation: str
    min_protocol: int = PROTOCOL
    request_id: str = ""
    owner: str = ""
    owner_instance: str = ""
    mode: Mode = Mode.MIRRORED
    reason: Reason = Reason.INITIAL
    eligible: dict[str, Eligibility] = {}
    fenced: dict[str, Fenced] = {}
    migration: Migration | None = None
    handed_over: str = ""
    override: Override | None = None

    @property
    def both_count(self) -> bool:
        """Whether every acknowledged write is at both hosts, also while the guest migrates."""
        return self.mode in (Mode.MIRRORED, Mode.MIGRATING)

    def migrates_as(self, migration: str) -> bool:
        """Whether this very migration is under way."""
        return (
            self.mode is Mode.MIGRATING
            and self.migration is not None
            and self.migration.id == migration
        )

    def may_own(self, host: str) -> bool:
        """Whether this host is recorded as holding every acknowledged write."""
        entry = self.eligible.get(host)
        return entry is not None and entry.eligible

    @property
    def initialised(self) -> bool:
        """Whether the replicas were ever in sync: before that no data exists to protect."""
        return any(
            e.eligible or e.reason is not Reason.NOT_INITIALISED for e in self.eligible.values()
        )

    @property
    def names_its_owner(self) -> bool:
        """Whether the owner is the host of the owner's instance, or there is neither."""
        instance = Instance.parse(self.owner_instance)
        return (instance.node if instance else "") == self.owner

    def asked_for_as(self, request_id: str) -> Self:
        """The same, to be swapped in by a request of this name."""
        return self.model_copy(update={"request_id": request_id})


class Instance(Model):
    """One run of one actuator on one boot of one host: ``node/bootID/runID``."""

    node: str
    boot_id: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.node}/{self.boot_id}/{self.run_id}"

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> "Instance | None":
        """The instance written as ``node/bootID/runID``, or None for anything else."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            return None
        return Instance(node=parts[0], boot_id=parts[1], run_id=parts[2])

    def same_boot(self, text: str) -> bool:
        """Whether ``text`` names an instance on the same boot of the same host.

        A restarted actuator is a new run on the same boot. The host's lock file proves that the
        earlier run is gone, so what that run was granted is this run's to use.
        """
        other = Instance.parse(text)
        return other is not None and (other.node, other.boot_id) == (self.node, self.boot_id)


class Unlawful(Exception):
    """An authority that no rule leads to. Whoever was about to go on from it, or to write it,
    stops: it is a bug, or somebody wrote it who must not have.
    """


def violation(authority: Authority) -> str:
    """What of the invariant (docs/protocol.md) this authority breaks by itself, or nothing."""
    if authority.epoch < 1:
        return f"its epoch is {authority.epoch}"
    if not authority.names_its_owner:
        return f"its owner {authority.owner!r} is not who {authority.owner_instance!r} is"
    migration = authority.migration
    if authority.mode is Mode.MIGRATING:
        source, target = (migration.source, migration.target) if migration else ("", "")
        if not source or source != authority.owner or target in ("", source):
            return f"it migrates from {source!r} to {target!r}, and {authority.owner!r} owns it"
    if authority.mode is not Mode.STANDALONE or not authority.owner:
        return ""
    others = [host for host in authority.eligible if host != authority.owner]
    promotable = [host for host in others if authority.may_own(host)]
    if promotable:
        return f"{authority.owner} may write alone, and {', '.join(promotable)} is eligible"
    return ""


def missteps(before: Authority, after: Authority) -> Iterator[Problem]:
    """What no write may do to an authority, whoever writes. Fields are as on the wire."""
    if after.epoch != before.epoch + 1:
        yield Problem(
            "epoch",
            f"goes from {before.epoch} to {after.epoch}; every write raises it by exactly one",
        )
    if after.incarnation != before.incarnation:
        yield Problem("incarnation", "never changes")
    if after.min_protocol < before.min_protocol:
        yield Problem("minProtocol", "never falls")


def transition(before: Authority, after: Authority, *, mends: bool = False) -> Authority:
    """``after``, if it may follow. Every transition ends here, in production too.

    ``mends``: a person's order goes on from anything.

    Raises: Unlawful
    """
    wrong = violation(after) if mends else violation(before) or violation(after)
    wrong = wrong or "; ".join(map(str, missteps(before, after)))
    if wrong:
        raise Unlawful(wrong)
    return after


def first_authority(incarnation: str, hosts: Iterable[str]) -> Authority:
    """Nobody owns it and nobody may, until the replicas were in sync once."""
    nobody = Eligibility(eligible=False, reason=Reason.NOT_INITIALISED)
    return Authority(epoch=1, incarnation=incarnation, eligible=dict.fromkeys(hosts, nobody))


class Changes(TypedDict, total=False):
    """What a transition may change beside the epoch, and who asked for it, why."""

    owner: str
    owner_instance: str
    mode: Mode
    eligible: dict[str, Eligibility]
    fenced: dict[str, Fenced]
    migration: Migration | None
    handed_over: str
    override: Override | None


def next_epoch(
    before: Authority,
    request_id: str,
    why: Reason,
    *,
    mends: bool = False,
    **changes: Unpack[Changes],
) -> Authority:
    """The one place where an authority changes: the epoch always rises by one.

    ``mends``: see ``transition``.

    Raises:
        Unlawful: it must not follow.
        TypeError: a change of what is no field, or of one that is none of a caller's.
    """
    unknown = changes.keys() - Changes.__annotations__.keys()
    if unknown:
        raise TypeError(f"no transition changes {', '.join(sorted(unknown))}")
    always = {
        "epoch": before.epoch + 1,
        "request_id": request_id,
        "reason": why,
        "min_protocol": max(before.min_protocol, PROTOCOL),
    }
    update = {"handed_over": "", **changes, **always}
    return transition(before, before.model_copy(update=update), mends=mends)
