"""The parts of `make play-upgrade` that need no lab: the order, the judge, the table."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem_lab.history import Line
from tandem_lab.pods import page
from tandem_lab.settings import SOURCE_DIR, Settings
from tandem_lab.source import HERE, Checkout
from tandem_lab.takeover import GuestName
from tandem_lab.upgrade import judging, plan
from tandem_lab.upgrade.judging import Printed, loss_problems, quiet_problems
from tandem_lab.upgrade.looking import Look, Raw, counted, grave_lines
from tandem_lab.upgrade.plan import Act, Step, downgrade, upgrade
from tandem_lab.upgrade.playing import arguments, guest_manifest
from tandem_lab.upgrade.table import Row, table

SITES = ("burjassot", "tarongers")
UPGRADES = [
    each.text.split("#")[0].strip()
    for each in page.section((SOURCE_DIR / "docs/installation.md").read_text(), "Upgrades")
]


def steps(phases: tuple[plan.Phase, ...]) -> list[Step]:
    return [step for phase in phases for step in phase.steps]


class TestOrder:
    def test_the_commands_are_the_pages_in_its_order(self) -> None:
        left = [
            each
            for each in UPGRADES
            if not any(each.startswith(begins) for begins in plan.LEFT_OUT)
        ]
        assert left == [*plan.FORWARD, plan.NO_POLICIES]
        for begins in plan.LEFT_OUT:
            assert any(each.startswith(begins) for each in UPGRADES), begins

    def test_forward_all_of_them_are_given_once(self) -> None:
        given = [step.argument or step.what for step in steps(upgrade(SITES))]
        assert [each for each in given if each in plan.FORWARD] == list(plan.FORWARD)

    def test_what_is_forgotten_is_left_out_alone(self) -> None:
        given = [step.argument for step in steps(upgrade(SITES, ["host-status"]))]
        assert [each for each in given if each in plan.FIRST.values()] == [plan.CRDS, plan.RIGHTS]

    def test_the_hosts_come_after_what_they_write_by_and_before_the_controller(self) -> None:
        acts = [step.act for step in steps(upgrade(SITES)) if step.act not in plan.PLAYS]
        order = [act for act, _ in itertools.groupby(acts)]
        assert order == [
            *(Act.WATCH, Act.APPLY, Act.HOSTS, Act.APPLY, Act.CONTROLLER, Act.APPLY, Act.WEBHOOK)
        ]

    def test_each_mixed_state_is_played_and_both_sites_are_lost_in_it(self) -> None:
        for phase in upgrade(SITES)[2:4]:
            assert [step.act for step in phase.steps[1:]] == [Act.MOVES, Act.LOSS, Act.LOSS]
            assert {step.argument for step in phase.steps if step.act is Act.LOSS} == set(SITES)

    def test_the_way_back_begins_with_the_policies_and_ends_with_the_older_ones(self) -> None:
        first, *others = [s for s in steps(downgrade(SITES)) if s.act not in plan.PLAYS]
        assert (first.argument, first.new) == (plan.NO_POLICIES, True)
        assert {step.new for step in others} == {False}
        hosts = [step.argument for step in others if step.act is Act.HOSTS]
        assert hosts == [SITES[1], SITES[0]]
        assert others[-1].argument == plan.DEFAULT

    def test_a_command_is_given_in_the_folder_of_its_version(self) -> None:
        version = Checkout("x", Path("/v"))
        assert arguments(plan.HOST_STATUS, version) == [
            *("apply", "-f", "/v/manifests/policies/host-status.yaml")
        ]
        with pytest.raises(ValueError):
            arguments("rm -r manifests/", version)


# -- the judge


def guest(host: str = "burjassot-1", **status: Any) -> Raw:
    told = {"phase": "Running", "protected": "True", "host": host, **status}
    return {"kind": "Guest", "metadata": {"name": "web"}, "status": told}


def mirror(connection: str = "Connected", mode: str = "Mirrored", **status: Any) -> Raw:
    told = {
        "authority": {"mode": mode, "reason": "InSync"},
        "replicas": {"burjassot-1": {"connection": connection}},
        **status,
    }
    return {"kind": "Mirror", "metadata": {"name": "web"}, "status": told}


def host(name: str, site: str) -> Raw:
    return {"kind": "Host", "metadata": {"name": name}, "spec": {"site": site}, "status": {}}


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "reason": reason}]}


HOSTS = (host("burjassot-1", "burjassot"), host("tarongers-1", "tarongers"))
BOOTS = {"burjassot-1": 1, "tarongers-1": 1}
BEFORE = Look(0.0, (guest(), mirror(), *HOSTS), BOOTS, {"policy tandem-x": 1.0}, 10.0, ())
AFTER = replace(BEFORE, at_s=10.0)


def printed(*moments: float, first: int = 7, found: int | None = None) -> Printed:
    lines = [Line(at_s, "burjassot-1", str(first + n)) for n, at_s in enumerate(moments)]
    if found is not None:
        lines.insert(1, Line(moments[0] + 0.01, "burjassot-1", f"boot {found}"))
    return Printed("web", lines, lines, moments[-1])


COUNTED = printed(0.0, 1.0, 2.0)


class TestQuiet:
    def test_as_it_was_is_well(self) -> None:
        assert quiet_problems(BEFORE, AFTER, [COUNTED]) == []

    @pytest.mark.parametrize(
        ("objects", "words"),
        [
            ((guest("tarongers-1"),), "web went from burjassot-1 to tarongers-1"),
            ((guest(phase="Blocked"),), "Blocked"),
            ((guest(protected="False"),), "not protected"),
            ((guest(), mirror(mode="Standalone")), "Standalone"),
            ((guest(), mirror(connection="Connecting")), "at burjassot-1: Connecting"),
            ((guest(), mirror(**condition("InSync", "Unknown", "Old"))), "InSync Unknown, Old"),
            ((guest(), mirror(replicas={"a": {"reason": "InternalError"}})), "InternalError"),
        ],
    )
    def test_what_is_not_as_it_should_be_is_told(
        self, objects: tuple[Raw, ...], words: str
    ) -> None:
        found = quiet_problems(BEFORE, replace(AFTER, objects=objects), [COUNTED])
        assert any(words in problem for problem in found), found

    def test_who_is_not_paused_is_well(self) -> None:
        objects = (guest(**condition("Paused", "False", "NotPaused")),)
        assert quiet_problems(BEFORE, replace(AFTER, objects=objects), [COUNTED]) == []

    def test_a_boot_a_refusal_and_what_was_logged_are_told(self) -> None:
        after = replace(
            AFTER,
            boots=BOOTS | {"tarongers-1": 2},
            refusals={"policy tandem-x": 3.0, "PATCH hosts/status 422": 1.0},
            grave=("a grave line",),
        )
        assert quiet_problems(BEFORE, after, [COUNTED]) == [
            "refused: policy tandem-x, 2 times",
            "refused: PATCH hosts/status 422, 1 times",
            "logged: a grave line",
            "tarongers-1 booted",
        ]

    @pytest.mark.parametrize(
        ("guest", "words"),
        [
            (printed(0.0, 1.0, 4.5), "stood still for 3.5 s"),
            (replace(COUNTED, until_s=6.0), "stood still for 4.0 s"),
            (printed(0.0, 1.0, found=7), "started anew"),
            (printed(0.0, 1.0, found=9), "8 was printed"),
        ],
    )
    def test_a_guest_that_noticed_is_told(self, guest: Printed, words: str) -> None:
        found = quiet_problems(BEFORE, AFTER, [guest])
        assert any(words in problem for problem in found), found

    def test_what_is_written_again_and_again_is_told(self) -> None:
        assert judging.busy_problems(BEFORE, replace(AFTER, writes=20.0)) == []
        assert judging.busy_problems(BEFORE, replace(AFTER, writes=100.0)) == [
            "9.0 writes a second in peace"
        ]

    def test_a_known_fault_of_the_older_version_is_no_problem(self) -> None:
        problems = ["mirror web: Lawful False, X", "web went from a to b"]
        ours, known = judging.without_known(problems, ["Lawful False, X"])
        assert (ours, known) == (["web went from a to b"], ["Lawful False, X"])


class TestLoss:
    def test_who_was_killed_boots_once_and_nobody_else(self) -> None:
        after = replace(AFTER, boots=BOOTS | {"burjassot-1": 2})
        assert loss_problems(BEFORE, after, [COUNTED], "burjassot", 15.0) == []
        assert loss_problems(BEFORE, after, [COUNTED], "", 15.0) == ["burjassot-1 booted 1 times"]
        assert loss_problems(BEFORE, AFTER, [COUNTED], "tarongers", 15.0) == [
            "tarongers-1 booted 0 times"
        ]

    def test_a_guest_stands_still_no_longer_than_is_promised(self) -> None:
        guest = printed(0.0, 12.0, 13.0)
        assert loss_problems(BEFORE, AFTER, [guest], "", 15.0) == []
        (found,) = loss_problems(BEFORE, AFTER, [guest], "", 11.0)
        assert "stood still for 12.0 s" in found


# -- what is seen


def test_refusals_and_writes_are_counted_of_what_is_tandems() -> None:
    denials = "apiserver_validating_admission_policy_check_total"
    requests = "apiserver_request_total"
    common = 'group="tandem.dev",resource="hosts",subresource="status"'
    other = 'group="",resource="pods",subresource=""'
    text = f"""
# TYPE {denials} counter
{denials}{{enforcement_action="deny",policy="tandem-host-status"}} 2
{denials}{{enforcement_action="allow",policy="tandem-host-status"}} 50
{denials}{{enforcement_action="deny",policy="mark-1"}} 3
# TYPE {requests} counter
{requests}{{code="200",verb="PATCH",{common}}} 40
{requests}{{code="200",verb="GET",{common}}} 400
{requests}{{code="422",verb="PATCH",{common}}} 5
{requests}{{code="422",verb="PATCH",{other}}} 6
"""
    refusals, writes = counted(text)
    assert refusals == {"policy tandem-host-status": 2.0, "PATCH hosts/status 422": 5.0}
    assert writes == 40.0


def test_what_a_server_says_of_a_changed_definition_is_not_grave() -> None:
    lines = [
        "controller-0: 2026-12-01 01:00:00,000 ERROR   kopf: storage is (re)initializing",
        "actuator: 2026-12-01 01:00:00,000 WARNING tandem_actuator: a watch was ended",
        "actuator: 2026-12-01 01:00:00,000 ERROR   tandem_actuator: a bug",
        "Traceback (most recent call last):",
    ]
    assert grave_lines(lines) == lines[2:]


# -- what is run


def test_a_host_sees_what_its_link_says_and_this_checkout_without_one(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path, "lab")
    assert settings.source_dir("a-1") == SOURCE_DIR
    other = Checkout("x", tmp_path)
    for checkout in (other, HERE, other):
        checkout.give(settings.source_link("a-1"))
        assert settings.source_dir("a-1").resolve() == checkout.directory.resolve()


def test_programs_of_another_version_import_its_packages(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.hatch.build]\ndev-mode-dirs = ["crds", "controller"]\n'
    )
    other = Checkout("x", tmp_path)
    assert other.environment == {"PYTHONPATH": f"{tmp_path}/crds:{tmp_path}/controller"}
    assert HERE.environment == {}


def test_a_second_guest_is_the_examples_but_for_its_name_and_home() -> None:
    text = (SOURCE_DIR / "examples/bancuv3.yaml").read_text()
    raws = list(yaml.safe_load_all(guest_manifest(text, GuestName("s", "web"), "tarongers")))
    made = {raw["kind"]: raw for raw in raws}
    assert made["Guest"]["spec"]["placement"] == {"preferredSite": "tarongers"}
    assert made["Guest"]["spec"]["mirror"] == made["Mirror"]["metadata"]["name"] == "web"
    assert made["Mirror"]["spec"]["replicas"][0]["devices"] == {"root": "/dev/vg0/web-root"}


def test_the_table_names_each_state_once_and_every_problem() -> None:
    rows = [
        Row("all old", "nothing", 1.0),
        Row("all old", "moves", 2.4, ["Cold: 1 s"]),
        Row("all new", "a loss", 3.0, [], ["web | is\nlost"], broken=True),
    ]
    assert [row.good for row in rows] == [True, True, False]
    assert table("abc", "def", rows)[4:] == [
        "| all old | nothing | as it was | 1 |",
        "|  | moves | Cold: 1 s | 2 |",
        "| all new | a loss | **web / is lost** | 3 |",
    ]
