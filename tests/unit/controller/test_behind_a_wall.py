"""What is behind a wall is there: it keeps its numbers, and never counts as absent."""

from dataclasses import replace

import pytest

from tandem_api.reasons import Reason
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import Assign, Freshness, SetUpMirror
from tandem_controller.run.store import Store

from .scenes import KEY, A, B, Scene, assigned, mirror
from .test_walls import DECIDE, OTHER, Unreadable, annotated, of, raw, spoilt, two


class TestNotAbsent:
    """What is behind a wall is there."""

    def test_its_port_and_minors_are_given_to_nobody(self) -> None:
        scene = Scene()
        scene.more_mirrors = [mirror("new")]
        for module in ("status.mirror", "mirrors.override"):
            made = plan(spoilt(scene.snapshot(), "Mirror", KEY, DECIDE + module))
            (new,) = (write for write in made.urgent if isinstance(write, SetUpMirror))
            assert (new.mirror.key.name, new.numbers.port, new.numbers.minors) == (
                "new",
                7790,
                {"root": 1},
            )

    def test_while_one_mirrors_numbers_are_not_known_nobody_is_given_any(self) -> None:
        scene = Scene()
        scene.more_mirrors = [mirror("new")]
        made = plan(spoilt(scene.snapshot(), "Mirror", KEY, DECIDE + "mirrors.setup"))
        assert not [write for write in made.urgent if isinstance(write, SetUpMirror)]

    @pytest.mark.parametrize("module", [DECIDE + "guests.situations", "tandem_api.check.guests"])
    def test_its_memory_is_not_free(self, module: str) -> None:
        scene = two()
        scene.guest["priority"] = 10
        scene.hosts[B] = {"capacity": {"memory": "1Gi", "cpus": 8}}
        scene.assignment = assigned(B)
        made = plan(spoilt(scene.snapshot(), "Guest", KEY, module))
        assert made.world.load(B).memory_bytes == 2**30
        assert made.decisions[OTHER].reason is Reason.NO_ROOM

    def test_a_host_of_which_nobody_knows_how_it_is_is_not_lost(self) -> None:
        made = plan(spoilt(two().snapshot(), "Host", of(A), DECIDE + "known"))
        assert made.world.hosts[A].freshness is Freshness.UNKNOWN
        assert not isinstance(made.decisions[OTHER], Assign)

    def test_an_object_that_cannot_be_read_is_taken_as_it_was(self) -> None:
        store, before = Store(), Scene().parsed_guest()
        store.put("Guest", raw(before, 5))
        store.put("Guest", annotated(raw(before, 6)))
        found_there = store.get("Guest", KEY)
        assert found_there is not None
        assert found_there.metadata.resource_version == "5"
        (found,) = store.bugs()
        assert found.subject == ("Guest", KEY)

    @pytest.mark.parametrize("known", [True, False])
    def test_of_a_mirror_only_its_numbers_are_taken(self, *, known: bool) -> None:
        store, before = Store(), Scene().parsed_mirror()
        if known:
            store.put("Mirror", raw(before, 5))
        store.put("Mirror", annotated(raw(before, 6)))
        assert store.get("Mirror", KEY) is None
        (found,) = store.unreadable()
        assert found.bug is not None
        assert (found.ports, found.minors) == (frozenset({7789}), frozenset({0}))
        assert found.numbers_known

    def test_numbers_that_cannot_be_read_are_not_free_either(self) -> None:
        store, before = Store(), Scene().parsed_mirror()
        store.put("Mirror", {**raw(before, 6), "spec": Unreadable()})
        (found,) = store.unreadable()
        assert not found.numbers_known
        scene = Scene()
        scene.numbers = scene.authority = None
        made = plan(replace(scene.snapshot(), unreadable=(found,)))
        assert not [write for write in made.urgent if isinstance(write, SetUpMirror)]
        assert made.bugs == (found.bug,)
