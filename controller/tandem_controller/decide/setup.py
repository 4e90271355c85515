"""Setting a mirror up: the device numbers it gets, and its first authority.

Numbers are unique over all mirrors, those that cannot be read included, the same on both hosts, and
never change once written. They
and the authority are one write, with the mirror's uid and version as its precondition. Called by
``plan``.
"""

from collections.abc import Iterable, Iterator
from itertools import count, filterfalse

from tandem_api.authority import Authority, Eligibility
from tandem_api.mirror import DeviceNumbers, Mirror
from tandem_api.reasons import Reason
from tandem_controller.decide.model import SetUpMirror, World

FIRST_PORT = 7789
LAST_PORT = 65535


def set_up(world: World) -> Iterator[SetUpMirror]:
    """What has to be written for mirrors that are valid and lack something."""
    mirrors, unreadable = world.snapshot.mirrors, world.snapshot.unreadable
    ports = set(_ports(mirrors)).union(*(each.ports for each in unreadable))
    minors = {minor for mirror in mirrors for minor in _minors(mirror)}
    minors = minors.union(*(each.minors for each in unreadable))
    for mirror in sorted(mirrors, key=lambda each: str(each.key)):
        if world.problems_of(mirror) or mirror.metadata.deletion_timestamp is not None:
            continue
        numbers = _numbers(mirror, ports, minors)
        authority = first_authority(mirror) if mirror.status.authority is None else None
        if numbers != mirror.status.device_numbers or authority is not None:
            ports.add(numbers.port)
            minors.update(numbers.minors.values())
            yield SetUpMirror(mirror, numbers, authority)


def _ports(mirrors: Iterable[Mirror]) -> Iterator[int]:
    for mirror in mirrors:
        if mirror.status.device_numbers is not None:
            yield mirror.status.device_numbers.port
        if mirror.spec.port is not None:
            yield mirror.spec.port


def _minors(mirror: Mirror) -> list[int]:
    numbers = mirror.status.device_numbers
    return list(numbers.minors.values()) if numbers else []


def _numbers(mirror: Mirror, ports: set[int], minors: set[int]) -> DeviceNumbers:
    """The mirror's numbers: those it has, and free ones for what has none yet.

    New ones are above its own: their order is the order of DRBD's volume numbers.
    """
    known = mirror.status.device_numbers
    given = dict(known.minors) if known else {}
    first = max(given.values(), default=-1) + 1
    free_minors = filterfalse(minors.__contains__, count(first))
    for volume in mirror.spec.volumes:
        if volume.name not in given:
            given[volume.name] = next(free_minors)
    if known is not None:
        return DeviceNumbers(port=known.port, minors=given)
    port = mirror.spec.port or next(p for p in range(FIRST_PORT, LAST_PORT) if p not in ports)
    return DeviceNumbers(port=port, minors=given)


def first_authority(mirror: Mirror) -> Authority:
    """Nobody owns it and nobody may, until the replicas were in sync once."""
    nobody = Eligibility(eligible=False, reason=Reason.NOT_INITIALISED)
    return Authority(
        epoch=1,
        incarnation=mirror.metadata.uid,
        reason=Reason.INITIAL,
        eligible={replica.host: nobody for replica in mirror.spec.replicas},
    )
