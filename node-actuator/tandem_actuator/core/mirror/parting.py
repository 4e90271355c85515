"""How an owner gives up a connection that lets nothing through, step by step: see ``fruitless``."""

from tandem_actuator.core import authority as rules
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import (
    CheckFiles,
    Disconnect,
    DrbdRead,
    Failed,
    Finished,
    Procedure,
    QueryDrbd,
)
from tandem_actuator.core.mirror.procedures import sequence, unread
from tandem_actuator.core.mirror.transaction import Won, refused, transact
from tandem_actuator.core.model import View
from tandem_api.reasons import Reason

IN_VAIN = (
    Reason.API_UNREACHABLE,
    Reason.OUTCOME_UNKNOWN,
    Reason.EFFECT_FAILED,
    Reason.LINK_IS_BACK,
)
"""Nothing speaks against leave, and it is not to be had before the link is back."""


def part(view: View, *, without_leave: bool = False) -> Procedure:
    """Give a connection up that lets nothing through, and stay alone (``resting``).

    It may be back after any look, and to disconnect then is a graceful goodbye: so leave to write
    alone is won first, as in ``ask_again``, and the guest must not live on the link alone. DRBD
    asks again as it parts, if it is frozen, and gets that leave.
    """
    checked = yield CheckFiles()
    if isinstance(checked, Failed):
        return _kept(view, unread(view.host, checked.message))
    if without_leave:
        return (yield from _stay_frozen(view))
    won = yield from transact(view, rules.grant_link_loss)
    if not isinstance(won, Won):
        back = won.reason is Reason.LINK_IS_BACK
        why = "leave does not come before it is connected again" if back else won.message
        return _kept(view, why) if won.reason in IN_VAIN else refused(won)
    parted = Disconnect(needs_heartbeat=True)
    return (yield from sequence(Reason.LINK_UNUSABLE, "goes on alone", ("disconnect", parted)))


def _stay_frozen(view: View) -> Procedure:
    """Part as a lost link does: frozen, so that nothing is acknowledged that the peer lacks.

    Only as long as it is lost. If it comes back in the moment between, the peer outdates itself as
    they part, durably, and this side goes on alone as ``degrade`` says later (rule 1).
    """
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead) or not isinstance(fresh.drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=False)
    if not fresh.drbd.frozen:
        return Finished(Reason.LINK_UNUSABLE, view.standstill.link.kept, progress=False)
    message = f"parted, so that its guest can go on at {view.peer} or with leave"
    return (yield from sequence(Reason.LINK_UNUSABLE, message, ("disconnect", Disconnect())))


def _kept(view: View, why: str) -> Finished:
    return Finished(Reason.LINK_UNUSABLE, kept(view, why), progress=False, failed=True)


def kept(view: View, why: str) -> str:
    """What to tell of a guest whose owner does not part."""
    dead = f"killed on {view.host}, and executes nothing there any more: "
    since = f"since {view.standstill.link.since} no connection to {view.peer} has let a write"
    return (
        f"{dead if view.guest_is_dead else ''}{since} through: {compare_pings(view)}. It cannot go"
        f" on alone either: {why}"
    )


def compare_pings(view: View) -> str:
    """How a person finds out."""
    peer = view.addresses.get(view.peer, view.peer)
    return (
        "the path may lose large packets. Compare"
        f" `ping -M do -s 8972 {peer}`, or -s 1472 without jumbo frames, with a plain ping"
    )
