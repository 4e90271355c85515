"""The lab's Prometheus scrapes, evaluates the rules it is given, and refuses faulty ones."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tandem_lab.monitoring import Prometheus, PrometheusError, promtool

pytestmark = pytest.mark.integration

RULES = """\
groups:
  - name: test
    rules:
      - alert: NobodyThere
        expr: up{job="absent"} == 0
        labels: {severity: critical}
      - alert: Never
        expr: up{job="itself"} == 0
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    return path


def test_scrapes_and_fires(tmp_path: Path, rules: Path) -> None:
    prometheus = Prometheus(
        tmp_path / "state", None, {"absent": ["127.0.0.1:1"]}, [rules], die_with_parent=True
    )
    prometheus.start()
    try:
        eventually(lambda: prometheus.firing() == {"NobodyThere"})
        (alert,) = prometheus.alerts()
        assert alert["labels"]["severity"] == "critical"
        (sample,) = prometheus.query('up{job="absent"}')
        assert sample["value"][1] == "0"
        with pytest.raises(PrometheusError, match="parse error"):
            prometheus.query("up{")
    finally:
        prometheus.stop()


def test_inside_a_network_namespace_it_scrapes_there(tmp_path: Path, rules: Path) -> None:
    netns = f"tandem-prom-{tmp_path.stat().st_ino}"
    ip("netns", "add", netns)
    # Itself is a target that can only be reached inside.
    prometheus = Prometheus(
        tmp_path / "state", netns, {"itself": ["127.0.0.1:9090"]}, [rules], die_with_parent=True
    )
    try:
        ip("-n", netns, "link", "set", "dev", "lo", "up")
        prometheus.start()
        eventually(lambda: [s["value"][1] for s in prometheus.query("up")] == ["1"])
        assert prometheus.firing() == set()
    finally:
        prometheus.stop()
        ip("netns", "delete", netns)


def test_faulty_rules_are_refused_before_the_start(tmp_path: Path, rules: Path) -> None:
    rules.write_text(RULES.replace("== 0", "== == 0"))
    prometheus = Prometheus(tmp_path / "state", None, {}, [rules])
    with pytest.raises(PrometheusError, match="unexpected <op:==>"):
        prometheus.start()


def test_promtool_tests_rules(tmp_path: Path, rules: Path) -> None:
    expectation = f"""\
rule_files: [{rules}]
tests:
  - interval: 1s
    input_series: [{{series: 'up{{job="absent"}}', values: "0 0 0"}}]
    alert_rule_test:
      - alertname: NobodyThere
        eval_time: 2s
        exp_alerts: [{{exp_labels: {{job: absent, severity: critical}}}}]
"""
    test = tmp_path / "test.yml"
    test.write_text(expectation)
    assert "SUCCESS" in promtool("test", "rules", str(test))
    test.write_text(expectation.replace("severity: critical", "severity: warning"))
    with pytest.raises(PrometheusError, match="FAILED"):
        promtool("test", "rules", str(test))


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


def eventually(reached: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline_s, "not reached in time"
        time.sleep(0.2)
