"""How a guest is stopped by an order, as generators of effects: asked, or without asking.

A self-fence, which waits for nobody, is ``procedures.fence``. Called by ``guest_rules``.
"""

from tandem_actuator.core import authority as rules
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import (
    DestroyGuest,
    DrbdRead,
    Failed,
    Finished,
    MirrorRead,
    Procedure,
    QueryDrbd,
    ReadMirror,
    ResumeIo,
    ShutDownGuest,
)
from tandem_actuator.core.mirror.procedures import sequence
from tandem_actuator.core.mirror.transaction import UnexpectedOutcome, failed, refused, words
from tandem_actuator.core.model import View
from tandem_api.reasons import Reason


def shut_down(view: View) -> Procedure:
    """Ask the guest to stop, unless its mirror turns out to be held.

    The order comes with the guest's watch. After a restore of the API it may be from the past and
    ahead of the mirror's, and only the mirror tells.
    """
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    hold = rules.held(read.mirror, read.record)
    if hold:
        return refused(hold)
    step = ("shut down", ShutDownGuest())
    return (yield from sequence(Reason.STOPPING, "asked the guest to shut down", step))


def pull_plug(view: View, reason: Reason, message: str) -> Procedure:
    """Stop the guest without asking it."""
    return (yield from sequence(reason, message, ("destroy", DestroyGuest())))


def pull_plug_without_data(view: View) -> Procedure:
    """Stop a guest that cannot be asked, its disk being away, unless its mirror is held.

    What it has in flight would hold its process for ever, so that is let go with an error once it
    was killed: not before, since on another volume it may be carried out. Only by the owner, as
    whoever else goes on may not be joined by a second writer.
    """
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False)
    hold = rules.held(read.mirror, read.record)
    if hold:
        return refused(hold)
    killed = yield DestroyGuest()
    if not isinstance(killed, Failed):
        return Finished(Reason.DESTROYING, "pulled the plug", progress=True)
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead):
        raise UnexpectedOutcome(fresh)
    authority = read.mirror.status.authority
    mine = authority is not None and authority.owner == view.host
    stuck = isinstance(fresh.drbd, DrbdState) and fresh.drbd.without_data
    if not (killed.killed and mine and stuck):
        return failed("destroy", killed)
    let_go = ("let its last writes go", ResumeIo())
    again = ("destroy", DestroyGuest())
    return (yield from sequence(Reason.DESTROYING, "pulled the plug", let_go, again))
