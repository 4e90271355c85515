"""The generated schemas and the types agree; what is refused is named, what is good comes back."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator

from tandem_api.authority import Authority
from tandem_api.check.parsing import LAST_APPLIED, LONG, MANY, parse_problems
from tandem_api.check.writers import proves
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_controller.run.store import TYPES
from tandem_hostile import NASTY, Raw, any_place, guest, key, mirror, objects, replaced, spoiled

CRDS = Path(__file__).parents[3] / "crds"
EXAMPLES = int(os.environ.get("TANDEM_EXAMPLES", "100"))
search = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
OBJECTS = {key(raw): raw for raw in objects()}
NAMES = [("Site", "burjassot"), ("Host", "burjassot-1"), ("Mirror", "g"), ("Guest", "g")]


@cache
def validator(kind: str) -> Any:
    (path,) = CRDS.glob(f"tandem.dev_{kind.lower()}s.yaml")
    (version,) = yaml.safe_load(path.read_text())["spec"]["versions"]
    return OAS30Validator(version["schema"]["openAPIV3Schema"])


def refused_at(kind: str, raw: Raw) -> list[str]:
    """Where the server's schema refuses the object, as paths."""
    return [error.json_path for error in validator(kind).iter_errors(raw)]


class TestAgreement:
    @search
    @given(data=st.data(), which=st.sampled_from(NAMES))
    def test_what_a_server_lets_in_is_readable_or_told(self, data: Any, which: Any) -> None:
        """Nothing passes the schema and then fails without a sentence that names its field."""
        kind, _ = which
        raw = data.draw(spoiled(OBJECTS[which]))
        if refused_at(kind, raw):
            return
        for problem in parse_problems(TYPES[kind], raw):
            assert problem.field.split(".")[0].split("[")[0] == "spec", problem
            assert problem.message

    @search
    @given(data=st.data(), which=st.sampled_from(NAMES))
    def test_what_the_types_write_a_server_lets_in(self, data: Any, which: Any) -> None:
        kind, _ = which
        raw = data.draw(spoiled(OBJECTS[which]))
        if parse_problems(TYPES[kind], raw):
            return
        wire = TYPES[kind].parse(raw).wire()
        assert refused_at(kind, wire) == []
        assert TYPES[kind].parse(wire) == TYPES[kind].parse(raw)


class TestRefusals:
    @search
    @given(data=st.data(), which=st.sampled_from(NAMES), value=st.sampled_from(NASTY))
    def test_each_names_a_field_of_the_object(self, data: Any, which: Any, value: Any) -> None:
        kind, _ = which
        place = data.draw(any_place(OBJECTS[which]))
        for problem in parse_problems(TYPES[kind], replaced(OBJECTS[which], place, value)):
            top = problem.field.split(".")[0].split("[")[0]
            assert top == place[0], problem
            assert len(problem.message) > len("is wrong")

    @pytest.mark.parametrize(
        "note", ["[" * 100_000, '{"spec":' * 20_000, "3", "null", '{"spec": 3}']
    )
    def test_a_note_of_kubectls_may_hold_anything(self, note: str) -> None:
        """Whoever may write an object may write this, and the controller reads it."""
        raw = mirror("g")
        raw["metadata"]["annotations"] = {LAST_APPLIED: note}
        assert parse_problems(Mirror, raw) == []

    def test_there_are_never_too_many_nor_too_long(self) -> None:
        """A status must hold them, and telling them must not take the planner's time."""
        raw = mirror("g")
        names = [str(number) + "x" * 10_000 for number in range(20)]
        note = {"spec": dict.fromkeys([*names, *(str(number) for number in range(20_000))])}
        raw["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(note)}
        raw["spec"]["protocol"] = "y" * 10_000
        problems = parse_problems(Mirror, raw)
        assert len(problems) == MANY
        assert max(len(str(problem)) for problem in problems) < 4 * LONG


class TestReasonsOfAnotherVersion:
    """While programs are upgraded one after another, the old ones read what the new ones say."""

    def test_are_read_and_written_back_as_they_are(self) -> None:
        raw = mirror("g")
        raw["status"]["authority"]["reason"] = "InventedLater"
        raw["status"]["replicas"]["burjassot-1"]["reason"] = "InventedLater"
        parsed = Mirror.parse(raw)
        assert parsed.status.authority is not None
        assert parsed.status.authority.reason not in list(Reason)
        again = Mirror.parse(parsed.wire())
        assert again == parsed
        assert again.wire()["status"] == parsed.wire()["status"]
        assert "InventedLater" in json.dumps(parsed.wire())

    def test_so_are_proofs_and_they_prove_nothing(self) -> None:
        """A guest that nobody can read is never taken over again: going back once left that."""
        raw = guest("g")
        proof = {"kind": "InventedLater", "host": "a-1", "instance": "a-1/b/r", "atEpoch": 4}
        assigned = {"host": "b-1", "serial": 3, "reason": "LeaseLost", "proof": proof}
        parsed = Guest.parse({**raw, "status": {"assignment": assigned}})
        assert parsed.status.assignment is not None
        assert "InventedLater" in json.dumps(parsed.wire())
        owner = Authority(epoch=4, incarnation="u", owner="a-1", owner_instance="a-1/b/r")
        assert not proves(parsed.status.assignment.proof, owner)

    @pytest.mark.parametrize("text", ["no reason", "é", "x" * 129, 3, None])
    def test_must_still_be_reasons(self, text: object) -> None:
        raw = mirror("g")
        raw["status"]["authority"]["reason"] = text
        (problem,) = parse_problems(Mirror, raw)
        assert problem.field == "status.authority.reason"
