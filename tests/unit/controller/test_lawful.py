"""What the controller sees of an authority that no rule leads to."""

from collections.abc import Callable
from typing import Any

import pytest

from tandem_api.check.writers import order_for
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import condition
from tandem_api.reasons import Reason
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.world import lawful
from tandem_controller.decide.world.lawful import Sightings, contradiction, observe, suspicions

from .scenes import KEY, A, B, Scene, assigned, instance, owned_by, replica


def seen(scene: Scene, known: Sightings | None = None) -> Sightings:
    return observe(known or {}, [scene.parsed_mirror()], [scene.parsed_guest()])


def changed(**authority: Any) -> Scene:
    return Scene(authority={**owned_by(A), **authority})


def lease_lost(at_epoch: int = 7) -> dict[str, Any]:
    proof = {"kind": "LeaseLost", "atEpoch": at_epoch, "instance": instance(A), "host": A}
    return assigned(B, "LeaseLost", mirror="g", proof=proof)


def test_an_assignment_of_another_namespace_is_none_for_a_mirror_of_the_same_name() -> None:
    mirror, mine = Scene().parsed_mirror(), Scene(assignment=lease_lost()).parsed_guest()
    elsewhere = mine.metadata.model_copy(update={"namespace": "elsewhere"})
    assert order_for(mirror, B, [mine.model_copy(update={"metadata": elsewhere})]) is None
    assert order_for(mirror, B, [mine]) == mine.status.assignment


class TestOneObject:
    def test_as_it_should_be_is_lawful(self) -> None:
        for scene in (Scene(), Scene().unowned(), Scene().lost()):
            assert contradiction(scene.parsed_mirror()) == ""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda s: s.authority.update(epoch=3), "has seen epoch 7, and now it is epoch 3"),
            (lambda s: setattr(s, "authority", None), "has seen epoch 7, and now it is epoch 0"),
            (lambda s: s.authority.update(incarnation="x"), "another mirror's (x)"),
            (lambda s: s.authority.update(owner="c-1", ownerInstance="c-1/b/r"), "owner c-1 keeps"),
            (lambda s: s.authority.update(ownerInstance=instance(B)), "is not who"),
            (lambda s: s.authority.update(ownerInstance="nonsense"), "is not who"),
            (lambda s: s.authority.update(owner=""), "is not who"),
        ],
    )
    def test_edited_by_hand_is_told(self, change: Callable[[Any], Any], words: str) -> None:
        scene = Scene(replicas={A: replica(A, epochSeen=7), B: replica(B, epochSeen=6)})
        change(scene)
        world = scene.world()
        status = mirror_status(scene.parsed_mirror(), world, None)
        found = condition(status.conditions, "Lawful")
        assert found is not None
        assert (found.status, found.reason) == ("False", Reason.AUTHORITY_UNLAWFUL)
        assert words in found.message

    def test_in_all_scenes_the_planner_goes_on(self) -> None:
        scene = Scene(replicas={A: replica(A, epochSeen=10**15)})
        assert scene.plan().statuses


class TestChanges:
    @pytest.mark.parametrize(
        "authority",
        [
            {"epoch": 8, "mode": "Standalone"},
            {"epoch": 8, "owner": "", "ownerInstance": ""},
            {"epoch": 12, "owner": B, "ownerInstance": instance(B)},
        ],
    )
    def test_by_the_rules_or_not_seen_are_not_suspicious(self, authority: Any) -> None:
        assert suspicions(seen(changed(**authority), seen(Scene()))) == {}

    @pytest.mark.parametrize(
        ("authority", "words"),
        [
            ({"epoch": 6}, "its epoch fell from 7 to 6"),
            ({"mode": "Standalone"}, "it was changed without a new epoch (7)"),
            ({"epoch": 8, "owner": B, "ownerInstance": instance(B)}, f"{B} took it from {A}"),
        ],
    )
    def test_by_no_rule_are_told(self, authority: Any, words: str) -> None:
        after = seen(changed(**authority), seen(Scene()))
        assert words in suspicions(after)[KEY]

    def test_a_removed_authority_is_told(self) -> None:
        assert "was removed" in suspicions(seen(Scene(authority=None), seen(Scene())))[KEY]

    def test_a_takeover_that_was_ordered_is_lawful(self) -> None:
        taken = changed(epoch=8, owner=B, ownerInstance=instance(B))
        taken.assignment = lease_lost()
        assert suspicions(seen(taken, seen(Scene()))) == {}

    @pytest.mark.parametrize(
        ("handed_over", "target", "lawful"),
        [("m-1", B, True), ("m-1", "c-1", False), ("m-2", B, False), ("", B, False)],
    )
    def test_who_has_sent_the_guest_may_hand_the_mirror_over(
        self, handed_over: str, target: str, lawful: bool
    ) -> None:
        migration = {"id": "m-1", "source": A, "target": target}
        sent = seen(changed(mode="Migrating", migration=migration))
        taken = changed(epoch=8, owner=B, ownerInstance=instance(B), handedOver=handed_over)
        assert (suspicions(seen(taken, sent)) == {}) is lawful

    def test_an_order_about_another_epoch_is_none(self) -> None:
        taken = changed(epoch=8, owner=B, ownerInstance=instance(B))
        taken.assignment = lease_lost(at_epoch=6)
        assert KEY in suspicions(seen(taken, seen(Scene())))

    def test_an_order_that_is_seen_later_settles_it(self) -> None:
        taken = changed(epoch=8, owner=B, ownerInstance=instance(B))
        known = seen(taken, seen(Scene()))
        taken.assignment = lease_lost()
        assert suspicions(seen(taken, known)) == {}

    def test_a_suspicion_lasts_as_long_as_that_owner(self) -> None:
        taken = changed(epoch=8, owner=B, ownerInstance=instance(B))
        known = seen(taken, seen(Scene()))
        alone = changed(epoch=9, owner=B, ownerInstance=instance(B), mode="Standalone")
        known = seen(alone, known)
        assert KEY in suspicions(known)
        released = changed(epoch=10, owner="", ownerInstance="")
        assert suspicions(seen(released, known)) == {}

    def test_another_mirror_of_that_name_is_another(self) -> None:
        raw = Scene().parsed_mirror()
        metadata = raw.metadata.model_copy(update={"uid": "another"})
        again = raw.model_copy(update={"metadata": metadata})
        assert isinstance(again, Mirror)
        known = lawful.observe(seen(Scene()), [again], [])
        assert suspicions(known) == {}
