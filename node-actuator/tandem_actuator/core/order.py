"""Which procedure a host runs for a mirror and its guest now, and why. Pure.

``RULES`` is the order of precedence: the first rule that has something to say wins, and the last
resort is to stay. A rule returns a Start (run this procedure), a Stay (do nothing, for this
reason), or None (not my case). ``loop`` calls ``decide`` after every change and at its own pace.
Self-fencing is not decided here but in ``run``: it must not wait for a procedure to end.
"""

from tandem_actuator.core.authority import Settled
from tandem_actuator.core.decision import (
    Decision,
    Rule,
    Start,
    Stay,
    Task,
)
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.guest.rules import (
    overdue_guest,
    paused,
    release_unused,
    start,
    stop_unrecorded,
    stopping_guest,
    untold_guest,
    unused_primary,
    unwanted_guest,
)
from tandem_actuator.core.migration.source import source, waits
from tandem_actuator.core.migration.target import target
from tandem_actuator.core.mirror.copying import (
    copy_again,
    difference_found,
    note_copy,
    owed,
    resync_again,
)
from tandem_actuator.core.mirror.fruitless import part, resting
from tandem_actuator.core.mirror.rules import (
    adopt,
    ask_again,
    clear_marker,
    degrade,
    diverged,
    epoch_behind,
    first_sync,
    foreign_primary,
    half_brought_up,
    held,
    marker_needed,
    not_configured,
    not_set_up,
    rejoin,
    restore,
    taken_over,
    unknown,
    unrecorded,
    withdraw,
)
from tandem_actuator.core.model import View
from tandem_api.reasons import Reason


def decide(view: View, now_s: float, wall: str) -> Decision:
    """The first rule's word. ``now_s``: CLOCK_BOOTTIME. ``wall``: RFC 3339, only for notes."""
    for rule in RULES:
        decision = rule(view, now_s, wall)
        if decision is not None:
            return decision
    return Stay(Reason.STEADY, "")


def is_calm(view: View, decision: Decision) -> bool:
    """Whether this decision stays the same until something changes, however much time passes.

    Said of one state alone, in which nearly all guests are: it runs here, in sync, and nothing is
    under way. No rule that could speak up with time alone does then.
    """
    drbd, record = view.drbd, view.record
    under_way = (
        view.fence,
        view.resync,
        view.frozen_since_s,
        view.without_data_since_s,
        view.shutdown_sent_at_s,
        record.marker,
        record.outgoing,
        record.incoming,
    )
    return (
        decision.reason is Reason.RUNNING
        and isinstance(decision, Stay)
        and isinstance(drbd, DrbdState)
        and drbd.in_sync
        and not drbd.out_of_sync_bytes
        and not record.owes_copy
        and all(one is None for one in under_way)
    )


def affirmation(view: View, now_s: float, wall: str) -> Start | None:
    """The one thing that is decided in a reduced run, or behind a wall: whether the guest may run
    rests on it after this host stood still.
    """
    if view.mirror.status.authority is None or held(view, now_s, wall) is not None:
        return None
    decision = adopt(view, now_s, wall)
    return decision if isinstance(decision, Start) else None


RULES: tuple[Rule, ...] = (
    held,
    not_set_up,
    stop_unrecorded,
    epoch_behind,
    owed,
    unknown,
    not_configured,
    half_brought_up,
    diverged,
    marker_needed,
    difference_found,
    first_sync,
    taken_over,
    target,
    foreign_primary,
    note_copy,
    overdue_guest,
    adopt,
    degrade,
    source,
    unwanted_guest,
    part,
    ask_again,
    stopping_guest,
    unused_primary,
    resting,
    rejoin,
    clear_marker,
    resync_again,
    copy_again,
    restore,
    withdraw,
    release_unused,
    unrecorded,
    paused,
    start,
    waits,
    untold_guest,
)

__all__ = ["RULES", "Decision", "Settled", "Start", "Stay", "Task", "affirmation", "decide"]
