"""One more look before a guest is fenced: it must not be an old look alone that stops it."""

import asyncio
from collections.abc import Awaitable, Callable

from tandem_actuator.core.host.permission import (
    RunPermission,
    may_yet_be_acquitted,
    run_permission,
)
from tandem_actuator.ports import Clock
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.reasons import Reason

PAUSE_S = 0.05
SHARE_OF_FENCING = 2 / 3
"""A packet is waited for no longer; the rest of F is for the guest's end. The watchdog resets this
host at the same moment, however long this takes.
"""


async def last_look(
    unit: Unit,
    node: NodeFacts,
    clock: Clock,
    look: Callable[[Unit], Awaitable[object]],
    renewal_sent_at_s: float | None,
) -> tuple[RunPermission, float]:
    """Whether the guest may run, by fresh looks and this heartbeat, and when that was judged.

    Where the link looks well, what proves that is waited for: this program may only have stood
    still. That is a packet that arrives, or a heartbeat of one that has affirmed meanwhile that it
    is the owner.
    """
    until_s = clock.boottime_s() + SHARE_OF_FENCING * node.timing.fencing_seconds
    while True:
        await look(unit)
        view, now_s = unit.view(node), clock.boottime_s()
        permission = run_permission(view, renewal_sent_at_s, now_s)
        lapsed = view.guest_may_run and permission.reason is Reason.SELF_FENCING
        if not (lapsed and may_yet_be_acquitted(view) and now_s < until_s):
            return permission, now_s
        await asyncio.sleep(PAUSE_S)
        if not unit.lapsed:
            renewal_sent_at_s = node.renewal_sent_at_s
