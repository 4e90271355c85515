"""A fence is latched until its guest is gone and its procedure has ended."""

import asyncio

from tandem_actuator.core.model import FenceProgress, Record
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import DomainState
from tandem_hostile import mirror


async def fenced() -> Unit:
    """The guest is being fenced."""
    parsed = Mirror.parse(mirror("m"))
    unit = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
    unit.observe_domain(DomainState.RUNNING)
    unit.fence = FenceProgress(since_s=1.0)
    unit.fence_task = asyncio.create_task(asyncio.sleep(3600.0))
    return unit


async def test_while_it_demotes_nothing_is_claimed() -> None:
    """A claim would find a Primary that is just becoming a Secondary, and skip the promotion."""
    unit = await fenced()
    unit.observe_domain(DomainState.ABSENT)
    assert unit.fence is not None
    unit.fence_ended()
    assert unit.fence is None


async def test_it_stays_until_the_guest_is_gone() -> None:
    unit = await fenced()
    unit.fence_ended()
    assert unit.fence is not None
    assert unit.fence_task is not None
    unit.fence_task.cancel()
    await asyncio.sleep(0)
    unit.observe_domain(DomainState.UNKNOWN)
    assert unit.fence is not None
    unit.observe_domain(DomainState.ABSENT)
    assert unit.fence is None
