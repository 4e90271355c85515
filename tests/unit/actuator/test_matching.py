"""A change of one guest is matched as if all were: whatever comes, in whatever order."""

import random

import pytest

from tandem_actuator.run.matching import Matching, match_guests
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest
from tandem_api.meta import ObjectKey
from tandem_api.vocabulary import DomainState

from .test_match_guests import named, unit_of

NAMES = ("g1", "g2", "g3")
HOSTS = ("", "a-1", "b-1")


class Both:
    """The same units twice: matched one guest at a time, and all of them each time."""

    def __init__(self) -> None:
        self.guests: dict[ObjectKey, Guest] = {}
        self.matching = Matching()
        self.one, self.all = ({u.mirror.key: u for u in map(unit_of, NAMES)} for _ in range(2))
        self.alone = 0
        for name in NAMES:
            self.looked(name, DomainState.ABSENT)
        self.matching.all(self.one, ())

    def changed(self, key: ObjectKey, guest: Guest | None) -> None:
        if guest is None:
            self.guests.pop(key, None)
        else:
            self.guests[key] = guest
        if self.matching.one(self.one, key, guest) is None:
            self.matching.all(self.one, self.guests.values())
        else:
            self.alone += 1
        match_guests(self.all.values(), self.guests.values())

    def looked(self, name: str, state: DomainState) -> None:
        for units in (self.one, self.all):
            unit_named(units, name).observe_domain(state)

    @property
    def differ(self) -> list[str]:
        return [name for name in NAMES if _has(self.one, name) != _has(self.all, name)]


def unit_named(units: dict[ObjectKey, Unit], name: str) -> Unit:
    return next(unit for key, unit in units.items() if key.name == name)


def _has(units: dict[ObjectKey, Unit], name: str) -> tuple[Guest | None, bool]:
    unit = unit_named(units, name)
    return unit.guest, unit.guest_gone


@pytest.mark.parametrize("seed", range(60))
def test_it_comes_to_the_same(seed: int) -> None:
    chance, both = random.Random(seed), Both()
    for step in range(60):
        name = chance.choice(NAMES)
        made = named(
            name,
            chance.choice(NAMES),
            assigned=chance.choice(HOSTS),
            created=chance.choice(("2024", "2025")),
        )
        what = chance.choice(("changed", "changed", "changed", "gone", "domain"))
        if what == "domain":
            both.looked(name, chance.choice((DomainState.RUNNING, DomainState.ABSENT)))
        else:
            both.changed(made.key, None if what == "gone" else made)
            assert both.differ == [], f"seed {seed}, step {step}"
    assert both.alone > 5


def test_only_the_mirrors_that_it_claims_are_looked_at() -> None:
    both = Both()
    for name in NAMES:
        both.changed(named(name, name).key, named(name, name))
    moved = named("g1", "g2")
    touched = both.matching.one(both.one, moved.key, moved)
    assert touched is not None
    assert sorted(unit.mirror.metadata.name for unit in touched) == ["g1", "g2"]
