"""The alert rules, on promtool: each fires when it should, says what it should, and else not."""

import pytest

from tandem_examples import ROOT
from tandem_lab.monitoring import promtool

pytestmark = pytest.mark.integration

MONITORING = ROOT / "manifests" / "monitoring"


def test_the_rules_are_well_formed() -> None:
    path = MONITORING / "tandem-alerts.yaml"
    rules = path.read_text().count("- alert: ")
    assert f"{rules} rules found" in promtool("check", "rules", str(path))


def test_the_rules_fire_as_told() -> None:
    tests = sorted((MONITORING / "tests").glob("*_test.yaml"))
    assert tests
    promtool("test", "rules", *map(str, tests))
