"""A guest moves as it runs: what either host does, in which order, and when two may be Primary."""

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.model import MigrationNote, Record, View
from tandem_api.authority import Authority, Instance
from tandem_api.vocabulary import Role


def may_both_be_primary(authority: Authority | None, record: Record, me: Instance) -> bool:
    """Whether DRBD is to allow it: while the authority says that this very migration is under way,
    this boot has noted its part in it, and that part is not over.
    """
    if authority is None:
        return False
    notes = (record.outgoing, record.incoming)
    return any(note is not None and _counts(note, authority, me) for note in notes)


def _counts(note: MigrationNote, authority: Authority, me: Instance) -> bool:
    under_way = authority.migrates_as(note.id) and me.same_boot(note.run)
    return under_way and not (note.gone or note.over or note.resumed)


def keeps_primary(view: View) -> bool:
    """Whether this host must not be Secondary: the target, which was promoted beside it, would take
    that for the handover, whoever owns the mirror by now, and let old memory go on.
    """
    note, drbd = view.runs_note(view.record.outgoing), view.drbd
    if note is None or note.gone or not isinstance(drbd, DrbdState):
        return False
    return drbd.connected and drbd.role is Role.PRIMARY and drbd.peer_role is not Role.SECONDARY
