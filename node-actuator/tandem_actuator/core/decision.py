"""What may be decided for a mirror: to run a procedure, or to stay, and why. See ``decide``.

Values, and what several rules and reports ask of a view.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import Procedure
from tandem_actuator.core.model import View
from tandem_api.authority import Authority
from tandem_api.reasons import Reason


class Task(StrEnum):
    """Names of the procedures, for logs and back-off."""

    NOTE_EPOCH = "note-epoch"
    BRING_UP = "bring-up"
    SET_MARKER = "set-marker"
    CLEAR_MARKER = "clear-marker"
    FIRST_SYNC = "first-sync"
    THAW = "thaw-to-discard"
    ASK_AGAIN = "ask-again"
    NOTE_COPY = "note-copy"
    COPY_AGAIN = "copy-again"
    PART = "part"
    RESYNC_AGAIN = "resync-again"
    SHUT_DOWN = "shut-down"
    PULL_PLUG = "pull-plug"
    DEMOTE = "demote"
    RELEASE = "release"
    REJOIN = "rejoin"
    ADOPT = "adopt"
    DEGRADE = "degrade"
    RESTORE = "restore"
    WITHDRAW = "withdraw"
    LISTEN = "listen"
    START = "claim-and-start"
    CLAIM = "claim-what-runs"
    MIGRATE = "migrate"
    SEND = "send"
    STOP_SENDING = "stop-sending"
    GIVE_UP = "give-up-migration"
    HAND_OVER = "hand-over"
    TAKE_BACK = "take-back"
    RECEIVE = "receive"
    RESUME = "resume"
    DROP = "drop-half"
    STEP_BACK = "step-back"
    END_MIGRATION = "end-migration"


LISTEN_AGAIN_S = 1.0
"""No failure that counts: what waits for a heartbeat is to go on soon after one."""
SLOW_TO_SHOW = frozenset(
    {
        Task.REJOIN,
        Task.ASK_AGAIN,
        Task.COPY_AGAIN,
        Task.PART,
        Task.RESYNC_AGAIN,
        Task.THAW,
        Task.STOP_SENDING,
    }
)
"""Their effect shows later, or never: not to be repeated at once."""


@dataclass(frozen=True)
class Start:
    """Run this procedure now."""

    task: Task
    reason: Reason
    message: str
    make: Callable[[], Procedure]


@dataclass(frozen=True)
class Stay:
    """Do nothing, for this reason."""

    reason: Reason
    message: str


UNTOLD = Stay(Reason.UNKNOWN_STATE, "libvirt does not tell the guest's state")


Decision = Start | Stay
Rule = Callable[[View, float, str], Decision | None]


def told_too_late(view: View) -> str:
    """Of a host that is deaf."""
    return (
        f"the API's answers come too late for a heartbeat of {view.host} to count; look at its way"
        " to the API"
    )


def authority_of(view: View) -> Authority:
    """The mirror's authority; ``not_set_up`` has dealt with there being none."""
    authority = view.mirror.status.authority
    assert authority is not None
    return authority


def drbd_of(view: View) -> DrbdState:
    """The DRBD state; earlier rules have dealt with the other cases."""
    if not isinstance(view.drbd, DrbdState):
        raise AssertionError("rules before this one return if DRBD's state is not known")
    return view.drbd
