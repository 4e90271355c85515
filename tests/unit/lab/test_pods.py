"""The parts of the pods' cluster that need no machine."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tandem_lab.pods import cgroups, page
from tandem_lab.pods.configuration import KERNEL_SETTINGS, Folders, boot_script, kubelet_config
from tandem_lab.pods.images import copied_sources, split_certificates
from tandem_lab.pods.installation import (
    ADMISSION,
    GUEST,
    HOST_OF_THE_PAGE,
    PAGE,
    SECTIONS,
    SITES,
    WAITS,
    by_hand,
    with_image,
    with_profile,
)
from tandem_lab.pods.leadership import Seen, longest_gap_s, new_leader_s
from tandem_lab.pods.network import node_commands
from tandem_lab.pods.topology import NODES
from tandem_lab.settings import SOURCE_DIR, LabError

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


class TestImages:
    def test_what_a_dockerfile_copies_but_not_from_another_stage(self) -> None:
        text = "FROM x AS y\nCOPY a b/c ./\nCOPY --from=y /opt /opt\nRUN COPY\nCOPY d d\n"
        assert copied_sources(text) == ["a", "b/c", "d"]

    def test_everything_that_our_dockerfile_copies_is_there(self) -> None:
        sources = copied_sources((SOURCE_DIR / "Dockerfile").read_text())
        assert "controller" in sources
        assert [name for name in sources if not (SOURCE_DIR / name).exists()] == []

    def test_a_bundle_is_split(self) -> None:
        first, second = CERTIFICATE.format("a"), CERTIFICATE.format("b")
        assert split_certificates(f"# one\n{first}\n# two\n{second}") == [first, second]


class TestImageName:
    def test_it_is_said_in_the_one_place(self) -> None:
        path = SOURCE_DIR / "manifests/image/kustomization.yaml"
        told = yaml.safe_load(with_image(path.read_text(), "example.org/x", "9"))
        assert told["images"] == [
            {"name": "tandem-controller", "newName": "example.org/x", "newTag": "9"}
        ]


class TestPage:
    text = PAGE.read_text()

    def test_prompts_begin_commands_and_other_lines_go_on(self) -> None:
        blocks = "## A\n```\n$ a \\\n    b\nEND\n$ c\n```\n### B\n```\n# d\n```\n"
        other = "```\nNAME  AGE\n```\n```yaml\n$ no\n```\n"
        found = [(each.section, each.where, each.text) for each in page.commands(blocks + other)]
        third = "the third place"
        assert found == [
            ("A", third, "a \\\n    b\nEND"),
            ("A", third, "c"),
            ("B", "a host", "d"),
        ]

    def test_every_command_of_the_third_place_is_run_or_left_out_with_a_reason(self) -> None:
        """A new section is noticed here before anybody takes it for tried."""
        told = [each for each in page.commands(self.text) if each.where == "the third place"]
        forgotten = [each for each in told if each.section not in SECTIONS and not each.left_out]
        assert forgotten == []

    def test_every_reason_to_leave_one_out_is_about_one(self) -> None:
        texts = [each.text for each in page.commands(self.text)]
        unused = [
            begins for begins in page.LEFT_OUT if not any(t.startswith(begins) for t in texts)
        ]
        assert unused == []

    def test_every_section_that_is_left_out_has_commands_and_is_not_run(self) -> None:
        assert all(page.section(self.text, heading) for heading in page.SECTIONS_LEFT_OUT)
        assert not set(page.SECTIONS_LEFT_OUT) & set(SECTIONS)

    def test_the_webhook_gets_its_certificate_its_manifests_and_its_authority(self) -> None:
        """Up to what is another way to the same: no command before it may be left out."""
        given = by_hand(page.section(self.text, ADMISSION))
        assert [" ".join(each.text.split()[:3]) for each in given] == [
            "openssl req -x509",
            "openssl req -newkey",
            "openssl x509 -req",
            "kubectl -n tandem-system",
            "kubectl apply -k",
            "kubectl -n tandem-system",
            "ca=$(base64 -w0 <",
            "for hook in",
        ]

    def test_every_section_that_is_run_has_commands(self) -> None:
        assert all(page.section(self.text, heading) for heading in SECTIONS)

    def test_a_shell_understands_each(self) -> None:
        for each in page.commands(self.text):
            subprocess.run(["bash", "-nc", each.text], check=True, timeout=10)

    def test_what_is_edited_between_two_commands_is_a_copy(self) -> None:
        for heading in (SITES, GUEST):
            source = SOURCE_DIR / page.section(self.text, heading)[0].text.split()[1]
            assert source.suffix == ".yaml" and source.exists()

    def test_the_first_guest_is_waited_for(self) -> None:
        assert page.section(self.text, GUEST)[-1].text.startswith(WAITS)

    def test_the_page_names_the_host_that_others_are_put_for(self) -> None:
        assert HOST_OF_THE_PAGE in self.text

    def test_only_the_sites_get_a_profile(self) -> None:
        raws = yaml.safe_load_all(
            with_profile((SOURCE_DIR / "examples/two-sites.yaml").read_text(), "Fast")
        )
        found = [(raw["kind"], raw["spec"].get("profile")) for raw in raws]
        assert found == [("Site", "Fast"), ("Site", "Fast"), ("Host", None), ("Host", None)]


class TestLeadership:
    looks = (
        Seen(0.0, "a", "1"),
        Seen(1.0, "a", "2"),
        Seen(1.5, "", "3"),
        Seen(4.0, "b", "4"),
        Seen(4.5, "b", "4"),
        Seen(5.0, "b", "5"),
    )

    def test_the_first_other_leader_counts(self) -> None:
        assert new_leader_s(self.looks, "a", 1.0) == 3.0

    def test_nobody_else_is_no_number(self) -> None:
        assert new_leader_s(self.looks[:3], "a", 0.0) is None

    def test_a_lease_that_was_given_up_is_no_renewal(self) -> None:
        assert longest_gap_s(self.looks, 0.0, 5.0) == 3.0

    def test_silence_until_the_end_counts(self) -> None:
        assert longest_gap_s(self.looks, 0.0, 11.0) == 6.0


class TestCgroups:
    @pytest.fixture
    def v1(self, tmp_path: Path) -> Path:
        for name in ("cpuset", "memory", "pids"):
            (tmp_path / name).mkdir()
        return tmp_path

    def test_v1_has_a_folder_for_each_controller(self, v1: Path) -> None:
        assert {path.name for path in cgroups.hierarchies(v1)} == {"cpuset", "memory", "pids"}

    def test_v2_has_one(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
        assert cgroups.hierarchies(tmp_path) == [tmp_path]

    def test_what_a_kubelet_lacks_is_named_at_once(self, v1: Path, tmp_path: Path) -> None:
        with pytest.raises(LabError, match="not mounted here: cpu; mount them under"):
            cgroups.require(v1)
        (v1 / "cpu").mkdir()
        cgroups.require(v1)
        v2 = tmp_path / "v2"
        v2.mkdir()
        (v2 / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        cgroups.require(v2)
        (v2 / "cgroup.controllers").write_text("cpuset cpu io\n")
        with pytest.raises(LabError, match="not mounted here: memory, pids"):
            cgroups.require(v2)

    def test_processes_below_are_found(self, v1: Path) -> None:
        below = v1 / "pids/node/kubepods/pod1/container"
        below.mkdir(parents=True)
        (below / "cgroup.procs").write_text("7\n8\n")
        assert cgroups.processes("node", v1) == [7, 8]
        assert cgroups.processes("other", v1) == []

    def test_groups_are_removed_from_the_leaves(self, v1: Path) -> None:
        (v1 / "memory/node/kubepods/pod1").mkdir(parents=True)
        cgroups.remove_group("node", v1)
        assert not (v1 / "memory/node").exists()

    def test_one_that_is_in_use_is_an_error(self, v1: Path) -> None:
        (v1 / "memory/node").mkdir()
        (v1 / "memory/node/in-use").write_text("")
        with pytest.raises(OSError):
            cgroups.remove_group("node", v1)


class TestNode:
    folders = Folders(Path("/state"), Path("/store"))

    def test_the_machines_kernel_settings_are_covered_before_a_kubelet_starts(self) -> None:
        script = boot_script(NODES[0], self.folders, Path("/k"), Path("/c/containerd"))
        covered = script.index("mount --bind")
        assert all(script.index(name) < covered for name in KERNEL_SETTINGS)
        assert covered < script.index("/k/kubelet")

    def test_pods_live_in_the_nodes_own_control_group(self) -> None:
        config = yaml.safe_load(kubelet_config("group", self.folders, Path("/pki")))
        assert config["cgroupRoot"] == "/group"
        assert config["authentication"]["anonymous"] == {"enabled": False}

    def test_a_node_knows_the_way_to_the_others_pods(self) -> None:
        first, second = NODES
        assert f"route add {second.pods} via {second.address}" in list(
            node_commands(first, [second])
        )
