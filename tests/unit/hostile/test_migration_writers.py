"""Who may write what of a guest's migration: the writers and the policies, in one voice."""

from typing import Any

import pytest

from tandem_api.check.writers import CONTROLLER_USER, Writer
from tandem_api.kinds.mirror import Mirror
from tandem_hostile import A, B, Raw, mirror

from .test_policies import agreed
from .test_writers import MINE, patched

HOST_A, HOST_B = Writer.of(f"tandem:host:{A}"), Writer.of(f"tandem:host:{B}")
CONTROLLER, PERSON = Writer.of(CONTROLLER_USER), Writer.of("ana", ["system:masters"])
NEXT: Raw = {"authority__epoch": 8}
M: Raw = {"id": "m1", "source": A, "target": B}
MIGRATING: Raw = {"authority__mode": "Migrating", "authority__migration": M}
HANDED: Raw = {
    **MINE,
    "authority__mode": "Mirrored",
    "authority__migration": None,
    "authority__handedOver": "m1",
}
ALONE: Raw = {"authority__mode": "Standalone"}
MIRRORED: Raw = {"authority__mode": "Mirrored", "authority__migration": None}
NOBODY: Raw = {"authority__owner": "", "authority__ownerInstance": ""}
BY_ANOTHER: Raw = {"authority__handedOver": "m0"}


def said(writer: Writer, was: Raw, now: Raw) -> str:
    """Why the second may not follow the first; ``was`` is changed from a mirror that A owns."""
    before = patched(mirror("g"), **was)
    assert Mirror.parse(before).status.authority is not None
    after = patched(before, **NEXT, **now)
    return agreed("Mirror", writer, before, after)


class TestBegin:
    def test_the_owner_lets_its_guest_migrate(self) -> None:
        assert said(HOST_A, {}, MIGRATING) == ""

    def test_a_person_may_all_the_same(self) -> None:
        assert said(PERSON, {}, MIGRATING) == ""

    @pytest.mark.parametrize(
        ("writer", "was", "now", "why"),
        [
            (HOST_B, {}, MIGRATING, f"is {A}'s; host {B} may only claim it"),
            (HOST_B, {}, {**MIGRATING, **MINE}, "no host may change it from Mirrored to Migrating"),
            (HOST_B, NOBODY, MIGRATING, "no host may change it from Mirrored to Migrating"),
            (HOST_A, NOBODY, MIGRATING, "no host may change it from Mirrored to Migrating"),
            (
                HOST_A,
                NOBODY,
                {**MIGRATING, "authority__owner": A, "authority__ownerInstance": f"{A}/boot/run"},
                "no host may change it from Mirrored to Migrating",
            ),
            (HOST_A, {}, {**MIGRATING, **NOBODY}, "from Mirrored to Migrating"),
            *(
                (HOST_A, {}, {**MIGRATING, "authority__migration": ends}, "to Migrating")
                for ends in (None, {**M, "source": B}, {**M, "target": A}, {**M, "target": ""})
            ),
            (HOST_A, ALONE, MIGRATING, "no host may change it from Standalone to Migrating"),
            (HOST_A, {"authority__mode": "Hold"}, MIGRATING, "from Hold to Migrating"),
            (HOST_A, {"authority__mode": "Handover"}, MIGRATING, "from Handover to Migrating"),
            (CONTROLLER, {}, MIGRATING, "is the hosts' to change"),
        ],
        ids=[
            *("peer", "with-a-claim", "peer-of-nobodys", "nobodys", "claimed-with-it"),
            *(
                "released-with-it",
                "without-ends",
                "from-the-other",
                "to-itself",
                "to-nobody",
                "alone",
                "hold",
                "handover",
                "controller",
            ),
        ],
    )
    def test_nobody_else_and_from_nothing_else(
        self, writer: Writer, was: Raw, now: Raw, why: str
    ) -> None:
        assert why in said(writer, was, now)


class TestHandOver:
    def test_the_source_hands_it_to_its_migrations_target(self) -> None:
        assert said(HOST_A, MIGRATING, HANDED) == ""

    def test_alone_if_it_has_not_seen_that_it_has_all(self) -> None:
        out: Any = {A: {"eligible": False, "reason": "HandedOver"}}
        now = {**HANDED, **ALONE, "authority__eligible": out}
        assert said(HOST_A, MIGRATING, now) == ""

    @pytest.mark.parametrize(
        ("was", "now"),
        [
            ({}, HANDED),
            ({}, MINE),
            (MIGRATING, MINE),
            (MIGRATING, {**HANDED, "authority__handedOver": "m0"}),
            (MIGRATING, {**HANDED, "authority__handedOver": ""}),
            ({**MIGRATING, "authority__migration": {**M, "target": "c-1"}}, HANDED),
            ({**MIGRATING, "authority__migration": {**M, "id": "m0"}}, HANDED),
            ({"authority__mode": "Migrating"}, HANDED),
            ({"authority__migration": M}, HANDED),
            ({**ALONE, "authority__migration": M}, HANDED),
        ],
        ids=[
            *("mirrored", "mirrored-unsaid", "unsaid", "another-id", "without-an-id"),
            *("another-target", "another-migration", "no-migration", "left-over", "alone"),
        ],
    )
    def test_in_no_other_way_is_another_made_the_owner(self, was: Raw, now: Raw) -> None:
        assert f"is {B}: host {A} may write its own name alone" in said(
            HOST_A, was, {"authority__handedOver": "", **now}
        )

    @pytest.mark.parametrize("writer", [HOST_B, CONTROLLER], ids=str)
    def test_nor_by_anybody_else(self, writer: Writer) -> None:
        """Not by the target itself either, which has a claim for that, and a proof to show."""
        assert said(writer, MIGRATING, HANDED)

    def test_not_to_a_host_that_keeps_no_replica(self) -> None:
        other = {**M, "target": "c-1"}
        was = {**MIGRATING, "authority__migration": other}
        now = {**HANDED, "authority__owner": "c-1", "authority__ownerInstance": "c-1/b/r"}
        assert "c-1 keeps no replica of it" in said(HOST_A, was, now)


class TestHandedOver:
    """What alone lets a host go on with a guest's memory."""

    WHY = "status.authority.handedOver: is for the host to say that has sent the guest"

    @pytest.mark.parametrize("was", [{}, MIGRATING, ALONE], ids=["mirrored", "migrating", "alone"])
    def test_no_host_says_it_of_itself(self, was: Raw) -> None:
        now = {**MIRRORED, "authority__handedOver": "m1"}
        if "authority__migration" not in was:
            now.pop("authority__migration")
        assert self.WHY in said(HOST_A, was, now)

    def test_not_in_a_claim_either(self) -> None:
        proof = {"kind": "LeaseLost", "atEpoch": 7, "instance": f"{A}/boot/run"}
        claim = {"claimants": {B: {"guest": "g", "proof": proof}}}
        was = {**MIGRATING, **claim}
        assert said(HOST_B, was, {**MINE, **MIRRORED}) == ""
        assert self.WHY in said(HOST_B, was, HANDED)

    @pytest.mark.parametrize("kept", ["m0", ""])
    def test_an_owner_says_again_what_is_said_or_forgets_it(self, kept: str) -> None:
        assert said(HOST_A, BY_ANOTHER, {"authority__handedOver": kept}) == ""
        assert self.WHY in said(HOST_A, BY_ANOTHER, {"authority__handedOver": "m2"})


class TestEnd:
    @pytest.mark.parametrize("now", [MIRRORED, {**MIRRORED, **ALONE}], ids=["back", "alone"])
    def test_the_source_takes_it_back_or_goes_on_alone(self, now: Raw) -> None:
        assert said(HOST_A, MIGRATING, now) == ""

    @pytest.mark.parametrize("now", [MIRRORED, {**MIRRORED, **ALONE}], ids=["back", "alone"])
    def test_the_target_does_neither(self, now: Raw) -> None:
        assert f"is {A}'s; host {B} may only claim it" in said(HOST_B, MIGRATING, now)

    def test_a_claim_out_of_it_needs_its_proof_as_ever(self) -> None:
        assert said(HOST_B, MIGRATING, {**MINE, **MIRRORED})
