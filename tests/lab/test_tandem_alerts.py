"""Tandem in the lab: the shipped alerts, on a real Prometheus, while a site dies and returns."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem_examples import ROOT
from tandem_lab.monitoring import Prometheus

from .deployed import TAKEOVER_BOUND_S, Deployed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

RULES = ROOT / "manifests" / "monitoring" / "tandem-alerts.yaml"


@pytest.fixture
def prometheus(tandem: Deployed, tmp_path: Path) -> Iterator[Prometheus]:
    """Scraping the controller every second; alerts that wait for minutes do not wait here."""
    rules = tmp_path / "alerts.yaml"
    rules.write_text(re.sub(r"(?m)^\s+for: \S+\n", "", RULES.read_text()))
    prometheus = Prometheus(
        tmp_path / "prometheus",
        tandem.lab.settings.namespace,
        {"tandem-controller": [tandem.deployment.controller(0).metrics_target]},
        [rules],
        die_with_parent=True,
    )
    prometheus.start()
    yield prometheus
    prometheus.stop()


def test_alerts_tell_of_a_lost_site_until_it_is_back(
    tandem: Deployed, prometheus: Prometheus
) -> None:
    owner, other = tandem.ends()
    tandem.wait("it is scraped", lambda: bool(prometheus.query("tandem_leader == 1")), 30.0)
    assert "TandemLeaseLost" not in prometheus.firing()

    killed_s = time.monotonic()
    owner.kill()
    tandem.wait("the lease is lost", lambda: "TandemLeaseLost" in prometheus.firing(), 30.0)
    (alert,) = [a for a in prometheus.alerts() if a["labels"]["alertname"] == "TandemLeaseLost"]
    assert alert["labels"]["host"] == owner.name
    assert owner.name in alert["annotations"]["summary"]
    tandem.wait_running_at(other, killed_s, TAKEOVER_BOUND_S)
    tandem.wait("no second copy", lambda: "TandemMirrorNotRedundant" in prometheus.firing(), 30.0)
    ran = 'tandem_takeovers_total{result="Succeeded"} >= 1'
    tandem.wait("takeover is counted", lambda: bool(prometheus.query(ran)), 30.0)

    owner.start(wait=False)
    tandem.wait_redundant()
    lost = {"TandemLeaseLost", "TandemMirrorNotRedundant", "TandemGuestDown"}
    tandem.wait("alerts are over", lambda: not lost & prometheus.firing(), 30.0)
