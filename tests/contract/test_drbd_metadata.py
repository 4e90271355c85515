"""Metadata of DRBD 8.4 on a host with 9, and the other way round: on the fake and on real DRBD."""

import pytest

from tandem_actuator.core.drbd import Metadata
from tandem_actuator.core.mirror.bringing_up import conversion
from tandem_actuator.ports import CommandFailed

from .drbd_pairs import Pair


async def test_metadata_of_another_drbd_are_told_and_converted(pair: Pair) -> None:
    """By the commands that a person is told."""
    drbd, mirror = pair.a.drbd, pair.mirror
    await drbd.configure(mirror, pair.text)
    await drbd.create_metadata(mirror, mirror.volume_names)
    before = await drbd.generations(mirror)
    root, data = mirror.volume_names
    other = Metadata.V09 if pair.major == 8 else Metadata.V08
    await pair.a.reformat(mirror)
    assert await drbd.metadata(mirror) == {root: other, data: other}
    with pytest.raises(CommandFailed):
        await drbd.attach(mirror)
    host = mirror.spec.replicas[0].host
    await pair.a.convert(conversion(mirror, host, data, other))
    assert await drbd.metadata(mirror) == {root: other, data: Metadata.PRESENT}
    await pair.a.convert(conversion(mirror, host, root, other))
    assert await drbd.metadata(mirror) == {root: Metadata.PRESENT, data: Metadata.PRESENT}
    assert await drbd.generations(mirror) == before
    await drbd.attach(mirror)
