"""The operator as its users run it: in pods, on nodes, under its own account.

The tests are in the order of `make pods`; each leaves everything mended. The upgrade is last.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem_api.timing import FAST
from tandem_controller.decide.election import LEASE_S, RENEW_INTERVAL_S
from tandem_lab.pods.checks import DENIED, check_rights, logs, scrape
from tandem_lab.pods.cluster import Cluster
from tandem_lab.pods.drill import Drill
from tandem_lab.pods.installation import Installation
from tandem_lab.pods.prepare import NEXT_TAG

pytestmark = [pytest.mark.pods, pytest.mark.xdist_group("pods"), pytest.mark.timeout(300)]
# Between two looks, and for a machine that runs the lab beside it.
BUSY_S = 4.0
TAKEOVER_S = FAST.lease_duration_seconds + BUSY_S
"""From a site's death to its guest's assignment to the other, where a replica leads all along."""


def controller_pod(drill: Drill) -> str:
    return str(drill.pods("tandem-controller")[0]["metadata"]["name"])


class TestInstallation:
    def test_the_namespace_admits_only_restricted_pods(self, installation: Installation) -> None:
        assert installation.enforced_level() == "restricted"

    def test_every_webhook_has_its_authority(self, installation: Installation) -> None:
        bundles = [hook["clientConfig"].get("caBundle") for hook in installation.webhooks()]
        assert bundles and all(bundles)

    def test_replicas_are_served_by_two_nodes_at_first(self, drill: Drill) -> None:
        nodes = {pod["spec"]["nodeName"] for pod in drill.pods("tandem-controller")}
        assert nodes == {"node-1", "node-2"}

    def test_logs_are_read_as_documented(self, cluster: Cluster, drill: Drill) -> None:
        assert "election: leading" in logs(cluster.plane)

    def test_metrics_are_scraped_from_another_pod(self, cluster: Cluster, drill: Drill) -> None:
        pod = drill.pods("tandem-admission")[0]["metadata"]["name"]
        led = sorted(found["tandem_leader"] for found in scrape(cluster.plane, pod).values())
        assert led == [0, 1]

    def test_the_pod_may_do_nothing_else(
        self, cluster: Cluster, drill: Drill, tmp_path: Path
    ) -> None:
        refused = check_rights(cluster.plane, controller_pod(drill), tmp_path)
        assert refused == list(DENIED)


class TestASiteIsLostWhileTheLeader:
    def test_is_deleted(self, drill: Drill) -> None:
        trial = drill.deleted()
        assert trial.assigned_s < TAKEOVER_S + LEASE_S

    def test_is_killed(self, drill: Drill) -> None:
        trial = drill.killed()
        assert trial.assigned_s < TAKEOVER_S + LEASE_S

    def test_is_cut_off_with_its_node(self, drill: Drill) -> None:
        trial = drill.cut_off()
        assert trial.leader_s < LEASE_S + RENEW_INTERVAL_S + BUSY_S
        assert trial.assigned_s < TAKEOVER_S + LEASE_S

    def test_is_drained(self, drill: Drill) -> None:
        trial = drill.drained()
        assert trial.assigned_s < TAKEOVER_S + LEASE_S


class TestUpgrade:
    def test_somebody_leads_all_along(self, drill: Drill) -> None:
        assert drill.upgraded(NEXT_TAG) < LEASE_S + BUSY_S
