"""Rule 3: read, look, judge, swap, and only then act; and what an unanswered swap came to."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Proposal, Refusal, Settled, Verdict
from tandem_actuator.core.effects import (
    DrbdRead,
    Effect,
    Failed,
    Finished,
    MirrorRead,
    Outcome,
    QueryDrbd,
    ReadMirror,
    Swap,
    SwapLost,
    Swapped,
    SwapUnclear,
    UpdateRecord,
)
from tandem_actuator.core.model import View
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason

SWAP_TRIES = 4
Proposer = Callable[[Mirror, Facts, str], Verdict]


class UnexpectedOutcome(Exception):
    """An effect was answered with something that it cannot be answered with: a bug."""


@dataclass(frozen=True)
class Won:
    """The swap is ours, and durable. ``since_s`` is from before it was sent."""

    mirror: Mirror
    force: bool
    since_s: float


Transaction = Generator[Effect, Outcome, Won | Refusal]


def facts_of(view: View, read: DrbdRead | None = None) -> Facts:
    """The first-hand facts in a view, with a fresher DRBD reading if there is one."""
    drbd = read.drbd if read else view.drbd
    return Facts(
        host=view.host,
        peer=view.peer,
        instance=view.instance,
        record=view.record,
        drbd=drbd,
        now_s=read.now_s if read else 0.0,
        link_lost_at_s=read.link_lost_at_s if read else view.link_lost_at_s,
        last_packet_at_s=read.last_packet_at_s if read else view.packets.last_at_s,
        link_wait_s=max(view.timing.link_wait_s, (view.peer_timing or view.timing).link_wait_s),
    )


def transact(view: View, propose: Proposer) -> Transaction:
    """Rule 3: quorum read → fresh DRBD query → swap → durable record. Unknown is not granted.

    An unanswered swap may still land: the next read tells, by the request's id. It can only ever
    land on the epoch that it was made for, so a later decision cannot be overwritten by it.
    """
    mine: dict[str, float] = {}
    last = ""
    for _ in range(SWAP_TRIES):
        read = yield ReadMirror()
        if not isinstance(read, MirrorRead):
            return Refusal(Reason.API_UNREACHABLE, words(read))
        view, authority = replace(view, record=read.record), read.mirror.status.authority
        if authority and authority.request_id in mine:
            return (yield from _record_won(read.mirror, view, mine[authority.request_id]))
        fresh = yield QueryDrbd()
        if not isinstance(fresh, DrbdRead):
            raise UnexpectedOutcome(fresh)
        verdict = propose(read.mirror, facts_of(view, fresh), read.request_id)
        if isinstance(verdict, Refusal):
            return verdict
        if isinstance(verdict, Settled):
            return (yield from _settled(read.mirror, view, fresh.now_s, verdict.force))
        obstacle = yield from _noted_first(authority, verdict, facts_of(view, fresh))
        if obstacle is not None:
            return obstacle
        mine[read.request_id] = fresh.now_s
        assert authority is not None
        outcome = yield Swap(authority.epoch, verdict.authority)
        if isinstance(outcome, Swapped):
            return (yield from _record_won(outcome.mirror, view, fresh.now_s, verdict.force))
        if isinstance(outcome, Failed):
            return Refusal(Reason.EFFECT_FAILED, words(outcome))
        if not isinstance(outcome, SwapLost | SwapUnclear):
            raise UnexpectedOutcome(outcome)
        last = outcome.message if isinstance(outcome, SwapUnclear) else "somebody else was quicker"
    why = f"the swap was lost or unanswered several times; the last time: {last}"
    return Refusal(Reason.OUTCOME_UNKNOWN, why)


def _noted_first(
    authority: Authority | None, proposal: Proposal, facts: Facts
) -> Generator[Effect, Outcome, Refusal | None]:
    """What must stand in the durable record before the swap is sent, or why it must not be."""
    if authority is None:
        return Refusal(Reason.NOT_INITIALISED, "the controller has not set it up yet")
    ended = rules.ended_by(authority, proposal.authority, facts)
    if ended is None or isinstance(ended, Refusal):
        return ended
    stored = yield UpdateRecord(outgoing=ended)
    if isinstance(stored, Failed):
        return Refusal(Reason.EFFECT_FAILED, f"the durable record: {stored.message}")
    return None


def _record_won(mirror: Mirror, view: View, since_s: float, force: bool = False) -> Transaction:
    """Make the new epoch durable before anything is done on its strength."""
    authority = mirror.status.authority
    assert authority is not None
    owned = authority.epoch if authority.owner == view.host else 0
    stored = yield UpdateRecord(
        epoch=authority.epoch, owned_epoch=owned, incarnation=authority.incarnation
    )
    if isinstance(stored, Failed):
        return Refusal(Reason.EFFECT_FAILED, f"the durable record: {stored.message}")
    return Won(mirror, force, since_s)


def _settled(mirror: Mirror, view: View, since_s: float, force: bool) -> Transaction:
    """It was won before. The store that belonged to it may have failed."""
    authority = mirror.status.authority
    if authority is not None and authority.epoch > view.record.max_epoch:
        return (yield from _record_won(mirror, view, since_s, force))
    return Won(mirror, force, since_s)


def words(outcome: Outcome) -> str:
    return str(getattr(outcome, "message", outcome))


def refused(refusal: Refusal) -> Finished:
    return Finished(refusal.reason, refusal.message, progress=False)


def failed(what: str, outcome: Failed) -> Finished:
    message = f"{what}: {outcome.message}"
    return Finished(Reason.EFFECT_FAILED, message, progress=True, failed=True)
