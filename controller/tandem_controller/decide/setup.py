"""Setting a mirror up: the device numbers it gets, and its first authority.

Numbers are unique over all mirrors, those that cannot be read included, the same on both hosts, and
never change once hosts may have gone by them. They and the authority are one write, with the
mirror's uid and version as its precondition.

A mirror gets no volume after that: its peers would have to be set up anew. A release before gave
numbers to what was added all the same; they are taken back once the owner shows what it runs with.
Called by ``plan``.
"""

from collections.abc import Iterable, Iterator
from itertools import count, filterfalse

from tandem_api.authority import Authority, Eligibility
from tandem_api.mirror import DeviceNumbers, Mirror
from tandem_api.reasons import Reason
from tandem_controller.decide import mirrors
from tandem_controller.decide.model import SetUpMirror, World

FIRST_PORT = 7789
LAST_PORT = 65535


def set_up(world: World) -> Iterator[SetUpMirror]:
    """What has to be written for mirrors that are valid and lack something."""
    known, unreadable = world.snapshot.mirrors, world.snapshot.unreadable
    ports = set(_ports(known)).union(*(each.ports for each in unreadable))
    minors = {minor for mirror in known for minor in _minors(mirror)}
    minors = minors.union(*(each.minors for each in unreadable))
    for mirror in sorted(known, key=lambda each: str(each.key)):
        if mirror.metadata.deletion_timestamp is not None:
            continue
        if mirror.status.authority is not None and mirror.status.device_numbers is not None:
            yield from _taken_back(mirror, world)
        elif not world.problems_of(mirror):
            numbers = _numbers(mirror, ports, minors)
            authority = first_authority(mirror) if mirror.status.authority is None else None
            ports.add(numbers.port)
            minors.update(numbers.minors.values())
            yield SetUpMirror(mirror, numbers, authority)


def _taken_back(mirror: Mirror, world: World) -> Iterator[SetUpMirror]:
    """Without what the owner's Primary device lacks. No volume that it ever had can go from it."""
    authority, numbers = mirror.status.authority, mirror.status.device_numbers
    assert authority is not None and numbers is not None
    report = mirrors.reports(mirror, world).get(authority.owner)
    if report is None or report.role != "Primary" or not report.volumes:
        return
    there = {name: minor for name, minor in numbers.minors.items() if name in report.volumes}
    if len(there) < len(numbers.minors):
        yield SetUpMirror(mirror, numbers.model_copy(update={"minors": there}), None)


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
