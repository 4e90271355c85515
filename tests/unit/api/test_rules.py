"""The rules in the definitions say what the examples say that the API server refuses by rule."""

from typing import Any

import pytest

from tandem_api.crd.crdgen import schema_of
from tandem_api.registry import KINDS
from tandem_examples import (
    BY_RULE,
    PRODUCTION,
    TANDEM,
    Bad,
    Raw,
    bad_files,
    documents,
    earlier,
    good_files,
)
from tandem_examples.server_rules import broken_defaults, broken_rules

SCHEMAS = {info.kind: schema_of(info) for info in KINDS}
LIST_LIMIT = 16


def refusals(raw: Raw) -> list[str]:
    schema, old = SCHEMAS[raw["kind"]], earlier(raw)
    return list(broken_rules(schema, raw) if old is None else broken_rules(schema, raw, old))


@pytest.mark.parametrize("path", good_files(), ids=lambda path: path.stem)
def test_good_examples_break_no_rule(path: Any) -> None:
    assert [refusal for raw in documents(path) for refusal in refusals(raw)] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_rules_hold_for_defaults_as_they_are_written(kind: str) -> None:
    assert list(broken_defaults(SCHEMAS[kind])) == []


def test_a_rule_that_its_own_default_cannot_answer_is_noticed() -> None:
    text = {"type": "string", "default": "a"}
    rule = {"rule": "self.name == 'a'", "message": "name it a"}
    schema = {
        "type": "object",
        "default": {},
        "properties": {"name": text},
        "x-kubernetes-validations": [rule],
    }
    assert len(list(broken_defaults(schema))) == 1
    schema["x-kubernetes-validations"] = [{**rule, "rule": "has(self.name)"}]
    assert list(broken_defaults(schema)) == ["name it a"]


@pytest.mark.parametrize("path", good_files(), ids=lambda path: path.stem)
def test_an_unchanged_object_breaks_no_rule(path: Any) -> None:
    for raw in documents(path):
        assert list(broken_rules(SCHEMAS[raw["kind"]], raw, raw)) == []


@pytest.mark.parametrize(
    "bad",
    [bad for bad in bad_files() if bad.noticed_by == BY_RULE],
    ids=lambda bad: bad.path.stem,
)
def test_a_rule_refuses_in_the_words_of_tandem(bad: Bad) -> None:
    found = [refusal for raw in bad.objects for refusal in refusals(raw)]
    assert len(found) == 1, found
    assert bad.is_said_as(found[0])


@pytest.mark.parametrize(
    "bad",
    [bad for bad in bad_files() if bad.noticed_by == TANDEM],
    ids=lambda bad: bad.path.stem,
)
def test_no_rule_can_know(bad: Bad) -> None:
    assert [refusal for raw in bad.objects for refusal in refusals(raw)] == []


def production(kind: str) -> Raw:
    return next(raw for raw in documents(PRODUCTION) if raw["kind"] == kind)


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ("20Gi", "20Gi", True),
        ("20Gi", "21Gi", True),
        ("20Gi", "20480Mi", True),
        ("20Gi", "20479Mi", False),
        ("20Gi", "20G", False),
        ("1Ti", "1023Gi", False),
        ("1073741824", "1Gi", True),
        ("1Gi", "1073741823", False),
        ("1k", "1Ki", True),
    ],
)
def test_sizes_compare_across_units(old: str, new: str, allowed: bool) -> None:
    before, after = production("Mirror"), production("Mirror")
    before["spec"]["volumes"][0]["size"] = old
    after["spec"]["volumes"][0]["size"] = new
    assert (list(broken_rules(SCHEMAS["Mirror"], after, before)) == []) is allowed


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["root", "data"], True),
        (["root", "data", "logs"], True),
        (["data", "root"], False),
        (["root", "logs", "data"], False),
        (["root"], False),
        (["root", "info"], False),
    ],
)
def test_volumes_are_only_added_at_the_end(names: list[str], allowed: bool) -> None:
    before, after = production("Mirror"), production("Mirror")
    after["spec"]["volumes"] = [{"name": name, "size": "100Gi"} for name in names]
    for replica in after["spec"]["replicas"]:
        replica["devices"] = {name: f"/dev/vg0/{name}" for name in names}
    assert (list(broken_rules(SCHEMAS["Mirror"], after, before)) == []) is allowed


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (["root"], ["root", "data"], False),
        (["root"], ["data"], False),
        (["root", "data"], ["root"], True),
        (["root", "data"], ["root", "data"], True),
        (["root", "data"], ["root", "logs"], False),
        (["root", "data"], ["data"], False),
    ],
)
def test_what_was_set_up_has_the_volumes_that_it_had(
    before: list[str], after: list[str], allowed: bool
) -> None:
    """``root`` alone was set up: ``data`` was added where no rule was in the way, and may go."""
    status = {
        "authority": {"epoch": 5, "incarnation": "i"},
        "deviceNumbers": {"port": 7789, "minors": {"root": 0}},
    }
    objects = []
    for names in (before, after):
        raw = production("Mirror")
        raw["spec"]["volumes"] = [{"name": name, "size": "100Gi"} for name in names]
        for replica in raw["spec"]["replicas"]:
            replica["devices"] = {name: f"/dev/vg0/{name}" for name in names}
        objects.append({**raw, "status": status})
    old, new = objects
    assert (list(broken_rules(SCHEMAS["Mirror"], new, old)) == []) is allowed


def test_a_volume_that_has_its_number_may_come_back() -> None:
    """As after it was taken out of the spec by mistake, with the rules off."""
    before, after = production("Mirror"), production("Mirror")
    numbers = {"port": 7789, "minors": {"root": 0, "data": 1}}
    status = {"authority": {"epoch": 5, "incarnation": "i"}, "deviceNumbers": numbers}
    before["spec"]["volumes"] = before["spec"]["volumes"][:1]
    for replica in before["spec"]["replicas"]:
        del replica["devices"]["data"]
    before["status"] = after["status"] = status
    assert list(broken_rules(SCHEMAS["Mirror"], after, before)) == []


def test_a_guest_keeps_its_mirror_while_it_runs() -> None:
    before, after = production("Guest"), production("Guest")
    after["spec"]["mirror"] = "other"
    assert list(broken_rules(SCHEMAS["Guest"], after, before)) == []
    after["status"] = {"host": "burjassot-1"}
    assert len(list(broken_rules(SCHEMAS["Guest"], after, before))) == 1


def test_every_list_that_a_rule_walks_is_bounded() -> None:
    """Else a server reckons with the largest request there can be, and refuses the definition."""
    for schema in SCHEMAS.values():
        assert list(unbounded_lists(schema["properties"]["spec"])) == []


def unbounded_lists(schema: dict[str, Any], path: str = "spec") -> Any:
    if schema.get("type") == "array" and schema.get("maxItems", 1000) > LIST_LIMIT:
        yield path
    if "additionalProperties" in schema and schema.get("maxProperties", 1000) > LIST_LIMIT:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from unbounded_lists(child, f"{path}.{name}")
    if "items" in schema:
        yield from unbounded_lists(schema["items"], f"{path}[]")
