"""The repository keeps its own rules: sizes, layout, and pages that say what the code has.

A limit is held from the first commit, or it is not held. Where a longer function or file reads
better, it stands in the list of exceptions, with the reason.
"""

import ast
import gc
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

from tandem_actuator.core.order import RULES, Task
from tandem_actuator.settings import Settings as ActuatorSettings
from tandem_api.authority import Mode
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase, HostPhase, MirrorPhase, MovePhase, SitePhase
from tandem_base.settings import BaseSettings
from tandem_controller.settings import Settings as ControllerSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))

FOLDERS = (
    "crds",
    "base",
    "kube",
    "controller",
    "node-actuator",
    "lab",
    "manifests",
    "model",
    "tests",
)
FUNCTION_LINES = 50
FILE_LINES = 400
LONG_FUNCTIONS: dict[str, str] = {}
LONG_FILES: dict[str, str] = {
    "tests/sim/drbd/replica.py": "one replica's state machine, read beside DRBD's own",
    "tests/sim/drbd/pair.py": "two replicas' handshake, read beside DRBD's own",
}


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file of the project."""
    return tuple(sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    """Without the collector: a finaliser that prints a traceback parses, too, and Python before
    3.11.10 takes the two for one ("AST constructor recursion depth mismatch").
    """
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file, as ``file:name``, with its lines."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{relative(path)}:{node.name}", node.end_lineno - node.lineno + 1


class TestSizes:
    def test_functions(self) -> None:
        long = {
            name: lines
            for path in sources()
            for name, lines in functions(path)
            if lines > FUNCTION_LINES
        }
        assert set(long) == set(LONG_FUNCTIONS), f"longer than {FUNCTION_LINES} lines: {long}"

    def test_files(self) -> None:
        lines = {relative(path): len(path.read_text().splitlines()) for path in sources()}
        long = {name: count for name, count in lines.items() if count > FILE_LINES}
        assert set(long) == set(LONG_FILES), f"longer than {FILE_LINES} lines: {long}"


class TestSources:
    def test_every_module_says_what_it_is(self) -> None:
        silent = [
            relative(path)
            for path in sources()
            if path.name != "__init__.py" and not ast.get_docstring(parsed(path))
        ]
        assert silent == []

    def test_no_test_patches_our_own_code(self) -> None:
        """A test that needs it shows a seam in the wrong place."""
        patched = [
            relative(path)
            for path in sources()
            if re.search(
                r"\bmock\.patch|\bmonkeypatch\.setattr\(\s*[\"']?tandem_", path.read_text()
            )
            and path != Path(__file__)
        ]
        assert patched == []

    def test_every_reason_is_given_somewhere(self) -> None:
        text = "".join(
            path.read_text()
            for path in sources()
            if "tests" not in path.parts and path.name != "reasons.py"
        )
        unused = [reason.name for reason in Reason if f"Reason.{reason.name}" not in text]
        assert unused == []


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    text = (DOCS / page).read_text()
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{page} has no heading {title!r}"
    lines = [line for line in match[1].splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"{page} has no table under {title!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def first_column(page: str, title: str) -> list[str]:
    return [row[0].strip("`") for row in rows(page, title)]


class TestPages:
    @pytest.mark.parametrize(
        ("title", "kind"),
        [
            ("Phases of a guest", GuestPhase),
            ("Phases of a move", MovePhase),
            ("Phases of a mirror", MirrorPhase),
            ("Phases of a host", HostPhase),
            ("Phases of a site", SitePhase),
            ("Modes of a mirror's authority", Mode),
        ],
    )
    def test_states(self, title: str, kind: type[StrEnum]) -> None:
        assert first_column("states.md", title) == [str(member) for member in kind]

    def test_rules_of_a_host_in_their_order(self) -> None:
        listed = first_column("states.md", "What a host does, first match wins")
        assert listed == [rule.__name__.lstrip("_") for rule in RULES]

    def test_tasks_of_a_host(self) -> None:
        cells = [row[1] for row in rows("states.md", "What a host does, first match wins")]
        listed = {name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)}
        assert listed == {str(task) for task in Task}

    def test_every_reason_is_explained_once(self) -> None:
        text = (DOCS / "operations.md").read_text()
        section = text.split("## Reasons", 1)[1].split("\n## ", 1)[0]
        listed = re.findall(r"^\| `([A-Za-z]+)`", section, re.MULTILINE)
        assert sorted(listed) == sorted(str(reason) for reason in Reason)

    @pytest.mark.parametrize(
        ("title", "settings"),
        [("tandem-controller", ControllerSettings), ("tandem-actuator", ActuatorSettings)],
    )
    def test_settings(
        self, title: str, settings: type[ControllerSettings] | type[ActuatorSettings]
    ) -> None:
        shared = list(BaseSettings.model_fields)
        own = [name for name in settings.model_fields if name not in shared]
        assert first_column("configuration.md", title) == [*own, *shared]

    @pytest.mark.parametrize("page", PAGES, ids=relative)
    def test_links_lead_somewhere(self, page: Path) -> None:
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{relative(page)} links to {target}"

    @pytest.mark.parametrize("page", PAGES, ids=relative)
    def test_named_files_exist(self, page: Path) -> None:
        """Paths in backticks that begin with one of the project's folders."""
        tops = "crds|base|kube|controller|node-actuator|lab|manifests|examples|tests|docs|scripts"
        for path in re.findall(rf"`((?:{tops})/[\w./-]*)`", page.read_text()):
            assert (ROOT / path).exists(), f"{relative(page)} names {path}"

    @pytest.mark.parametrize("page", [p for p in PAGES if "design" not in p.parts], ids=relative)
    def test_named_modules_exist(self, page: Path) -> None:
        """Also by their last names alone, or with "…" for folders that need not be told."""
        known = ["/" + relative(path) for path in sources()]
        for name in re.findall(r"`([\w./…-]+\.py)`", page.read_text()):
            wanted = "/" + name.rpartition("…/")[2].removeprefix("../")
            assert any(each.endswith(wanted) for each in known), f"{relative(page)} names {name}"

    def test_rooms_of_the_simulator(self) -> None:
        cells = [row[0] for row in rows("simulator.md", "Where things are")]
        listed = [name for cell in cells for name in re.findall(r"`([\w./]+)`", cell)]
        inside = (ROOT / "tests/sim").iterdir()
        found = {
            f"{path.name}/" if path.is_dir() else path.name
            for path in inside
            if (path / "__init__.py").exists() or path.suffix == ".py"
        }
        assert sorted(listed) == sorted(found - {"__init__.py"})

    def test_make_targets_exist(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for page in PAGES:
            named = set(re.findall(r"`(?:sudo )?make ([a-z-]+)", page.read_text()))
            assert named <= targets, f"{relative(page)}: {named - targets}"


class TestPublic:
    def test_nothing_names_the_machine_it_was_written_on(self) -> None:
        for path in PAGES:
            assert "/root/" not in path.read_text(), relative(path)
