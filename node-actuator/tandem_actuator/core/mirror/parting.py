"""How an owner gives up a connection that lets nothing through, step by step: see ``fruitless``."""

from tandem_actuator.core import authority as rules
from tandem_actuator.core.effects import (
    CheckFiles,
    Disconnect,
    Failed,
    Finished,
    Procedure,
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


def part(view: View) -> Procedure:
    """Give a connection up that lets nothing through, and stay alone (``resting``).

    It may be back after any look, and to disconnect then is a graceful goodbye: so leave to write
    alone is won first, as in ``ask_again``, and the guest must not live on the link alone. DRBD
    asks again as it parts, if it is frozen, and gets that leave.
    """
    checked = yield CheckFiles()
    if isinstance(checked, Failed):
        return _kept(view, unread(view.host, checked.message))
    won = yield from transact(view, rules.grant_link_loss)
    if not isinstance(won, Won):
        back = won.reason is Reason.LINK_IS_BACK
        why = "leave does not come before it is connected again" if back else won.message
        return _kept(view, why) if won.reason in IN_VAIN else refused(won)
    parted = Disconnect(needs_heartbeat=True)
    return (yield from sequence(Reason.LINK_UNUSABLE, "goes on alone", ("disconnect", parted)))


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
