"""What a change of one object costs on a host that has many: only what changed is touched."""

from typing import Any

import pytest

from tandem_actuator.core.model import Record
from tandem_actuator.ports.api import Changed, Synced
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT
from tandem_hostile import A, Raw, guest, mirror

NAMES = [f"g{number}" for number in range(100)]


class Kept:
    """Records and copies: what was stored, of which mirror."""

    def __init__(self) -> None:
        self.stored: list[str] = []

    def load(self, name: str) -> Record | None:
        return None

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        self.stored.append(mirror.metadata.name)


class Many:
    """A host with a hundred guests, all of them told, and everything at rest."""

    def __init__(self) -> None:
        self.kept = Kept()
        kept: Any = self.kept
        node = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
        api: Any = None
        self.cluster = Cluster(api, kept, kept, node, lambda unit: None)
        self.cluster.take(Guest, Synced(tuple(Guest.parse(guest(name)) for name in NAMES)))
        self.cluster.take(Mirror, Synced(tuple(Mirror.parse(mirror(name)) for name in NAMES)))
        self.rest()

    def rest(self) -> None:
        self.kept.stored.clear()
        for unit in self.units.values():
            unit.wake.clear()

    @property
    def units(self) -> dict[str, Unit]:
        return {unit.mirror.metadata.name: unit for unit in self.cluster.units.values()}

    @property
    def woken(self) -> set[str]:
        return {name for name, unit in self.units.items() if unit.wake.is_set()}


@pytest.fixture
def many() -> Many:
    return Many()


def newer(raw: Raw) -> Raw:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": "777", "labels": {"a": "b"}}}


def test_all_of_them_have_their_guests(many: Many) -> None:
    assert {name: unit.guest and unit.guest.metadata.name for name, unit in many.units.items()} == {
        name: name for name in NAMES
    }


def test_a_mirror_that_changes_wakes_itself_alone(many: Many) -> None:
    changed = Mirror.parse(newer(mirror("g7")))
    many.cluster.take(Mirror, Changed(changed))
    assert many.woken == {"g7"}
    assert many.kept.stored == ["g7"]
    assert many.units["g7"].mirror == changed


def test_a_guest_that_changes_wakes_its_mirror_alone(many: Many) -> None:
    changed = Guest.parse(newer(guest("g7")))
    many.cluster.take(Guest, Changed(changed))
    assert many.woken == {"g7"}
    assert many.units["g7"].guest == changed


def test_a_list_that_says_what_is_known_wakes_nobody(many: Many) -> None:
    many.cluster.take(Mirror, Synced(tuple(Mirror.parse(mirror(name)) for name in NAMES)))
    assert many.woken == set()


def test_a_new_mirror_gets_the_guest_that_waits_for_it(many: Many) -> None:
    many.cluster.take(Guest, Changed(Guest.parse(guest("new"))))
    many.rest()
    many.cluster.take(Mirror, Changed(Mirror.parse(mirror("new"))))
    unit = many.units["new"]
    assert unit.guest is not None
    assert unit.guest.metadata.name == "new"
    assert many.woken == {"new"}
