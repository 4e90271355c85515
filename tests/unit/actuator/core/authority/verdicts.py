"""What the tests of the transitions share: markers, instances, and what a verdict holds."""

from tandem_actuator.core.authority import Proposal, Refusal, Verdict
from tandem_api.authority import Authority, Eligibility, Override
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from unit.builders import A

MARKER = Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE)
OVERRIDE = Override(by="ana", at_epoch=4, accept_data_loss=True, host=A)
EARLIER_BOOT = "a-1/boot0/run0"
EARLIER_RUN = "a-1/boot1/run0"
TAKEN_OVER = Eligibility(eligible=False, reason=Reason.TAKEN_OVER)


def reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Refusal), verdict
    assert verdict.message
    return verdict.reason


def proposed(verdict: Verdict) -> Authority:
    assert isinstance(verdict, Proposal), verdict
    return verdict.authority
