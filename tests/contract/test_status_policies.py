"""Who may write what of a status: the same verdict of the simulated server and of a real one.

Every attempt that ``docs/threat-model.md`` lists for a host that is not itself any more is here,
and every lawful write that stands in its way is, too.
"""

import copy
from typing import Any

import pytest

from integration.identities import Scene, without_order
from tandem_api.authority import Eligibility, Fenced, Migration, Mode, Override
from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.kinds.mirror import Claimant
from tandem_api.reasons import Reason
from tandem_hostile import A, B, mirror
from tandem_kube import GUESTS, HOSTS, MIRRORS, Conflict
from tandem_kube.kinds import Kind

Raw = dict[str, Any]
REPLICA = {"role": "Secondary", "connection": "Connected"}
STANDALONE: Raw = {"mode": Mode.STANDALONE, "reason": Reason.LINK_LOST}
BY_A: Raw = {"owner": A, "owner_instance": f"{A}/boot/run"}
BY_B: Raw = {"owner": B, "owner_instance": f"{B}/boot/run"}
NOBODY: Raw = {"owner": "", "owner_instance": ""}
MIGRATING: Raw = {
    "mode": Mode.MIGRATING,
    "migration": Migration(id="m1", source=A, target=B),
}
HANDED: Raw = {**BY_B, "mode": Mode.MIRRORED, "migration": None, "handed_over": "m1"}


class TestStatuses:
    @pytest.mark.parametrize(
        ("who", "kind", "patch", "refused"),
        [
            ("a", MIRRORS, {"replicas": {A: REPLICA}}, ""),
            ("b", MIRRORS, {"replicas": {B: REPLICA}}, ""),
            ("b", MIRRORS, {"replicas": {A: REPLICA}}, f"status.replicas.{A}: belongs to host {A}"),
            ("controller", MIRRORS, {"replicas": {A: REPLICA}}, "status.replicas: is each host's"),
            ("controller", MIRRORS, {"phase": "Redundant"}, ""),
            ("a", MIRRORS, {"phase": "Redundant"}, "status.phase: is not a host's to write"),
            (
                "a",
                MIRRORS,
                {"deviceNumbers": {"minors": {"root": 5}}},
                "status.deviceNumbers: is not a host's",
            ),
            ("a", MIRRORS, {"authority": None}, "status.authority: cannot be removed"),
            ("admin", MIRRORS, {"authority": None}, "status.authority: cannot be removed"),
            ("admin", MIRRORS, {"authority": {"epoch": 1}}, "every write raises it by exactly one"),
            ("a", GUESTS, {"hosts": {A: {"state": "Running"}}}, ""),
            ("b", GUESTS, {"hosts": {A: {"state": "Absent"}}}, f"status.hosts.{A}: belongs to"),
            ("b", GUESTS, {"assignment": {"host": B}}, "status.assignment: is not a host's"),
            ("controller", GUESTS, {"assignment": {"host": B, "serial": 2}}, ""),
            ("b", MIRRORS, {"claimants": {B: {"guest": "g"}}}, "status.claimants: is not a host's"),
            ("controller", MIRRORS, {"claimants": {B: {"guest": "g"}}}, ""),
            ("a", HOSTS, {"instance": f"{A}/x/y", "bootID": "x"}, ""),
            ("b", HOSTS, {"bootID": "y"}, "forbidden"),
            ("a", HOSTS, {"phase": "Ready"}, "status.phase: is not a host's to write"),
            ("controller", HOSTS, {"bootID": "z"}, "status.bootID: is each host's own"),
        ],
    )
    async def test_each_writer_has_its_own_part(
        self, scene: Scene, who: str, kind: Kind[Any], patch: Raw, refused: str
    ) -> None:
        said = await scene.patch(who, kind, patch)
        assert (refused in said) if refused else said == ""

    async def test_one_that_is_refused_is_told_by_which_policy(self, scene: Scene) -> None:
        assert await scene.patch("b", GUESTS, {"hosts": {A: {"state": "Absent"}}}) == (
            '403: guests.tandem.dev "g" is forbidden: ValidatingAdmissionPolicy'
            " 'tandem-guest-status' with binding 'tandem-guest-status' denied request:"
            f" status.hosts.{A}: belongs to host {A}, not to host {B}"
        )

    async def test_nothing_of_one_that_is_refused_is_written(self, scene: Scene) -> None:
        """Its lawful part neither."""
        before = await scene.mirror()
        both = {"replicas": {A: REPLICA, B: REPLICA}}
        assert f"replicas.{B}: belongs to host {B}" in await scene.patch("a", MIRRORS, both)
        assert (await scene.mirror()).metadata.resource_version == before.metadata.resource_version


class TestAuthority:
    async def test_a_lawful_life(self, scene: Scene) -> None:
        """Claimed (by the scene), kept, alone, restored, given up, claimed by the other."""
        both = Eligibility(eligible=True, reason=Reason.IN_SYNC)
        alone = Eligibility(eligible=False, reason=Reason.LINK_LOST)
        again: Raw = {"owner_instance": f"{A}/boot/again"}
        steps: list[tuple[str, Raw]] = [
            ("a", again),
            ("a", {**STANDALONE, "eligible": {A: both, B: alone}}),
            ("a", {"mode": Mode.MIRRORED, "eligible": {A: both, B: both}}),
            ("a", {**NOBODY, "fenced": {A: Fenced(instance=f"{A}/boot/again", epoch=5)}}),
        ]
        for who, changes in steps:
            assert await scene.swap(who, **changes) == ""
        assert await scene.assign(B, reason="Maintenance") == ""
        assert await scene.swap("b", **BY_B, fenced={}) == ""

    async def test_a_guest_migrates_and_its_owner_hands_it_over(self, scene: Scene) -> None:
        assert f"is {A}'s; host {B} may only claim it" in await scene.swap("b", **MIGRATING)
        assert "may write its own name alone" in await scene.swap("a", **HANDED)
        assert "handedOver: is for the host" in await scene.swap("a", handed_over="m1")
        assert await scene.swap("a", **MIGRATING) == ""
        assert await scene.swap("b", **HANDED)
        assert "its own name alone" in await scene.swap("a", **{**HANDED, "handed_over": "m0"})
        assert await scene.swap("a", **HANDED) == ""
        assert await scene.swap("b", owner_instance=f"{B}/boot/again") == ""

    async def test_an_override_is_carried_out_by_the_controller(self, scene: Scene) -> None:
        order = Override(by="ana", at_epoch=2, accept_data_loss=True, host=B)
        assert "override: is a person's order" in await scene.swap("a", override=order)
        assert "carries out overrides only" in await scene.swap("controller", **NOBODY)
        assert await scene.swap("controller", **NOBODY, override=order) == ""

    @pytest.mark.parametrize(
        ("who", "changes", "refused"),
        [
            ("a", BY_B, f"is {B}: host {A} may write its own name alone"),
            ("b", STANDALONE, f"is {A}'s; host {B} may only claim it"),
            ("b", NOBODY, f"is {A}'s; host {B} may only claim it"),
            ("a", {"mode": Mode.HOLD}, "no host may change it from Mirrored to Hold"),
            ("a", {"incarnation": "another"}, "status.authority.incarnation: never changes"),
            ("admin", {"incarnation": "another"}, "status.authority.incarnation: never changes"),
            ("admin", {"min_protocol": 0}, "status.authority.minProtocol: never falls"),
            ("admin", {"owner": "ghost", "owner_instance": "ghost/b/r"}, "keeps no replica of it"),
            ("admin", {"owner_instance": f"{B}/b/r"}, f"is none of '{A}''s"),
            ("a", {"fenced": {B: Fenced(instance=f"{B}/b/r", epoch=2)}}, f"fenced.{B}: is that"),
            ("controller", {"mode": Mode.MIRRORED}, "the controller carries out overrides only"),
        ],
    )
    async def test_what_no_rule_leads_to_is_refused(
        self, scene: Scene, who: str, changes: Raw, refused: str
    ) -> None:
        assert refused in await scene.swap(who, **changes)

    @pytest.mark.parametrize("raises", [0, -1, 2])
    async def test_an_epoch_rises_by_one_whoever_writes(self, scene: Scene, raises: int) -> None:
        for who in ("a", "controller", "admin"):
            assert "status.authority" in await scene.swap(who, raises=raises, request_id="x")

    async def test_what_its_owner_wrote_alone_cannot_be_claimed(self, scene: Scene) -> None:
        assert await scene.swap("a", **STANDALONE) == ""
        assert "may have written alone" in await scene.swap("b", **BY_B)

    async def test_one_that_may_lack_writes_claims_nothing(self, scene: Scene) -> None:
        no = Eligibility(eligible=False, reason=Reason.TAKEN_OVER)
        yes = Eligibility(eligible=True, reason=Reason.IN_SYNC)
        assert await scene.swap("a", eligible={A: yes, B: no}) == ""
        assert f"{B} may lack acknowledged writes" in await scene.swap("b", **BY_B)

    async def test_the_first_is_the_controllers(self, scene: Scene) -> None:
        clients, namespace = scene.clients, scene.key.namespace
        raw = without_order(mirror("new"))
        where = {"name": "new", "namespace": namespace}
        await clients.admin.create(MIRRORS, {"metadata": where, "spec": raw["spec"]})
        new = Scene(clients, scene.key._replace(name="new"))
        first = {"epoch": 1, "incarnation": (await new.mirror()).metadata.uid}
        wanted = {"authority": {**first, "mode": "Mirrored", "reason": "Initial"}}
        assert "is set up by the controller" in await new.patch("a", MIRRORS, wanted)
        owned = copy.deepcopy(wanted)
        owned["authority"].update(owner=A, ownerInstance=f"{A}/b/r")
        assert "must begin at epoch 1" in await new.patch("controller", MIRRORS, owned)
        assert await new.patch("controller", MIRRORS, wanted) == ""

    async def test_a_person_may_put_it_on_hold(self, scene: Scene) -> None:
        assert await scene.swap("admin", mode=Mode.HOLD) == ""
        assert "no host may change it from Hold" in await scene.swap("a", **STANDALONE)


def proof(epoch: int = 2, instance: str = f"{A}/boot/run", **changes: Any) -> FencingProof:
    """That A has stopped."""
    kind = changes.get("kind", ProofKind.LEASE_LOST)
    return FencingProof(kind=kind, host=A, instance=instance, at_epoch=epoch, watchdog=True)


class TestClaims:
    """A host takes a mirror from another one, which may be dead."""

    async def test_need_the_controllers_word_and_its_proof(self, scene: Scene) -> None:
        assert f"no guest of this mirror is assigned to {B}" in await scene.swap("b", **BY_B)
        assert await scene.assign(B, reason="Maintenance") == ""
        said = await scene.swap("b", **BY_B)
        assert f"holds no proof that {A} has stopped ({A}/boot/run at epoch 2)" in said
        assert await scene.assign(B, proof()) == ""
        assert await scene.swap("b", **BY_B) == ""

    @pytest.mark.parametrize(
        "other",
        [proof(1), proof(3), proof(instance=f"{A}/boot/other"), proof(kind=ProofKind.SAME_HOST)],
    )
    async def test_need_a_proof_about_this_very_owner(
        self, scene: Scene, other: FencingProof
    ) -> None:
        assert await scene.assign(B, other) == ""
        assert "holds no proof" in await scene.swap("b", **BY_B)

    async def test_of_one_that_nobody_owns_need_an_assignment_alone(self, scene: Scene) -> None:
        fenced = {A: Fenced(instance=f"{A}/boot/run", epoch=2)}
        assert await scene.swap("a", **NOBODY, fenced=fenced) == ""
        assert f"no guest of this mirror is assigned to {B}" in await scene.swap("b", **BY_B)
        assert await scene.swap("a", **BY_A) == ""

    async def test_by_assignments_of_the_release_before_pass(self, scene: Scene) -> None:
        """It does not know the field, and takes guests over as ever."""
        assert await scene.patch("admin", MIRRORS, {"claimants": None}) == ""
        assert await scene.swap("b", **BY_B) == ""

    async def test_an_entry_with_a_proof_needs_its_epoch_alone(self, scene: Scene) -> None:
        """Whatever the hosts report meanwhile; but not at another epoch."""
        seen, entry = await scene.mirror(), Claimant(guest="g", proof=proof())
        assert await scene.patch("a", MIRRORS, {"replicas": {A: REPLICA}}) == ""
        await scene.clients.controller.add_claimant(seen, B, entry)
        assert set((await scene.mirror()).status.claimants or ()) == {A, B}
        assert await scene.swap("a", request_id="x") == ""
        with pytest.raises(Conflict):
            await scene.clients.controller.add_claimant(seen, B, entry)

    async def test_an_entry_without_a_proof_needs_the_version(self, scene: Scene) -> None:
        """A controller that was paused does not take back what the next one proved."""
        seen = await scene.mirror()
        assert await scene.assign(B, proof()) == ""
        with pytest.raises(Conflict):
            await scene.clients.controller.add_claimant(seen, B, Claimant(guest="g"))
        known = (await scene.mirror()).status.claimants
        assert known is not None
        assert known[B] == Claimant(guest="g", proof=proof())
