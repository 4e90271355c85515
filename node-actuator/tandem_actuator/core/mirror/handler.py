"""DRBD's questions: may a frozen Primary go on alone, may a promotion go on without the peer?

DRBD asks through the fence-peer program; the answer is an exit code. As in ``procedures``, each is
a generator of effects. Called by ``loop``.
"""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal, Refusal
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import (
    DrbdRead,
    Finished,
    MirrorRead,
    Procedure,
    QueryDrbd,
    ReadMirror,
    Wait,
)
from tandem_actuator.core.mirror.transaction import (
    UnexpectedOutcome,
    Won,
    facts_of,
    refused,
    transact,
    words,
)
from tandem_actuator.core.model import View
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role

LINK_LOSS_RETRY_S = 0.5
EXIT_STAY_FROZEN = 1
EXIT_PEER_FENCED = 4
EXIT_PEER_IS_PRIMARY = 6


def link_loss(view: View) -> Procedure:
    """Rule 4. Finished.reason LINK_LOST is the grant; every other reason leaves DRBD frozen.

    Holds off first, so that a dying site does not get the grant, then asks until there is an
    answer or the link is back. The caller maps the end to an exit code with ``exit_code``.
    """
    yield Wait(view.mirror.spec.link_loss_holdoff_seconds)
    while True:
        won = yield from transact(view, rules.grant_link_loss)
        if isinstance(won, Won):
            return Finished(Reason.LINK_LOST, "may write alone; the peer is out", progress=True)
        if won.reason not in (Reason.API_UNREACHABLE, Reason.OUTCOME_UNKNOWN):
            return refused(won)
        fresh = yield QueryDrbd()
        if isinstance(fresh, DrbdRead) and isinstance(fresh.drbd, DrbdState):
            if fresh.drbd.connected:
                return Finished(Reason.LINK_IS_BACK, "the link is back", progress=False)
            if fresh.drbd.role is not Role.PRIMARY:
                return Finished(Reason.NOT_OWNER, "no longer Primary", progress=False)
        yield Wait(LINK_LOSS_RETRY_S)


def promotion(view: View) -> Procedure:
    """Rule 5: asked by DRBD while the own promotion is under way. One read, no DRBD query."""
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False)
    verdict = rules.confirm_promotion(read.mirror, facts_of(replace(view, record=read.record)))
    if isinstance(verdict, Refusal):
        return refused(verdict)
    if isinstance(verdict, Proposal):
        raise UnexpectedOutcome(verdict)
    return Finished(Reason.PROMOTING, "owner is this instance, and the peer is out", progress=True)


def exit_code(finished: Finished) -> int:
    """What the fence-peer program must exit with. A refusal is never 3, 4, 5 or 7 (rule 4, 5)."""
    if finished.reason in (Reason.LINK_LOST, Reason.PROMOTING) and finished.progress:
        return EXIT_PEER_FENCED
    if finished.reason is Reason.PEER_HOLDS_STANDALONE:
        return EXIT_PEER_IS_PRIMARY
    return EXIT_STAY_FROZEN
