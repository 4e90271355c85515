"""Objects edited by hand, deleted and made again: told in plain words, and never in others' way."""

from typing import Any

import pytest

from tandem_api.authority import Mode
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import Condition, condition
from tandem_kube import GUESTS, MIRRORS

from .pretended import World, controller

pytestmark = pytest.mark.integration

OTHER_VERSION = {"reason": "InventedLater", "connection": "Connected", "role": "Secondary"}
NO_MOMENT = {"type": "Redundant", "status": "True", "reason": "InSync"}


async def edit(world: World, name: str, status: dict[str, Any]) -> None:
    """As an administrator with ``kubectl edit --subresource=status``."""
    await world.client.merge_patch_status(MIRRORS, world.key(name), status, timeout_s=20)


def unlawful(mirror: Mirror) -> Condition | None:
    found = condition(mirror.status.conditions, "Lawful")
    return found if found is not None and found.status == "False" else None


async def told(world: World, name: str) -> str:
    """What the condition Lawful says once it is False."""
    found = unlawful(await world.until_mirror(name, lambda m: unlawful(m) is not None))
    assert found is not None
    return found.message


@pytest.mark.parametrize(
    "damage",
    [
        {"conditions": [{**NO_MOMENT, "lastTransitionTime": "yesterday"}]},
        {"replicas": {"ghost": OTHER_VERSION}},
        {"authority": {"owner": "nobody-1", "ownerInstance": "nonsense"}},
        {"authority": {"epoch": 9_000_000_000_000_000, "incarnation": "x"}},
        {"authority": {"reason": "InventedLater", "eligible": {"ghost": {"eligible": True}}}},
        {"authority": None},
        {"deviceNumbers": {"port": 0, "minors": {"root": 1_048_575}}},
    ],
    ids=("moment", "reason", "owner", "epoch", "eligible", "removed", "numbers"),
)
async def test_one_mirrors_damage_costs_no_other_guest_its_takeover(
    world: World, damage: dict[str, Any]
) -> None:
    async with controller(world):
        await world.running_on_a("g", failback={"policy": "Automatic"})
        await world.running_on_a("other", domain=_domain())
        try:
            await edit(world, "g", damage)
        except Exception as error:
            assert "Invalid" in repr(error) or "invalid" in repr(error)  # the schema refuses it
            return
        await world.cut_link("other")
        world.host("a").alive = False
        b = world.host("b").name
        await world.until_guest("other", lambda g: _at(g) == b)


def _at(guest: Any) -> str:
    return guest.status.assignment.host if guest.status.assignment else ""


def _domain() -> dict[str, Any]:
    return {"memory": "32Mi", "disks": [{"volume": "root"}]}


async def test_an_epoch_lowered_by_hand_is_told(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        await edit(world, "g", {"authority": {"epoch": 1}})
        assert "its epoch fell from 3 to 1" in await told(world, "g")


async def test_an_owner_set_by_hand_is_told(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        b = world.host("b")
        forged = {"epoch": 4, "owner": b.name, "ownerInstance": str(b.instance)}
        await edit(world, "g", {"authority": forged})
        assert f"{b.name} took it from {world.host('a').name}" in await told(world, "g")


async def test_a_takeover_by_the_rules_is_not_doubted(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        await world.cut_link("g")
        a, b = world.host("a"), world.host("b")
        a.alive = False
        await world.until_guest("g", lambda g: _at(g) == b.name)
        await b.claim(world.key("g"))
        await b.report_replica(world.key("g"), connected=False, role="Primary")
        mirror = await world.until_mirror("g", lambda m: m.status.owner == b.name)
        assert unlawful(mirror) is None


async def test_a_mirror_made_again_under_its_name_begins_anew(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        before = await world.mirror("g")
        await world.client.delete(MIRRORS, world.key("g"))
        await world.make_mirror("g")
        mirror = await world.until_mirror(
            "g", lambda m: m.metadata.uid != before.metadata.uid and m.status.authority is not None
        )
        authority = mirror.status.authority
        assert authority is not None
        assert (authority.epoch, authority.incarnation) == (1, mirror.metadata.uid)
        assert (authority.owner, authority.mode) == ("", Mode.MIRRORED)
        assert not authority.initialised  # nobody may promote what the hosts know as another


async def test_a_finalizer_taken_away_by_hand_is_put_back(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        nothing: dict[str, Any] = {"metadata": {"finalizers": None}}
        await world.client.merge_patch(GUESTS, world.key("g"), nothing, timeout_s=20)
        guest = await world.until_guest("g", lambda g: bool(g.metadata.finalizers))
        assert _at(guest) == world.host("a").name


async def test_a_guest_made_again_while_it_runs_stays_where_it_is(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        before = await world.guest("g")
    nothing: dict[str, Any] = {"metadata": {"finalizers": None}}
    await world.client.merge_patch(GUESTS, world.key("g"), nothing, timeout_s=20)
    await world.client.delete(GUESTS, world.key("g"))
    await world.make_guest("g")
    async with controller(world, "two"):
        guest = await world.until_guest("g", lambda g: _at(g) != "")
        assert guest.metadata.uid != before.metadata.uid
        assert _at(guest) == world.host("a").name
