"""What the manifests promise in words, held against their text. No cluster is needed here."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem_api import registry
from tandem_api.crd.crdgen import node_at, schema_of
from tandem_api.meta import GROUP
from tandem_api.reasons import Reason
from tandem_api.registry import KINDS, Component
from tandem_api.timing import DEFAULT
from tandem_examples import ROOT

MANIFESTS = ROOT / "manifests"
ALERTS = MANIFESTS / "monitoring" / "tandem-alerts.yaml"
UNIT = MANIFESTS / "systemd" / "tandem-actuator.service"
SHIPPED = {"crds", "base", "kube", "controller", "node-actuator"}
ALERT_NAMES = {
    "TandemLeaseAtRisk",
    "TandemLeaseLost",
    "TandemMirrorNotRedundant",
    "TandemAuthorityUnlawful",
    "TandemClockRateWrong",
    "TandemReportsUndelivered",
    "TandemDrbdFilesUnreadable",
    "TandemFenceAgentFails",
    "TandemGuestDown",
    "TandemGuestPaused",
    "TandemTakeoverBlocked",
    "TandemControllerAbsent",
    "TandemResyncStalled",
    "TandemDiskStalled",
    "TandemWatchKeepsDying",
    "TandemWriteRefused",
    "TandemControllerRefused",
    "TandemInternalError",
    "TandemActuatorReduced",
}
OF_EACH_PROGRAM = {
    "TandemWatchKeepsDying",
    "TandemWriteRefused",
    "TandemControllerRefused",
    "TandemInternalError",
    "TandemActuatorReduced",
}
"""What a program or the API server counts of itself is true whoever leads."""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def objects(folder: str) -> list[dict[str, Any]]:
    files = sorted((MANIFESTS / folder).glob("*.yaml"))
    return [raw for file in files for raw in yaml.safe_load_all(file.read_text())]


class TestAlerts:
    def test_all_are_there_with_what_a_person_needs(self) -> None:
        assert {rule["alert"] for rule in rules()} == ALERT_NAMES
        for rule in rules():
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}
            assert rule["labels"]["severity"] in ("critical", "warning")

    def test_only_the_leaders_word_counts(self) -> None:
        for rule in rules():
            of_leader = "tandem_leader == 1" in rule["expr"]
            assert of_leader is (rule["alert"] not in OF_EACH_PROGRAM), rule["alert"]

    def test_they_ask_for_what_the_programs_export(self) -> None:
        metrics = (
            "controller/tandem_controller/edge/metrics.py",
            "node-actuator/tandem_actuator/run/metrics.py",
        )
        source = "".join((ROOT / path).read_text() for path in metrics)
        exported = {name.removeprefix("tandem_") for name in re.findall(r'"([a-z_]+)"', source)}
        asked = {name for rule in rules() for name in re.findall(r"tandem_([a-z_]+)", rule["expr"])}
        assert asked
        assert asked <= exported

    def test_runbooks_name_reasons_that_exist(self) -> None:
        known = {reason.value for reason in Reason} | ALERT_NAMES
        for rule in rules():
            words = re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", rule["annotations"]["runbook"])
            assert set(words) <= known, rule["alert"]

    def test_runbooks_name_fields_that_exist(self) -> None:
        schemas = [schema_of(info) for info in KINDS]
        text = " ".join(rule["annotations"]["runbook"] for rule in rules())
        paths = re.findall(r"\b((?:spec|status)(?:\.[a-zA-Z]+)+)", text)
        assert paths
        for path in paths:
            assert any(exists(schema, path) for schema in schemas), path

    def test_the_operators_object_holds_the_same_rules(self) -> None:
        wrapper = runpy.run_path(str(MANIFESTS / "monitoring" / "wrap_rules.py"))
        assert wrapper["WRAPPED"].read_text() == wrapper["wrapped"](), "run wrap_rules.py"
        spec = yaml.safe_load(wrapper["WRAPPED"].read_text())["spec"]
        assert spec == yaml.safe_load(ALERTS.read_text())


def exists(schema: dict[str, Any], path: str) -> bool:
    try:
        node_at(schema, path)
    except Exception:
        return False
    return True


class TestUnit:
    def settings(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in UNIT.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(value)
        return found

    def test_stopping_it_stops_nothing_else(self) -> None:
        settings = self.settings()
        assert settings["KillMode"] == ["process"]
        ties = {"Requires", "BindsTo", "PartOf", "Requisite", "Conflicts", "PropagatesStopTo"}
        assert not ties & set(settings)
        assert "ExecStop" not in settings
        assert "ExecStopPost" not in settings

    def test_it_is_started_again_for_ever(self) -> None:
        settings = self.settings()
        assert settings["Restart"] == ["always"]
        assert settings["StartLimitIntervalSec"] == ["0"]

    def test_one_that_hangs_is_ended_while_another_run_can_still_save_the_host(self) -> None:
        """That comes before the machine's watchdog; docs/timing.md has the sum."""
        settings = self.settings()
        assert (settings["Type"], settings["NotifyAccess"]) == (["notify"], ["main"])
        limit_s = float(settings["WatchdogSec"][0].removesuffix("s"))
        reset_s = DEFAULT.self_fence_seconds + DEFAULT.watchdog_seconds
        assert reset_s - DEFAULT.renew_interval_seconds - limit_s == 2.0
        assert settings["LimitCORE"] == ["0"]

    def test_it_keeps_the_devices_that_it_needs(self) -> None:
        taken_away = {"PrivateDevices", "PrivateNetwork", "ProtectKernelModules", "ProtectClock"}
        assert not taken_away & set(self.settings())


class TestRights:
    def verbs(self, folder: str, group: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for raw in objects(folder):
            for rule in raw.get("rules", ()):
                if group in rule["apiGroups"] and "resourceNames" not in rule:
                    for resource in rule["resources"]:
                        found.setdefault(resource, set()).update(rule["verbs"])
        return found

    @pytest.mark.parametrize("folder", ["base", "hosts", "admission"])
    def test_no_star_no_secret_no_pod(self, folder: str) -> None:
        """But what fence agents are given: the controller gets it by name, in its own namespace."""
        for raw in objects(folder):
            for rule in raw.get("rules", ()):
                words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
                if rule["resources"] == ["guestmoves"]:  # those that have ended are history
                    words -= {"delete"}
                if (folder, raw["kind"], rule["verbs"]) == ("base", "Role", ["get"]):
                    words -= {"secrets"}
                assert not words & {"*", "secrets", "pods", "delete", "deletecollection"}

    @pytest.mark.parametrize(
        ("folder", "program"),
        [
            ("base", Component.CONTROLLER),
            ("hosts", Component.ACTUATOR),
            ("admission", Component.WEBHOOK),
        ],
    )
    def test_a_program_may_do_with_the_kinds_what_the_registry_says(
        self, folder: str, program: Component
    ) -> None:
        assert self.verbs(folder, GROUP) == registry.rights(program)

    def test_hosts_write_no_spec_and_not_every_status(self) -> None:
        found = registry.rights(Component.ACTUATOR)
        written = {key for key, verbs in found.items() if verbs - {"get", "list", "watch"}}
        assert written == {"mirrors/status", "guests/status"}

    def test_hosts_write_in_their_own_name_alone(self) -> None:
        """Names in the rules are of that host; the group's rights hold no Lease and no Host."""
        assert self.verbs("hosts", "coordination.k8s.io")["leases"] == {
            "get",
            "list",
            "watch",
            "create",
        }
        text = (MANIFESTS / "hosts" / "one-host.yaml").read_text().replace("HOST", "b-1")
        rules = [rule for raw in yaml.safe_load_all(text) for rule in raw.get("rules", ())]
        names = {name for rule in rules for name in rule["resourceNames"]}
        assert names == {"b-1", "host-b-1"}
        own = {r: set(rule["verbs"]) for rule in rules for r in rule["resources"] if r != "leases"}
        assert own == registry.own_rights()

    def test_the_webhook_is_not_asked_about_statuses_and_lets_no_deletion_through(self) -> None:
        """What is urgent must not depend on it; see the head of the file."""
        (raw,) = (r for r in objects("admission") if r["kind"] == "ValidatingWebhookConfiguration")
        policies = {hook["name"].split(".")[0]: hook["failurePolicy"] for hook in raw["webhooks"]}
        judged = {f"{info.kind.lower()}-spec": "Ignore" for info in KINDS if info.reviewed}
        kept = {f"{info.kind.lower()}-deletion": "Fail" for info in KINDS if info.needed_by}
        assert policies == {**judged, **kept}
        timeouts = {
            hook["timeoutSeconds"]
            for hook in raw["webhooks"]
            if hook["rules"][0]["operations"] != ["DELETE"]
        }
        assert timeouts == {1}

    def test_the_controller_writes_no_heartbeat(self) -> None:
        assert self.verbs("base", "coordination.k8s.io")["leases"] == {
            "get",
            "list",
            "watch",
            "create",
        }


class TestPods:
    @pytest.mark.parametrize("folder", ["base", "admission"])
    def test_no_service_of_the_namespace_is_in_their_environment(self, folder: str) -> None:
        (pod,) = (raw["spec"]["template"] for raw in objects(folder) if raw["kind"] == "Deployment")
        assert pod["spec"]["enableServiceLinks"] is False

    @pytest.mark.parametrize("folder", ["base", "admission"])
    def test_two_of_them_outlive_a_drain_and_a_lost_node(self, folder: str) -> None:
        (deployment,) = (raw for raw in objects(folder) if raw["kind"] == "Deployment")
        (budget,) = (raw for raw in objects(folder) if raw["kind"] == "PodDisruptionBudget")
        spec, pod = deployment["spec"], deployment["spec"]["template"]
        assert (spec["replicas"], budget["spec"]["maxUnavailable"]) == (2, 1)
        chosen = budget["spec"]["selector"]["matchLabels"]
        assert chosen.items() <= pod["metadata"]["labels"].items()
        (apart,) = pod["spec"]["affinity"]["podAntiAffinity"].values()
        assert apart[0]["podAffinityTerm"]["labelSelector"]["matchLabels"] == chosen
        tolerated = {t["key"]: t["tolerationSeconds"] for t in pod["spec"]["tolerations"]}
        assert tolerated.keys() == {f"node.kubernetes.io/{k}" for k in ("not-ready", "unreachable")}
        assert max(tolerated.values()) <= 30

    def test_the_image_is_said_once(self) -> None:
        """Both take it from manifests/image, and neither says it again."""
        for folder in ("base", "admission"):
            (raw,) = (r for r in objects(folder) if r["kind"] == "Kustomization")
            assert raw["components"] == ["../image"]
            assert "images" not in raw
        (component,) = objects("image")
        (deployments,) = {
            container["image"]
            for folder in ("base", "admission")
            for raw in objects(folder)
            if raw["kind"] == "Deployment"
            for container in raw["spec"]["template"]["spec"]["containers"]
        }
        assert [image["name"] for image in component["images"]] == [deployments]

    def test_no_empty_ca_is_applied(self) -> None:
        assert "caBundle:" not in (MANIFESTS / "admission" / "webhook.yaml").read_text()


class TestWheel:
    def test_only_the_programs_are_installed(self) -> None:
        """The lab and the simulator are the checkout's: what is installed can run."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        scripts = set(project["project"]["scripts"])
        assert scripts == {"tandem-controller", "tandem-actuator", "tandem-fence-peer"}
        packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        assert {Path(package).parts[0] for package in packages} == SHIPPED
        named = {path.split(".")[0] for path in project["project"]["scripts"].values()}
        assert named <= {Path(package).name for package in packages}

    def test_the_image_holds_the_same(self) -> None:
        text = (ROOT / "Dockerfile").read_text()
        copied = set(re.findall(r"^COPY ([\w-]+) \1$", text, re.MULTILINE))
        assert copied == SHIPPED


def test_no_manifest_names_a_registry() -> None:
    for file in [*MANIFESTS.rglob("*.yaml"), ROOT / "Dockerfile"]:
        for image in re.findall(r"^(?:FROM|\s*image:)\s+(\S+)", file.read_text(), re.MULTILINE):
            assert "." not in Path(image).parts[0].split(":")[0], (file, image)
