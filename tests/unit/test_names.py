"""A name means one thing: on the pages as on the wire, and in the Makefile."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
MAKEFILE = (ROOT / "Makefile").read_text()

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """By kind, what the API server holds objects to."""
    found = (yaml.safe_load(path.read_text())["spec"] for path in (ROOT / "crds").glob("*.yaml"))
    return {
        each["names"]["kind"]: each["versions"][0]["schema"]["openAPIV3Schema"] for each in found
    }


SCHEMAS = schemas()
DOTTED = re.compile(r"(?<![\w./-])(?:(\w+)\.)?((?:spec|status)\.[\w.\[\]]*[A-Za-z\]])(?![\w/(-])")


def names(schema: Schema) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from names(inner)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from names(schema[part])


def has(schema: Schema, path: str) -> bool:
    for part in path.split("."):
        schema = schema.get("items", schema)
        inner = schema.get("properties", {}).get(part.partition("[")[0])
        found = inner or schema.get("additionalProperties")
        if not isinstance(found, dict):
            return False
        schema = found
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
class TestPages:
    def test_fields_are_spelt_as_on_the_wire(self, page: Path) -> None:
        wire = {name.lower(): name for each in SCHEMAS.values() for name in names(each)}
        said = set(re.findall(r"\b[a-z]+[A-Z][A-Za-z]*\b", page.read_text()))
        wrong = {w: wire[w.lower()] for w in said if w != wire.get(w.lower(), w)}
        assert wrong == {}

    def test_paths_lead_to_a_field(self, page: Path) -> None:
        for kind, path in DOTTED.findall(page.read_text()):
            known = [SCHEMAS[kind]] if kind in SCHEMAS else SCHEMAS.values()
            assert any(has(each, path) for each in known), f"{kind}.{path}"


def test_the_pages_name_fields_at_all() -> None:
    said = [path for page in PAGES for _, path in DOTTED.findall(page.read_text())]
    assert len(said) > 50
    assert has(SCHEMAS["Mirror"], "spec.replicas[0].host")
    assert not has(SCHEMAS["Mirror"], "spec.replica")


def printed(target: str, *variables: str) -> str:
    """What make would run."""
    command = ["make", "-C", str(ROOT), "--dry-run", "--no-print-directory", target, *variables]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class TestMakefile:
    def test_each_variable_is_set_once(self) -> None:
        found = re.findall(r"^(\w+) [?:]?=", MAKEFILE, re.MULTILINE)
        assert sorted(set(found)) == sorted(found)

    def test_targets_do_what_their_help_says(self) -> None:
        """``(SEEDS=1..1000 JOBS=2)`` are what the variables are without being given."""
        helped = re.findall(r"^([a-z-]+):.*?## .*\((\w+=[^)]*)\)", MAKEFILE, re.MULTILINE)
        assert {"fuzz", "fuzz-lasting", "conformance", "mutants"} <= {name for name, _ in helped}
        for target, said in helped:
            if '"' not in said:
                assert printed(target) == printed(target, *said.split()), target

    @pytest.mark.parametrize("target", ["fuzz", "fuzz-lasting"])
    def test_seeds_are_those_of_random_faults(self, target: str) -> None:
        assert "--seeds 1..1000 --jobs 2" in printed(target)
        assert "--seeds 5..6 --jobs 1" in printed(target, "SEEDS=5..6", "JOBS=1")
        assert ("--lasting" in printed(target)) is (target == "fuzz-lasting")
        assert "5..6" not in printed("conformance", "SEEDS=5..6")
