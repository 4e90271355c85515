"""The checked-in definitions are those of the types, and are of the form that Kubernetes asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field

from tandem_api.check.parsing import parse_problems
from tandem_api.crd.crdgen import (
    DEFAULT_DIRECTORY,
    UnsupportedSchema,
    definition,
    differences,
    main,
    node_at,
    render,
    schema_of,
    structural,
)
from tandem_api.meta import Model
from tandem_api.registry import KINDS, KindInfo

SCHEMAS = {info.kind: schema_of(info) for info in KINDS}


def test_the_files_are_those_of_the_types() -> None:
    assert differences(DEFAULT_DIRECTORY) == [], "run: python -m tandem_api.crd.crdgen"


def test_check_shows_the_difference_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    file = tmp_path / "tandem.dev_hosts.yaml"
    file.write_text(file.read_text().replace("- thost", "- hst"))
    assert main([str(tmp_path), "--check"]) == 1
    assert "-    - hst\n+    - thost\n" in capsys.readouterr().out
    assert "- hst" in file.read_text()


def test_a_missing_file_is_a_difference(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--check"]) == 1


def test_every_file_is_yaml_without_aliases() -> None:
    for text in render().values():
        assert yaml.safe_load(text)
        assert "&id" not in text


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schemas_are_structural(kind: str) -> None:
    for path, node in nodes(SCHEMAS[kind]):
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert ("items" in node) == (node["type"] == "array"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert not (node.get("nullable") and "enum" in node), path
        assert not {"$ref", "anyOf", "const", "title", "uniqueItems"} & set(node), path
        assert node.get("default", 0) is not None, path


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_status_has_no_defaults(kind: str) -> None:
    status = SCHEMAS[kind]["properties"]["status"]
    assert [path for path, node in nodes(status) if "default" in node] == []


def test_a_reason_is_an_open_set() -> None:
    """Else a new program could not report to a server with the old definitions."""
    authority = node_at(SCHEMAS["Mirror"], "status.authority.reason")
    assert authority["type"] == "string"
    assert "enum" not in authority


@pytest.mark.parametrize("kind", SCHEMAS)
def test_no_pattern_needs_more_than_the_server_can(kind: str) -> None:
    for path, node in nodes(SCHEMAS[kind]):
        assert "(?" not in node.get("pattern", ""), path


@pytest.mark.parametrize("info", KINDS, ids=lambda info: info.kind)
def test_columns_point_at_fields(info: KindInfo[Any]) -> None:
    schema = schema_of(info)
    for column in info.columns:
        path = column.path.removeprefix(".")
        if path.startswith("metadata"):
            continue
        field, _, rest = path.partition("[?")
        node = node_at(schema, field)
        expected = "array" if rest else {"date": "string"}.get(column.type, column.type)
        assert node["type"] in (expected, "boolean"), column


def test_names_are_unique() -> None:
    names = [definition(info)["spec"]["names"] for info in KINDS]
    words = [word for name in names for word in (name["plural"], *name["shortNames"])]
    assert len(words) == len(set(words))


def test_default_specs_hold_by_their_own_types() -> None:
    site = next(info for info in KINDS if info.kind == "Site")
    assert SCHEMAS["Site"]["properties"]["spec"]["default"] == {}
    assert parse_problems(site.type, {"metadata": {"name": "a"}, "spec": {}}) == []


class Sample(Model):
    """Types that the kinds do not use today."""

    either: int | str = 1
    constant: Literal["x"]
    free: dict[str, object] = Field(default_factory=dict)
    many: Any = None
    tags: frozenset[str] = frozenset()
    below: float = Field(1.0, gt=0, lt=2)


def test_types_become_what_a_server_knows() -> None:
    whole = Sample.model_json_schema(by_alias=True)
    schema = structural(whole, whole.get("$defs", {}))["properties"]
    assert schema["either"] == {"default": 1, "x-kubernetes-int-or-string": True}
    assert schema["constant"] == {"type": "string", "enum": ["x"]}
    assert schema["free"]["x-kubernetes-preserve-unknown-fields"] is True
    assert schema["tags"]["x-kubernetes-list-type"] == "set"
    assert schema["below"] == {
        "type": "number",
        "format": "double",
        "default": 1.0,
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 2,
        "exclusiveMaximum": True,
    }


def test_what_would_be_lost_is_refused() -> None:
    with pytest.raises(UnsupportedSchema, match="contentEncoding"):
        structural({"type": "string", "contentEncoding": "base64"}, {})
    with pytest.raises(UnsupportedSchema, match="union"):
        structural({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, {})
    with pytest.raises(UnsupportedSchema, match="names nothing"):
        node_at({"properties": {}}, "spec.absent")
