"""Who may write a mirror: the one struct that is only ever changed by a compare-and-swap.

Defines the values. The transitions are in ``tandem_actuator.core.authority`` (a host claims,
is granted, restores, releases) and ``tandem_controller.decide.override`` (a person overrides).
"""

from enum import StrEnum
from functools import lru_cache

from tandem_api.meta import Model
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
    """A live migration under way."""

    id: str
    source: str
    target: str


class Override(Model):
    """A person's decision to go on without writes that only the other side has."""

    by: str
    at_epoch: int
    accept_data_loss: bool
    host: str


class Authority(Model):
    """Mirror.status.authority. ``epoch`` rises by one with every write to it."""

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
    override: Override | None = None

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
    instance = Instance.parse(authority.owner_instance)
    if authority.epoch < 1:
        return f"its epoch is {authority.epoch}"
    if (instance.node if instance else "") != authority.owner:
        return f"its owner {authority.owner!r} is not who {authority.owner_instance!r} is"
    if authority.mode is not Mode.STANDALONE or not authority.owner:
        return ""
    others = [host for host in authority.eligible if host != authority.owner]
    promotable = [host for host in others if authority.may_own(host)]
    if promotable:
        return f"{authority.owner} may write alone, and {', '.join(promotable)} is eligible"
    return ""


def transition(before: Authority, after: Authority, *, mends: bool = False) -> Authority:
    """``after``, if it may follow. Every transition ends here, in production too.

    ``mends``: a person's order goes on from anything.

    Raises: Unlawful
    """
    wrong = violation(after) if mends else violation(before) or violation(after)
    if not wrong and after.epoch != before.epoch + 1:
        wrong = f"epoch {after.epoch} follows epoch {before.epoch}"
    if not wrong and after.incarnation != before.incarnation:
        wrong = f"incarnation {after.incarnation} follows {before.incarnation}"
    if not wrong and after.min_protocol < before.min_protocol:
        wrong = f"protocol {after.min_protocol} follows {before.min_protocol}"
    if wrong:
        raise Unlawful(wrong)
    return after
