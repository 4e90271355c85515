"""Who may write what: every transition of the protocol passes, what no rule leads to does not."""

import copy
import os
from typing import Any

import pytest
from hypothesis import given, settings

from sim.apiserver.policies import status_refusal
from tandem_api.check.writers import CONTROLLER_USER, Party, Writer, status_problems
from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.mirror import Claimant, Mirror
from tandem_api.meta import Problem
from tandem_controller.decide.mirrors.override import Grant, override
from tandem_controller.decide.world.phases import is_takeover
from tandem_hostile import A, B, Raw, guest, host, mirror
from unit.actuator.core.test_properties import all_facts, assignments, mirrors, proposals
from unit.controller.scenes import Scene

EXAMPLES = int(os.environ.get("TANDEM_EXAMPLES", "100"))
HOST_A, HOST_B = Writer.of(f"tandem:host:{A}"), Writer.of(f"tandem:host:{B}")
CONTROLLER = Writer.of(CONTROLLER_USER)
PERSON = Writer.of("ana", ["system:masters"])


@settings(max_examples=EXAMPLES * 5, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_every_transition_of_a_host_is_let_through(at: Mirror, facts: Any, assigned: Any) -> None:
    """A rule that is too strict would keep a link-loss grant or a takeover from being written."""
    me = Writer.of(f"tandem:host:{facts.host}")
    at = with_claimant(at, assigned)
    for proposal in proposals(at, facts, assigned):
        status = at.status.model_copy(update={"authority": proposal.authority})
        after = at.model_copy(update={"status": status})
        assert status_problems("Mirror", me, at.wire(), after.wire()) == []


def with_claimant(at: Mirror, assigned: Assignment) -> Mirror:
    """As the controller leaves it before it writes the assignment."""
    proof = assigned.proof if is_takeover(assigned.proof) else None
    entries = {assigned.host: Claimant(guest="g", proof=proof)} if assigned.host else {}
    return at.model_copy(update={"status": at.status.model_copy(update={"claimants": entries})})


def test_an_override_by_the_controller_is_let_through() -> None:
    scene = Scene().lost()
    scene.authority = {**(scene.authority or {}), "mode": "Standalone"}
    scene.mirror["override"] = {"host": B, "epoch": 7, "acceptDataLoss": True, "by": "ana"}
    scene.link_down_since_s = {B: 0.0}
    before = scene.parsed_mirror()
    grant = override(before, scene.world())
    assert isinstance(grant, Grant)
    status = before.status.model_copy(update={"authority": grant.authority})
    after = before.model_copy(update={"status": status})
    assert status_problems("Mirror", CONTROLLER, before.wire(), after.wire()) == []
    assert status_refusal("Mirror", CONTROLLER, before.wire(), after.wire()) == ""


def patched(raw: Raw, **fields: Any) -> Raw:
    """The object with ``path__to__field`` under its status set; None takes it away."""
    made = copy.deepcopy(raw)
    for path, value in fields.items():
        *parts, last = path.split("__")
        inner = made["status"]
        for part in parts:
            inner = inner[part]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return made


def fields(problems: list[Problem]) -> list[str]:
    return [problem.field for problem in problems]


REPORT = {"state": "Absent"}


@pytest.mark.parametrize(
    ("kind", "writer", "changes", "refused"),
    [
        ("Mirror", HOST_A, {"replicas": {A: {}, B: mirror("g")["status"]["replicas"][B]}}, []),
        ("Mirror", HOST_B, {"replicas": {B: {}}}, [f"status.replicas.{A}"]),
        ("Mirror", HOST_A, {"owner": B}, ["status.owner"]),
        ("Mirror", HOST_A, {"deviceNumbers": {"port": 1, "minors": {}}}, ["status.deviceNumbers"]),
        ("Mirror", HOST_A, {"conditions": []}, ["status.conditions"]),
        ("Mirror", CONTROLLER, {"replicas": {}}, ["status.replicas"]),
        ("Mirror", CONTROLLER, {"conditions": [], "phase": "x", "message": "m"}, []),
        ("Mirror", PERSON, {"replicas": {}, "conditions": []}, []),
        (
            "Mirror",
            Writer.of("x", ["tandem:hosts"]),
            {"replicas": {}},
            ["status.replicas." + A] * 1,
        ),
        ("Guest", HOST_A, {"hosts": {A: REPORT}}, []),
        ("Guest", HOST_B, {"hosts": {A: REPORT}}, [f"status.hosts.{A}"]),
        ("Guest", HOST_B, {"assignment__host": B}, ["status.assignment"]),
        ("Guest", CONTROLLER, {"assignment__host": B}, []),
        ("Guest", CONTROLLER, {"hosts": {}}, ["status.hosts"]),
        ("Host", HOST_A, {"instance": f"{A}/x/y", "bootID": "x", "versions": {}}, []),
        ("Host", HOST_B, {"bootID": "x"}, ["status.bootID"]),
        ("Host", HOST_A, {"phase": "Ready", "conditions": []}, ["status.conditions"]),
        ("Host", CONTROLLER, {"bootID": "x"}, ["status.bootID"]),
    ],
)
def test_fields(kind: str, writer: Writer, changes: Raw, refused: list[str]) -> None:
    raw = {"Mirror": mirror("g"), "Guest": guest("g"), "Host": host(A)}[kind]
    after = patched(raw, **changes)
    got = fields(status_problems(kind, writer, raw, after))
    assert bool(status_refusal(kind, writer, raw, after)) == bool(refused)
    assert got[: len(refused)] == refused
    assert bool(got) == bool(refused)


NEXT = {"authority__epoch": 8}
MINE = {"authority__owner": B, "authority__ownerInstance": f"{B}/boot/run"}


@pytest.mark.parametrize(
    ("writer", "changes", "refused"),
    [
        (HOST_A, {**NEXT, "authority__mode": "Standalone"}, ""),
        (HOST_A, {"authority__mode": "Standalone"}, "epoch"),
        (HOST_A, {"authority__epoch": 9}, "epoch"),
        (PERSON, {"authority__epoch": 1}, "epoch"),
        (PERSON, {"authority": None}, "authority"),
        (PERSON, {**NEXT, "authority__mode": "nonsense"}, "authority"),
        (PERSON, {**NEXT, "authority__mode": "Hold"}, ""),
        (PERSON, {**NEXT, "authority__owner": "ghost"}, "owner"),
        (PERSON, {**NEXT, "authority__incarnation": "x"}, "incarnation"),
        (PERSON, {**NEXT, "authority__minProtocol": 0}, "minProtocol"),
        (PERSON, {**NEXT, "authority__ownerInstance": "x"}, "ownerInstance"),
        (HOST_A, {**NEXT, **MINE}, "owner"),
        (HOST_B, {**NEXT, "authority__mode": "Standalone"}, "authority"),
        (HOST_B, {**NEXT, "authority__owner": "", "authority__ownerInstance": ""}, "authority"),
        (HOST_A, {**NEXT, "authority__mode": "Hold"}, "mode"),
        (HOST_A, {**NEXT, "authority__fenced": {B: {"instance": "x", "epoch": 7}}}, "fenced"),
        (HOST_A, {**NEXT, "authority__override__by": "eve"}, "override"),
        (CONTROLLER, {**NEXT, **MINE}, "authority"),
        (CONTROLLER, {**NEXT, "authority__mode": "Mirrored"}, "authority"),
    ],
)
def test_authority(writer: Writer, changes: Raw, refused: str) -> None:
    raw = mirror("g")
    after = patched(raw, **changes)
    problems = status_problems("Mirror", writer, raw, after)
    got = fields(problems)
    if changes.get("authority__mode") != "nonsense":  # that, the schema refuses
        said = status_refusal("Mirror", writer, raw, after)
        assert said == (str(problems[0]) if problems else "")
    assert bool(got) == bool(refused), got
    assert not refused or refused in got[0]


class TestClaims:
    """By a host that does not own the mirror, which another one owns."""

    def problems(
        self, *, assigned: str = B, at_epoch: int = 7, kind: str = "LeaseLost", **was: Any
    ) -> str:
        about = {"kind": kind, "atEpoch": at_epoch, "instance": f"{A}/boot/run"}
        claimants = {assigned: {"guest": "g", "proof": about}}
        before = patched(mirror("g"), claimants=claimants, **was)
        after = patched(before, **NEXT, **MINE)
        found = list(map(str, status_problems("Mirror", HOST_B, before, after)))
        assert status_refusal("Mirror", HOST_B, before, after) == (found or [""])[0]
        return "; ".join(found)

    def test_with_the_controllers_proof_is_let_through(self) -> None:
        assert self.problems() == ""

    def test_without_an_assignment_is_refused(self) -> None:
        assert f"no guest of this mirror is assigned to {B}" in self.problems(assigned=A)

    @pytest.mark.parametrize("proof", [{"at_epoch": 6}, {"kind": "Unowned"}, {"kind": "SameHost"}])
    def test_without_a_proof_about_this_owner_is_refused(self, proof: Any) -> None:
        assert f"holds no proof that {A} has stopped" in self.problems(**proof)

    def test_of_a_mirror_that_its_owner_wrote_alone_is_refused(self) -> None:
        assert "may have written alone" in self.problems(authority__mode="Standalone")

    def test_by_one_that_is_not_eligible_is_refused(self) -> None:
        no = {"eligible": False, "reason": "LinkLost"}
        assert "may lack acknowledged writes" in self.problems(authority__eligible={B: no})

    def test_of_a_mirror_that_nobody_owns_needs_no_proof(self) -> None:
        nobody: Raw = {"authority__owner": "", "authority__ownerInstance": ""}
        assert self.problems(**nobody, kind="Unowned") == ""
        assert f"no guest of this mirror is assigned to {B}" in self.problems(**nobody, assigned=A)

    def test_is_judged_as_before_where_the_field_is_not_known_yet(self) -> None:
        """A controller of the release before takes guests over, and writes no claimant."""
        before = patched(mirror("g"), claimants=None)
        after = patched(before, **NEXT, **MINE)
        assert status_problems("Mirror", HOST_B, before, after) == []
        assert status_refusal("Mirror", HOST_B, before, after) == ""
        lacking = {"eligible": False, "reason": "LinkLost"}
        before = patched(before, authority__eligible={B: lacking})
        after = patched(before, **NEXT, **MINE)
        assert "may lack acknowledged" in status_refusal("Mirror", HOST_B, before, after)

    def test_a_host_cannot_make_itself_one(self) -> None:
        before = mirror("g")
        mine = {B: {"guest": "g", "proof": {"kind": "LeaseLost", "atEpoch": 7}}}
        said = status_refusal("Mirror", HOST_B, before, patched(before, claimants=mine))
        assert said == f"status.claimants: is not a host's to write, and host {B} did"


def test_the_first_authority_is_the_controllers() -> None:
    before = patched(mirror("g"), authority=None)
    first = {"epoch": 1, "incarnation": "uid-g", "mode": "Mirrored", "reason": "Initial"}
    after = patched(before, authority=first)
    assert status_problems("Mirror", CONTROLLER, before, after) == []
    assert fields(status_problems("Mirror", HOST_A, before, after)) == ["status.authority"]
    owned = patched(before, authority={**first, "owner": A, "ownerInstance": f"{A}/b/r"})
    assert fields(status_problems("Mirror", CONTROLLER, before, owned)) == ["status.authority"]


@pytest.mark.parametrize(
    ("user", "groups", "party"),
    [
        ("tandem:host:a", [], Party.HOST),
        ("somebody", ["tandem:hosts"], Party.HOST),
        (CONTROLLER_USER, ["system:serviceaccounts"], Party.CONTROLLER),
        ("system:serviceaccount:other:tandem-controller", [], Party.PERSON),
        ("ana", ["system:masters"], Party.PERSON),
    ],
)
def test_writers(user: str, groups: list[str], party: Party) -> None:
    assert Writer.of(user, groups).party is party
