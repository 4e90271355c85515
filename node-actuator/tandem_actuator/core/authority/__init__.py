"""The transitions of a mirror's authority that a host may make, as pure functions.

Each takes the authority as a quorum has it and what the host knows first-hand, and returns the
authority to swap in, or that nothing needs to change, or why not. Nothing here acts. The callers
are in ``procedures``; the order quorum read → fresh local facts → swap (rule 3) is kept there.

**Invariant** (rule 1): a write that the peer lacks is acknowledged only while the mode is
Standalone with this owner, or while the peer is locally and durably unpromotable. Every function
keeps it: the owner is Standalone *before* DRBD may go on alone, and Mirrored again only *after*
both disks were seen to be equal.
"""

from tandem_actuator.core.authority.claim import claim
from tandem_actuator.core.authority.copying import copy_again, owed, resync_again
from tandem_actuator.core.authority.held import HELD, held, opened
from tandem_actuator.core.authority.migrating import (
    begin,
    ended_by,
    hand_over,
    handed_to,
    is_noted,
    sends_to,
    take_back,
)
from tandem_actuator.core.authority.ownership import adopt, affirm, release
from tandem_actuator.core.authority.replication import (
    confirm_promotion,
    degrade,
    grant_link_loss,
    restore,
    withdraw,
)
from tandem_actuator.core.authority.seen import not_copied
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Settled, Verdict

__all__ = [
    "HELD",
    "Facts",
    "Proposal",
    "Refusal",
    "Settled",
    "Verdict",
    "adopt",
    "affirm",
    "begin",
    "claim",
    "confirm_promotion",
    "copy_again",
    "degrade",
    "ended_by",
    "grant_link_loss",
    "hand_over",
    "handed_to",
    "held",
    "is_noted",
    "not_copied",
    "opened",
    "owed",
    "release",
    "restore",
    "resync_again",
    "sends_to",
    "take_back",
    "withdraw",
]
