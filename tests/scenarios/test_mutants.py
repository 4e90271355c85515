"""Every safety rule is needed: the mutants can be made, and known scenarios and tests notice.

``make mutants`` also tries those that nothing is known to notice, and random faults.
"""

from pathlib import Path

import pytest

from tandem_mutants.apart import TrialFailed, judged
from tandem_mutants.catalogue import ROOT, BadMutant, Mutant, mutated_sources, read_all, replaced
from tandem_mutants.trial import NONE, Trial, Verdict

MUTANTS = read_all()
KNOWN = [mutant for mutant in MUTANTS if mutant.dies_by]
TRIAL_TIMEOUT_S = 120
HERE = Path(__file__).relative_to(ROOT)


def by_name(mutant: Mutant) -> str:
    return mutant.name


def tried(mutant: Mutant, notices: str) -> Verdict:
    """The verdict on one mutant in one scenario, or by one test."""
    if "::" in notices:
        return judged(Trial(mutant, test=notices), TRIAL_TIMEOUT_S)
    return judged(Trial(mutant, scenarios=(notices,)), TRIAL_TIMEOUT_S)


BY_SCENARIO = [mutant for mutant in KNOWN if "::" not in mutant.dies_by]
BY_TEST = [mutant for mutant in KNOWN if "::" in mutant.dies_by]


@pytest.mark.parametrize("mutant", BY_SCENARIO, ids=by_name)
def test_its_scenario_notices(mutant: Mutant) -> None:
    assert tried(mutant, mutant.dies_by).killed_by == mutant.dies_by


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", BY_TEST, ids=by_name)
def test_its_test_notices(mutant: Mutant) -> None:
    assert tried(mutant, mutant.dies_by).killed_by == mutant.dies_by


def test_the_code_as_it_is_passes() -> None:
    assert tried(NONE, "both-links-of-the-owner-cut").problem == ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_it_can_be_made(mutant: Mutant) -> None:
    for module, (path, text) in mutated_sources(mutant).items():
        compile(text, module, "exec")
        assert text != path.read_text()


def test_every_rule_has_at_least_three() -> None:
    groups = [mutant.group for mutant in MUTANTS]
    rules = [str(rule) for rule in range(1, 16)]
    assert {rule: groups.count(rule) for rule in rules if groups.count(rule) < 3} == {}


@pytest.mark.parametrize("mutant", KNOWN, ids=by_name)
def test_what_notices_is_there(mutant: Mutant) -> None:
    assert not mutant.spared
    if mutant.test:
        file, *_, function = mutant.test.partition("[")[0].split("::")
        assert f"def {function}(" in (ROOT / file).read_text()
    else:
        assert (ROOT / "tests" / "scenarios" / mutant.dies_by / "scenario.yaml").exists()


def test_a_test_that_notices_nothing_is_no_verdict() -> None:
    assert tried(NONE, f"{HERE}::TestReplaced").killed_by == ""


def test_a_test_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TrialFailed, match="was not run: pytest ended with"):
        tried(NONE, f"{HERE}::gone")


def test_a_trial_that_does_not_end_is_an_error() -> None:
    with pytest.raises(TrialFailed, match="the trial of none: it did not end within 0 s"):
        judged(Trial(NONE, scenarios=("site-dies",)), 0.0)


def test_each_trial_has_a_process_of_its_own() -> None:
    """A mutant can only take its place where nothing of the project is imported yet."""
    actuators = next(mutant for mutant in BY_TEST if "actuator" in mutant.edits[0].file)
    for mutant in (NONE, actuators, NONE):
        verdict = tried(mutant, actuators.dies_by)
        assert verdict.killed_by == (actuators.dies_by if mutant is actuators else "")


class TestReplaced:
    text = "def f():\n    if a:\n        b()\n\n    return c\n"

    def test_lines_at_any_depth(self) -> None:
        new = replaced(self.text, "if a:\n    b()\n", "d()\n")
        assert new == "def f():\n    d()\n\n    return c\n"

    def test_lines_taken_out(self) -> None:
        assert replaced(self.text, "if a:\n    b()\n\n", "") == "def f():\n\n    return c\n"

    @pytest.mark.parametrize(("old", "times"), [("gone()\n", 0), ("b()\n", 2), ("b", 0)])
    def test_not_there_exactly_once(self, old: str, times: int) -> None:
        with pytest.raises(ValueError, match=f"there {times} times"):
            replaced(self.text + "b()\n", old, "")


def test_the_page_lists_them_all() -> None:
    page = (ROOT / "docs" / "mutants.md").read_text()
    known = {
        m.name: f"`{m.dies_by}`" if m.dies_by else m.spared or "nothing known" for m in MUTANTS
    }
    rows = {row.split("|")[2].strip(" `"): row for row in page.splitlines() if row.startswith("| ")}
    assert [name for name, by in known.items() if by not in rows.get(name, "")] == []


def test_code_that_has_changed_is_told(tmp_path: Path) -> None:
    mutant = MUTANTS[0]
    for edit in mutant.edits:
        path = tmp_path / edit.file
        path.parent.mkdir(parents=True)
        path.write_text("changed = True\n")
    with pytest.raises(BadMutant, match=f"mutant {mutant.name}: in {mutant.edits[0].file} these"):
        mutated_sources(mutant, tmp_path)
