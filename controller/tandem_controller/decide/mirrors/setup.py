"""Setting a mirror up: the device numbers it gets, and its first authority.

Numbers are unique over all mirrors, those that cannot be read included, the same on both hosts, and
never change once hosts may have gone by them. They and the authority are one write, with the
mirror's uid and version as its precondition.

A mirror gets no volume after that: its peers would have to be set up anew. A release before gave
numbers to what was added all the same; they are taken back once the owner shows what it runs with.
Called by ``plan``.
"""

from collections.abc import Iterator
from itertools import count, filterfalse

from tandem_api.authority import Authority, first_authority
from tandem_api.kinds.mirror import DeviceNumbers, Mirror
from tandem_api.vocabulary import Role
from tandem_controller.decide.memory import Recall
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world import replicas
from tandem_controller.decide.world.model import SetUpMirror, World

FIRST_PORT = 7789
LAST_PORT = 65535
Numbers = tuple[set[int], set[int]]
"""Ports and minors."""


def set_up(world: World, watched: World, walls: Walls, recall: Recall) -> Iterator[SetUpMirror]:
    """What has to be written for mirrors that are valid and lack something.

    ``watched``: the same world, for what is judged of each mirror by itself.
    """
    lacking = [
        (str(mirror.key), mirror)
        for mirror in world.snapshot.mirrors
        if recall.again("lacks", mirror, _lacks, watched, walls) and walls.of(mirror) is None
    ]
    if not lacking:
        return
    taken = _taken(world, walls)
    for _, mirror in sorted(lacking, key=lambda each: each[0]):
        if walls.of(mirror) is None:
            with walls.around(mirror):
                yield from _of_one(mirror, world, taken)


def _lacks(mirror: Mirror, world: World, walls: Walls) -> bool:
    """Whether there may be something to write."""
    with walls.around(mirror):
        if mirror.metadata.deletion_timestamp is not None:
            return False
        return not _is_set_up(mirror) or any(_taken_back(mirror, world))
    return False


def _is_set_up(mirror: Mirror) -> bool:
    return mirror.status.authority is not None and mirror.status.device_numbers is not None


def _taken(world: World, walls: Walls) -> Numbers | None:
    """All ports and minors that some mirror has, or None if that is not known of one of them."""
    known, unreadable = world.snapshot.mirrors, world.snapshot.unreadable
    ports = set[int]().union(*(each.ports for each in unreadable))
    minors = set[int]().union(*(each.minors for each in unreadable))
    whole = all(each.numbers_known for each in unreadable)
    for mirror in known:
        read = False
        with walls.around(mirror):
            ports.update(_ports(mirror))
            minors.update(_minors(mirror))
            read = True
        whole = whole and read
    return (ports, minors) if whole else None


def _of_one(mirror: Mirror, world: World, taken: Numbers | None) -> Iterator[SetUpMirror]:
    if _is_set_up(mirror):
        yield from _taken_back(mirror, world)
    elif taken is not None and not world.problems_of(mirror):
        ports, minors = taken
        numbers = _numbers(mirror, ports, minors)
        authority = _first_authority(mirror) if mirror.status.authority is None else None
        ports.add(numbers.port)
        minors.update(numbers.minors.values())
        yield SetUpMirror(mirror, numbers, authority)


def _taken_back(mirror: Mirror, world: World) -> Iterator[SetUpMirror]:
    """Without what the owner's Primary device lacks. No volume that it ever had can go from it."""
    authority, numbers = mirror.status.authority, mirror.status.device_numbers
    assert authority is not None and numbers is not None
    report = replicas.reports(mirror, world).get(authority.owner)
    if report is None or report.role != Role.PRIMARY or not report.volumes:
        return
    there = {name: minor for name, minor in numbers.minors.items() if name in report.volumes}
    if len(there) < len(numbers.minors):
        yield SetUpMirror(mirror, numbers.model_copy(update={"minors": there}), None)


def _ports(mirror: Mirror) -> Iterator[int]:
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


def _first_authority(mirror: Mirror) -> Authority:
    return first_authority(mirror.metadata.uid, (replica.host for replica in mirror.spec.replicas))
