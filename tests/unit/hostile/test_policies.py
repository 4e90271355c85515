"""The policies in the API server refuse what ``writers`` refuses, in its words, and no more."""

import copy
import json
import os
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.apiserver.kinds import served_name
from sim.apiserver.policies import PERSON, denied, refusal, status_refusal, user_of
from tandem_api.authority import Authority
from tandem_api.check.deletion import DELETE_ANYWAY, deletion_problems
from tandem_api.check.writers import (
    CONTROLLER_USER,
    Party,
    Writer,
    lease_problems,
    override_problems,
    status_problems,
)
from tandem_api.crd.policies import POLICIES
from tandem_api.crd.policygen import DEFAULT_DIRECTORY, differences, main, render
from tandem_api.kinds.mirror import Mirror, MirrorStatus
from tandem_examples import ROOT
from tandem_hostile import A, B, Raw, guest, host, mirror, spoiled
from unit.actuator.core.test_properties import (
    all_facts,
    assignments,
    authorities,
    mirrors,
    proposals,
)
from unit.hostile.test_writers import with_claimant

EXAMPLES = int(os.environ.get("TANDEM_EXAMPLES", "100"))
WRITERS = (
    Writer(Party.HOST, A),
    Writer(Party.HOST, B),
    Writer(Party.HOST, "elsewhere"),
    Writer(Party.HOST),
    Writer(Party.CONTROLLER),
    Writer(Party.PERSON),
)
writers = st.sampled_from(WRITERS)


def agreed(kind: str, writer: Writer, old: Raw, new: Raw) -> str:
    """The policy's refusal, which must be one of the writers' problems, or neither has any."""
    problems = [str(problem) for problem in status_problems(kind, writer, old, new)]
    said = status_refusal(kind, writer, old, new)
    assert said in problems or (said == "" and problems == []), (said, problems)
    of_essence = denied(served_name(kind), "status", user_of(writer), old, new)
    assert of_essence.endswith(said) and bool(of_essence) is bool(said), (said, of_essence)
    return said


class TestFiles:
    def test_are_those_of_the_rules(self) -> None:
        assert differences(DEFAULT_DIRECTORY) == [], "run: make policies"

    def test_hold_nothing_else(self) -> None:
        assert {path.name for path in DEFAULT_DIRECTORY.glob("*.yaml")} == set(render())

    def test_a_difference_is_shown_and_fails(self, tmp_path: Any, capsys: Any) -> None:
        assert main([str(tmp_path)]) == 0
        file = tmp_path / "heartbeats.yaml"
        file.write_text(file.read_text().replace("failurePolicy: Fail", "failurePolicy: Ignore"))
        assert main([str(tmp_path), "--check"]) == 1
        assert "-  failurePolicy: Ignore\n+  failurePolicy: Fail\n" in capsys.readouterr().out

    def test_fail_closed_and_deny(self) -> None:
        for text in render().values():
            for raw in yaml.safe_load_all(text):
                if raw["kind"] == "ValidatingAdmissionPolicy":
                    assert raw["spec"]["failurePolicy"] == "Fail"
                if raw["kind"] == "ValidatingAdmissionPolicyBinding":
                    assert raw["spec"]["validationActions"] == ["Deny"]

    def test_hold_the_expressions_as_they_are(self) -> None:
        """Folding a line must not change one."""
        policies = {
            raw["metadata"]["name"]: raw["spec"]
            for text in render().values()
            for raw in yaml.safe_load_all(text)
            if raw["kind"] == "ValidatingAdmissionPolicy"
        }
        for policy in POLICIES:
            spec = policies[policy.name]
            told = [each["expression"] for each in spec["validations"]]
            assert told == [each.expression for each in policy.validations]
            named = {each["name"]: each["expression"] for each in spec.get("variables", ())}
            assert named == dict(policy.variables)

    def test_come_with_what_users_apply(self) -> None:
        default = ROOT / "manifests" / "default" / "kustomization.yaml"
        assert "../policies" in yaml.safe_load(default.read_text())["resources"]


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_every_transition_of_a_host_passes(at: Mirror, facts: Any, assigned: Any) -> None:
    me, at = Writer(Party.HOST, facts.host), with_claimant(at, assigned)
    for proposal in proposals(at, facts, assigned):
        status = at.status.model_copy(update={"authority": proposal.authority})
        after = at.model_copy(update={"status": status})
        assert agreed("Mirror", me, at.wire(), after.wire()) == ""


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(mirrors(), st.none() | authorities(), writers, st.booleans())
def test_any_two_authorities_are_judged_alike(
    at: Mirror, new: Authority | None, writer: Writer, next_epoch: bool
) -> None:
    """Most of them are unlawful."""
    old = at.status.authority
    if new is not None and old is not None and next_epoch:
        new = new.model_copy(update={"epoch": old.epoch + 1, "incarnation": old.incarnation})
    after = at.model_copy(update={"status": at.status.model_copy(update={"authority": new})})
    agreed("Mirror", writer, at.wire(), after.wire())


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoiled(mirror("g"), times=3), spoiled(mirror("g"), times=3), writers)
def test_any_two_statuses_are_judged_alike(one: Raw, other: Raw, writer: Writer) -> None:
    """By the policy on all of them, and by the simulated server, which looks at their essence."""
    if _taken(one) and _taken(other):
        old, new = ({**mirror("g"), "status": each["status"]} for each in (one, other))
        agreed("Mirror", writer, old, new)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoiled(mirror("g"), times=3), writers)
def test_any_status_that_a_server_takes_is_judged_alike(bad: Raw, writer: Writer) -> None:
    if _taken(bad):
        agreed("Mirror", writer, mirror("g"), {**mirror("g"), "status": bad["status"]})


def _taken(raw: Raw) -> bool:
    """Whether the status is one that the schema allows: nothing of it changes as it is read."""
    try:
        read = MirrorStatus.model_validate(raw.get("status"))
    except ValueError:
        return False
    # As text: to Python 1 is True, and to a schema it is not.
    same = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return json.dumps(same, sort_keys=True) == json.dumps(raw["status"], sort_keys=True)


class TestEntries:
    @pytest.mark.parametrize("writer", WRITERS, ids=str)
    @pytest.mark.parametrize("change", ["added", "removed", "changed", "emptied"])
    @pytest.mark.parametrize(("kind", "field"), [("Mirror", "replicas"), ("Guest", "hosts")])
    def test_of_each_host(self, kind: str, field: str, change: str, writer: Writer) -> None:
        old: Raw = (mirror if kind == "Mirror" else guest)("g")
        new = copy.deepcopy(old)
        entries = new["status"][field]
        match change:
            case "added":
                entries["elsewhere"] = {}
            case "removed":
                del entries[A]
            case "changed":
                entries[A]["message"] = "changed"
            case "emptied":
                entries.clear()
        said = agreed(kind, writer, old, new)
        mine = {"added": "elsewhere", "emptied": "both" if kind == "Mirror" else A}.get(change, A)
        allowed = {Party.HOST: writer.host == mine, Party.PERSON: True, Party.CONTROLLER: False}
        assert (said == "") is allowed[writer.party]

    def test_of_a_status_that_was_empty(self) -> None:
        old = {k: v for k, v in mirror("g").items() if k != "status"}
        new = {**old, "status": {"replicas": {A: {"role": "Secondary"}}}}
        assert agreed("Mirror", Writer(Party.HOST, A), old, new) == ""
        assert agreed("Mirror", Writer(Party.HOST, B), old, new)

    @pytest.mark.parametrize("writer", WRITERS, ids=str)
    @pytest.mark.parametrize("change", [{"bootID": "x"}, {"phase": "x"}, {"versions": {}}])
    def test_of_a_host_itself(self, change: Raw, writer: Writer) -> None:
        old = host(A)
        new = {**old, "status": {**old["status"], **change}}
        said = agreed("Host", writer, old, new)
        host_s = set(change) != {"phase"}
        allowed = {Party.HOST: host_s and writer.host == A, Party.CONTROLLER: not host_s}
        assert (said == "") is allowed.get(writer.party, True)


class TestDeletion:
    def said(self, raw: Raw) -> str:
        problems = [str(each) for each in deletion_problems(Mirror.parse(raw))]
        said = refusal("tandem-mirror-deletion", {"username": PERSON}, raw, None)
        assert said in problems or (said == "" and problems == []), (said, problems)
        return said

    def test_of_one_in_use_is_refused(self) -> None:
        assert f"is in use by {A} (Mirrored)" in self.said(mirror("g"))

    def test_of_the_only_good_copy_is_refused(self) -> None:
        raw = mirror("g")
        raw["status"]["authority"].update(owner="", ownerInstance="")
        assert self.said(raw) == ""
        raw["status"]["authority"]["eligible"][B]["eligible"] = False
        assert f"has every write on {A} alone" in self.said(raw)

    def test_is_let_through_for_who_means_it(self) -> None:
        raw = mirror("g")
        raw["metadata"]["annotations"][DELETE_ANYWAY] = raw["metadata"]["uid"]
        assert self.said(raw) == ""
        raw["metadata"]["annotations"][DELETE_ANYWAY] = "another's"
        assert self.said(raw)

    @pytest.mark.parametrize("status", [None, {}, {"authority": None}])
    def test_of_one_that_was_never_used_is_let_through(self, status: Raw | None) -> None:
        raw = {k: v for k, v in mirror("g").items() if k != "status"}
        assert self.said(raw if status is None else {**raw, "status": status}) == ""


@pytest.mark.parametrize("writer", WRITERS, ids=str)
@pytest.mark.parametrize(
    "name", [f"host-{A}", f"host-{B}", "host-", "host-elsewhere", "tandem-controller", "other"]
)
def test_a_lease_is_made_by_its_own_host(name: str, writer: Writer) -> None:
    problems = [str(each) for each in lease_problems(writer, name)]
    lease = {"metadata": {"name": name, "namespace": "tandem-system"}}
    said = refusal("tandem-heartbeats", user_of(writer), None, lease)
    assert [said] == problems or (said == "" and problems == [])
    of_host = writer.party is Party.HOST
    assert (said == "") is (name == f"host-{writer.host}" if of_host else "host-" not in name)


class TestOverride:
    def said(self, user: str, old: Raw | None, new: Raw) -> str:
        problems = [str(each) for each in override_problems(user, old, new)]
        said = refusal("tandem-override", {"username": user}, old, new)
        assert [said] == problems or (said == "" and problems == [])
        return said

    def of(self, **changes: Any) -> Raw:
        raw = mirror("g")
        raw["spec"]["override"].update(changes)
        return raw

    def without(self) -> Raw:
        raw = mirror("g")
        del raw["spec"]["override"]
        return raw

    def test_is_ordered_in_ones_own_name(self) -> None:
        assert self.said("ana", self.without(), self.of()) == ""
        assert self.said("eve", self.without(), self.of()) == (
            "spec.override.by: is ana, and it is eve who orders it; write that name"
        )
        assert self.said("eve", self.of(), self.of(epoch=9))
        assert self.said("eve", self.of(), self.of(epoch=9, by="eve")) == ""

    def test_is_judged_where_it_changes_alone(self) -> None:
        other = self.of()
        other["spec"]["port"] = 7790
        assert self.said("eve", self.of(), other) == ""
        assert self.said("eve", self.of(), self.without()) == ""
        assert self.said("eve", self.without(), self.without()) == ""

    def test_is_judged_in_a_new_mirror(self) -> None:
        assert self.said("ana", None, self.of()) == ""
        assert self.said("eve", None, self.of())
        assert self.said("eve", None, self.without()) == ""


def test_null_is_absent() -> None:
    """A person may have put null in place of what is not there; nobody is refused for it."""
    old = mirror("g")
    old["status"]["authority"].update(override=None, migration=None, fenced=None)
    new = copy.deepcopy(old)
    new["status"]["authority"].update(epoch=8, mode="Standalone")
    assert status_refusal("Mirror", Writer(Party.HOST, A), old, new) == ""


def test_it_is_known_who_asks() -> None:
    for writer in WRITERS:
        user = user_of(writer)
        assert Writer.of(user["username"], user["groups"]) == writer
    assert user_of(Writer(Party.CONTROLLER))["username"] == CONTROLLER_USER
