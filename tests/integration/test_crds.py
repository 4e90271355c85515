"""The definitions, examples and manifests on a real API server."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from kubernetes import client
from tandem_api.crd.crdgen import schema_of
from tandem_api.meta import GROUP
from tandem_api.registry import KINDS, KindInfo
from tandem_examples import (
    BY_RULE,
    BY_SCHEMA,
    EXAMPLES,
    KUBECTL,
    PRODUCTION,
    ROOT,
    TANDEM,
    Bad,
    Raw,
    bad_files,
    documents,
    earlier,
    good_files,
    problems_of,
)
from tandem_examples.server_rules import broken_rules
from tandem_lab.controlplane import ControlPlane, ControlPlaneError, apply_path

from .stores import INFOS, LIMIT, Store, connected

pytestmark = pytest.mark.integration

CONTROLLER = "system:serviceaccount:tandem-system:tandem-controller"
HOST = "tandem:host:burjassot-1"
LATER = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def installed(api_server: ControlPlane) -> Store:
    apply_path(api_server, ROOT / "crds")
    return Store(api_server)


@pytest.fixture
def store(installed: Store) -> Iterator[Store]:
    """The server with our definitions, emptied of our objects afterwards."""
    yield installed
    installed.clear()


@pytest.fixture
def production(store: Store) -> Store:
    """The server with the objects of the fuller example."""
    for raw in documents(PRODUCTION):
        store.put(raw)
    return store


def test_the_definitions_are_established_without_complaint(store: Store) -> None:
    for info in KINDS:
        text = store.plane.kubectl("get", "crd", f"{info.plural}.{GROUP}", "-o", "json")
        conditions = {c["type"]: c["status"] for c in json.loads(text)["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("info", KINDS, ids=lambda info: info.kind)
def test_short_names_and_the_category_work(production: Store, info: KindInfo[Any]) -> None:
    found = production.plane.kubectl("get", info.short, "--all-namespaces", "-o", "name")
    everything = production.plane.kubectl("get", "tandem", "--all-namespaces", "-o", "name")
    assert set(found.split()) <= set(everything.split())
    assert found or info.kind not in {raw["kind"] for raw in documents(PRODUCTION)}
    known = production.plane.kubectl("api-resources", "--categories=tandem", "--no-headers")
    assert [info.plural, info.short] in [line.split()[:2] for line in known.splitlines()]


@pytest.mark.parametrize("path", good_files(), ids=lambda path: path.stem)
def test_good_examples_are_stored_and_come_back_without_problems(store: Store, path: Path) -> None:
    store.apply(EXAMPLES / "two-sites.yaml")
    store.apply(path)
    objects = store.everything()
    assert len(objects) >= len(documents(path))
    assert problems_of(objects) == []


def test_what_a_person_leaves_out_is_filled_in(store: Store) -> None:
    for raw in documents(EXAMPLES / "bancuv3.yaml"):
        store.put(raw)
    (spec,) = (raw["spec"] for raw in store.everything() if raw["kind"] == "Guest")
    assert spec["running"] is True
    assert spec["failover"] == {"policy": "Automatic"}
    assert spec["failback"] == {"policy": "Manual", "afterSeconds": 600}
    assert spec["domain"]["networks"] == []
    assert spec["domain"]["firmware"] == "BIOS"


def bad_ones(*noticed_by: str) -> list[Bad]:
    return [bad for bad in bad_files() if bad.noticed_by in noticed_by]


@pytest.mark.parametrize("bad", bad_ones(BY_SCHEMA), ids=lambda bad: bad.path.stem)
def test_the_schema_refuses(production: Store, bad: Bad) -> None:
    introduction, field, _ = bad.problem.split(": ", maxsplit=2)
    kind, name = introduction.replace("/", " ").split()[0], bad.objects[-1]["metadata"]["name"]
    with pytest.raises(ControlPlaneError) as refused:
        production.apply(bad.path)
    assert f'The {kind} "{name}" is invalid: ' in str(refused.value)
    assert field.split("[")[0] in str(refused.value)


@pytest.mark.parametrize("bad", bad_ones(BY_RULE), ids=lambda bad: bad.path.stem)
def test_a_rule_refuses_in_the_words_of_tandem(production: Store, bad: Bad) -> None:
    """On the object as it was before, where a rule is about a change."""
    broken: list[str] = []
    for raw in bad.objects:
        schema, old = schema_of(INFOS[raw["kind"]]), earlier(raw)
        if old is not None:
            production.put(old)
        broken += broken_rules(schema, raw, *([] if old is None else [old]))
    with pytest.raises(ControlPlaneError) as refused:
        production.apply(bad.path)
    assert len(broken) == 1
    assert bad.is_said_as(broken[0])
    said = re.search(
        rf"(\S+): Invalid value: (?:.*: )?{re.escape(broken[0])}$", str(refused.value), re.M
    )
    assert said is not None, str(refused.value)
    _, field, _ = bad.problem.split(": ", maxsplit=2)
    assert field.startswith(said[1])


def test_a_volume_that_was_never_set_up_may_be_taken_out(production: Store) -> None:
    """It was added past the rules: here before the mirror counted as set up."""
    raw = with_status("Mirror", "bancuv3", {})
    production.put(raw)
    authority = {"epoch": 5, "incarnation": "x"}
    numbers = {"port": 7789, "minors": {"root": 0}}
    production.put({**raw, "status": {"authority": authority, "deviceNumbers": numbers}})
    less = copy.deepcopy(raw)
    less["spec"]["volumes"] = less["spec"]["volumes"][:1]
    for replica in less["spec"]["replicas"]:
        del replica["devices"]["data"]
    del less["status"]
    production.put(less)
    with pytest.raises(ApiException, match="cannot be added once the mirror is set up"):
        production.put({k: v for k, v in raw.items() if k != "status"})


@pytest.mark.parametrize("bad", bad_ones(TANDEM), ids=lambda bad: bad.path.stem)
def test_tandem_reports_what_the_server_lets_in(production: Store, bad: Bad) -> None:
    for raw in bad.objects:
        production.put(raw)
    assert problems_of(as_newer(production.everything(), bad)) == [bad.problem]


@pytest.mark.parametrize("bad", bad_ones(KUBECTL), ids=lambda bad: bad.path.stem)
def test_a_misspelt_field_is_told_to_kubectl_or_else_by_tandem(production: Store, bad: Bad) -> None:
    with pytest.raises(ControlPlaneError, match=r'unknown field "spec\.runing"'):
        production.apply(bad.path)
    production.apply(bad.path, "--validate=false")
    objects = as_newer(production.everything(), bad)
    assert "runing" not in {key for raw in objects for key in raw["spec"]}
    assert problems_of(objects) == [bad.problem]


def as_newer(objects: list[Raw], bad: Bad) -> list[Raw]:
    """Creation times count whole seconds, which is too coarse for a test."""
    ours = {(raw["kind"], raw["metadata"]["name"]) for raw in bad.objects}
    for raw in objects:
        if (raw["kind"], raw["metadata"]["name"]) in ours:
            raw["metadata"]["creationTimestamp"] = LATER
    return objects


def with_status(kind: str, name: str, status: dict[str, Any]) -> Raw:
    raws = documents(PRODUCTION)
    raw = next(r for r in raws if (r["kind"], r["metadata"]["name"]) == (kind, name))
    return {**raw, "status": status}


def test_a_guest_shows_whether_it_is_all_right(production: Store) -> None:
    status = {
        "phase": "Running",
        "site": "burjassot",
        "host": "burjassot-1",
        "mirror": "Resync 43%",
        "protected": "False",
        "reason": "Resyncing",
        "message": "tarongers-1 lacks 12 GiB.",
        "pausedBy": "Site tarongers",
    }
    production.put(with_status("Guest", "bancuv3", status))
    (row,) = production.columns("guests", "-n", "secretaria", "-o", "wide")
    assert row.pop("AGE").endswith("s")
    assert row == {
        "NAME": "bancuv3",
        "PHASE": "Running",
        "SITE": "burjassot",
        "HOST": "burjassot-1",
        "MIRROR": "Resync 43%",
        "PROTECTED": "False",
        "REASON": "Resyncing",
        "PRIORITY": "100",
        "PAUSED-BY": "Site tarongers",
        "MESSAGE": "tarongers-1 lacks 12 GiB.",
    }


def test_sites_show_since_when_without_anyone_counting(production: Store) -> None:
    status = {
        "phase": "Lost",
        "lease": "Lost",
        "leaseSince": "2021-01-01T00:00:00.123456Z",
        "hosts": "0/2",
        "guests": 0,
        "ifPeerFails": "–",
    }
    production.put(with_status("Site", "tarongers", status))
    row = next(r for r in production.columns("sites") if r["NAME"] == "tarongers")
    shown = (row["STATUS"], row["LEASE"], row["HOSTS"], row["GUESTS"], row["IF-PEER-FAILS"])
    assert shown == ("Lost", "Lost", "0/2", "0", "–")
    assert "y" in row["SINCE"], "an age of years"


def test_hosts_show_whether_a_watchdog_stands_behind_them(production: Store) -> None:
    armed = {"type": "WatchdogArmed", "status": "True", "reason": "WatchdogArmed"}
    status = {"phase": "Ready", "conditions": [armed]}
    production.put(with_status("Host", "burjassot-1", status))
    row = next(r for r in production.columns("hosts") if r["NAME"] == "burjassot-1")
    assert (row["STATUS"], row["SITE"], row["WATCHDOG"]) == ("Ready", "burjassot", "True")


def test_mirrors_show_who_may_write_and_whether_in_sync(production: Store) -> None:
    authority = {"epoch": 7, "incarnation": "x", "mode": "Standalone", "owner": "burjassot-1"}
    conditions = [
        {"type": "Connected", "status": "False", "reason": "NotConnected"},
        {"type": "InSync", "status": "Unknown", "reason": "NotConnected"},
    ]
    status = {"authority": authority, "conditions": conditions, "phase": "Degraded"}
    production.put(with_status("Mirror", "bancuv3", status))
    (row,) = production.columns("mirrors", "-n", "secretaria", "-o", "wide")
    shown = (row["PHASE"], row["MODE"], row["CONNECTED"], row["IN-SYNC"], row["EPOCH"])
    assert shown == ("Degraded", "Standalone", "False", "Unknown", "7")


def test_a_status_with_a_new_reason_is_stored(production: Store) -> None:
    authority = {"epoch": 1, "incarnation": "x", "reason": "NotKnownYet"}
    production.put(with_status("Mirror", "bancuv3", {"authority": authority}))
    reasons = [
        raw["status"]["authority"]["reason"]
        for raw in production.everything()
        if "authority" in raw.get("status", {})
    ]
    assert reasons == ["NotKnownYet"]


@pytest.fixture(scope="module")
def applied(installed: Store) -> ControlPlane:
    """The server with the manifests that the lab uses too."""
    apply_path(installed.plane, ROOT / "manifests" / "base")
    apply_path(installed.plane, ROOT / "manifests" / "hosts")
    one = (ROOT / "manifests" / "hosts" / "one-host.yaml").read_text()
    installed.plane.kubectl("apply", "-f", "-", stdin=one.replace("HOST", "burjassot-1"))
    return installed.plane


@pytest.fixture(scope="module")
def asks(applied: ControlPlane) -> client.AuthorizationV1Api:
    return client.AuthorizationV1Api(connected(applied))


class TestManifests:
    def may(
        self, asks: client.AuthorizationV1Api, user: str, groups: list[str], question: str
    ) -> bool:
        """``verb group/resource[/subresource] [namespace [name]]``, as the server answers."""
        verb, what, *where = question.split()
        group, resource, *rest = what.split("/")
        attributes = client.V1ResourceAttributes(
            verb=verb,
            group=group.strip("-"),
            resource=resource,
            subresource=rest[0] if rest else "",
            namespace=where[0].strip("-") if where else "",
            name=where[1] if len(where) > 1 else "",
        )
        spec = client.V1SubjectAccessReviewSpec(
            user=user, groups=groups, resource_attributes=attributes
        )
        body = client.V1SubjectAccessReview(spec=spec)
        status = asks.create_subject_access_review(body, **LIMIT).status
        assert status is not None
        return bool(status.allowed)

    @pytest.mark.parametrize("folder", ["base", "hosts"])
    def test_a_folder_applies_twice(self, applied: ControlPlane, folder: str) -> None:
        path = str(ROOT / "manifests" / folder)
        lines = applied.kubectl("apply", "-k", path).splitlines()
        assert lines
        changed = [line for line in lines if not line.endswith("unchanged")]
        # kubectl replaces a budget's selector as a whole, so it says so of any budget, each time.
        assert [line for line in changed if not line.startswith("poddisruptionbudget")] == []

    def test_the_deployment_makes_two_replicas(self, applied: ControlPlane) -> None:
        text = applied.kubectl(
            "get", "deployment", "-n", "tandem-system", "tandem-controller", "-o", "json"
        )
        spec = json.loads(text)["spec"]
        assert spec["replicas"] == 2
        assert spec["template"]["spec"]["serviceAccountName"] == "tandem-controller"

    @pytest.mark.parametrize(
        "folder", ["default", "admission", "monitoring", "monitoring/operator"]
    )
    def test_the_other_folders_build(self, applied: ControlPlane, folder: str) -> None:
        assert "kind:" in applied.kubectl("kustomize", str(ROOT / "manifests" / folder))

    @pytest.mark.parametrize(
        ("question", "allowed"),
        [
            ("list tandem.dev/guests", True),
            ("watch tandem.dev/mirrors", True),
            ("patch tandem.dev/guests", True),
            ("patch tandem.dev/mirrors/status", True),
            ("patch tandem.dev/sites/status", True),
            ("create -/events", True),
            ("list coordination.k8s.io/leases tandem-system", True),
            ("create coordination.k8s.io/leases tandem-system", True),
            ("update coordination.k8s.io/leases tandem-system tandem-controller", True),
            ("update coordination.k8s.io/leases tandem-system host-burjassot-1", False),
            ("list coordination.k8s.io/leases default", False),
            ("create tandem.dev/guests", False),
            ("delete tandem.dev/mirrors", False),
            ("get -/secrets", False),
            ("list -/pods", False),
            ("get -/nodes", False),
        ],
    )
    def test_what_the_controller_may(
        self, asks: client.AuthorizationV1Api, question: str, allowed: bool
    ) -> None:
        assert self.may(asks, CONTROLLER, ["system:authenticated"], question) is allowed

    @pytest.mark.parametrize(
        ("question", "allowed"),
        [
            ("list tandem.dev/guests", True),
            ("watch tandem.dev/mirrors", True),
            ("get tandem.dev/sites", True),
            ("patch tandem.dev/guests/status", True),
            ("patch tandem.dev/mirrors/status", True),
            ("patch tandem.dev/hosts/status - burjassot-1", True),
            ("patch tandem.dev/hosts/status - tarongers-1", False),
            ("patch tandem.dev/hosts/status", False),
            ("patch tandem.dev/sites/status", False),
            ("patch tandem.dev/guests", False),
            ("patch tandem.dev/mirrors", False),
            ("delete tandem.dev/guests", False),
            ("create -/events", True),
            ("update coordination.k8s.io/leases tandem-system host-burjassot-1", True),
            ("patch coordination.k8s.io/leases tandem-system host-burjassot-1", True),
            ("update coordination.k8s.io/leases tandem-system host-tarongers-1", False),
            ("patch coordination.k8s.io/leases tandem-system tandem-controller", False),
            ("update coordination.k8s.io/leases tandem-system", False),
            ("create coordination.k8s.io/leases tandem-system", True),
            ("delete coordination.k8s.io/leases tandem-system", False),
            ("update coordination.k8s.io/leases default", False),
            ("get -/secrets", False),
        ],
    )
    def test_what_a_host_may(
        self, asks: client.AuthorizationV1Api, question: str, allowed: bool
    ) -> None:
        groups = ["tandem:hosts", "system:authenticated"]
        assert self.may(asks, HOST, groups, question) is allowed

    def test_a_user_of_no_group_may_nothing(self, asks: client.AuthorizationV1Api) -> None:
        assert not self.may(asks, HOST, ["system:authenticated"], "list tandem.dev/guests")
