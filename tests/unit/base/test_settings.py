"""Settings come from a file and from flags. What else is in the environment breaks nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem_actuator import settings as actuator
from tandem_base.logs import Level
from tandem_base.settings import BaseSettings, SettingsError, ignored_variables, load, wanted
from tandem_controller import settings as controller
from tandem_examples import ROOT

PROGRAMS = ("tandem_controller", "tandem_actuator")
SETTINGS: tuple[type[BaseSettings], ...] = (controller.Settings, actuator.Settings)
NOWHERE = Path("/nonexistent/tandem.yaml")


def loaded(file: Path | None, flags: dict[str, Any]) -> controller.Settings:
    """The controller's."""
    return load(controller.Settings, file, NOWHERE, flags)


def variables_of(service: str, port: int, port_name: str) -> dict[str, str]:
    """What a kubelet puts into every pod of the namespace for one Service."""
    prefix, address = service.upper().replace("-", "_"), "10.0.0.1"
    by_number = f"{prefix}_PORT_{port}_TCP"
    return {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_{port_name.upper()}": str(port),
        f"{prefix}_PORT": f"tcp://{address}:{port}",
        by_number: f"tcp://{address}:{port}",
        f"{by_number}_PROTO": "tcp",
        f"{by_number}_PORT": str(port),
        f"{by_number}_ADDR": address,
    }


def our_services() -> Iterator[tuple[str, int, str]]:
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        for raw in yaml.safe_load_all(path.read_text()):
            if raw and raw.get("kind") == "Service":
                for port in raw["spec"]["ports"]:
                    yield raw["metadata"]["name"], port["port"], port["name"]


def others_services() -> Iterator[tuple[str, int, str]]:
    """Names that somebody may well choose, and one for every setting that there is."""
    for name in ("tandem", "tandem-metrics", "tandem-controller", "tandem-actuator", "kubernetes"):
        yield name, 8080, "http"
    for kind in SETTINGS:
        for setting in kind.model_fields:
            yield f"tandem-{setting.replace('_', '-')}", 443, "https"
            yield f"tandem-{setting.removesuffix('_port').replace('_', '-')}", 443, "https"


def foreign_variables() -> dict[str, str]:
    found = {name: "tcp://10.0.0.1:443" for kind in SETTINGS for name in former_names(kind)}
    for service in (*our_services(), *others_services()):
        found |= variables_of(*service)
    return found


def former_names(kind: type[BaseSettings]) -> list[str]:
    return [f"TANDEM_{name.upper()}" for name in kind.model_fields]


class TestEnvironment:
    def test_the_name_that_stopped_the_pods_is_among_the_foreign_ones(self) -> None:
        """Else the tests below would prove nothing."""
        assert ("tandem-admission", 443, "webhook") in set(our_services())
        assert foreign_variables()["TANDEM_ADMISSION_PORT"] == "tcp://10.0.0.1:443"
        assert foreign_variables()["TANDEM_METRICS_PORT"].startswith("tcp://")

    @pytest.mark.parametrize("kind", SETTINGS, ids=PROGRAMS)
    def test_no_variable_is_a_setting(
        self, kind: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calm = load(kind, None, NOWHERE, {})
        for name, value in foreign_variables().items():
            monkeypatch.setenv(name, value)
        assert load(kind, None, NOWHERE, {}) == calm

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_the_programs_do_not_stumble_over_them(self, program: str, tmp_path: Path) -> None:
        """They get as far as the kubeconfig, which is the next thing that is wrong."""
        done = run(
            program,
            f"--kubeconfig={tmp_path / 'none'}",
            *folders(program, tmp_path),
            environment=foreign_variables(),
        )
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.endswith(f"{tmp_path / 'none'}: No such file or directory"), done.stderr

    @pytest.mark.parametrize("kind", SETTINGS, ids=PROGRAMS)
    def test_who_still_sets_one_is_told(self, kind: type[BaseSettings]) -> None:
        environment = [*former_names(kind), "TANDEM_SERVICE_HOST", "TANDEM_LAB_DIR", "LOG_LEVEL"]
        assert ignored_variables(kind, environment) == sorted(former_names(kind))


def run(
    program: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", program, *arguments, "run"],
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestFile:
    def test_flags_win_over_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "controller.yaml"
        file.write_text("metrics_port: 1\nlog-level: DEBUG\n")
        found = loaded(file, {"metrics_port": "2", "identity": None})
        assert (found.metrics_port, found.log_level) == (2, Level.DEBUG)

    def test_an_empty_file_is_fine(self, tmp_path: Path) -> None:
        file = tmp_path / "empty.yaml"
        file.touch()
        assert loaded(file, {}) == controller.Settings()

    def test_the_default_file_is_read_where_there_is_one(self, tmp_path: Path) -> None:
        file = tmp_path / "default.yaml"
        assert load(controller.Settings, None, file, {}).metrics_port == 8080
        file.write_text("metrics_port: 1")
        assert load(controller.Settings, None, file, {}).metrics_port == 1

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("metrics_prot: 1", "FILE) is no setting; did you mean metrics_port?"),
            ("colour: blue", "colour (in FILE) is no setting; there are log_level, log_format, "),
            (
                "metrics_port: tcp://10.0.0.1:443",
                "metrics_port: tcp://10.0.0.1:443 (in FILE) will not do; write a whole number from"
                " 0 to 65535",
            ),
            ("metrics_port: 70000", "metrics_port: 70000 (in FILE) will not do; write a whole"),
            ("metrics-port:", "metrics_port: nothing (in FILE) will not do; write a whole number"),
            (
                "log_level: LOUD",
                "log_level: LOUD (in FILE) will not do; write DEBUG, INFO, WARNING or ERROR",
            ),
            ("kubeconfig: [a]", "kubeconfig: ['a'] (in FILE) will not do; write a path"),
            ('identity: ["a\\nb"]', "(in FILE) will not do; write text"),
            (f"identity: [{'x' * 500}]", "xxx… (in FILE) will not do; write text"),
            ("- metrics_port", "holds no settings, but list"),
            ("metrics_port: [", "is no YAML: while parsing"),
            ("\0", "is no YAML: "),
        ],
    )
    def test_a_wrong_one_is_told_in_one_line(self, text: str, told: str, tmp_path: Path) -> None:
        file = tmp_path / "controller.yaml"
        file.write_text(text)
        with pytest.raises(SettingsError) as failure:
            loaded(file, {})
        assert told.replace("FILE", str(file)) in str(failure.value)
        assert str(file) in str(failure.value)
        assert "\n" not in str(failure.value)

    def test_it_is_told_which_of_the_two_it_was(self, tmp_path: Path) -> None:
        """What a flag overrides is not looked at: it is not in force."""
        file = tmp_path / "controller.yaml"
        file.write_text("metrics_port: 70000\nadmission_port: 0\n")
        with pytest.raises(SettingsError) as failure:
            loaded(file, {"metrics_port": "-1"})
        assert str(failure.value) == (
            "bad settings: metrics_port: -1 (flag --metrics-port) will not do; write a whole number"
            f" from 0 to 65535; admission_port: 0 (in {file}) will not do; write a whole number"
            " from 1 to 65535"
        )

    @pytest.mark.parametrize("kind", SETTINGS, ids=PROGRAMS)
    def test_of_every_setting_can_be_said_what_would_do(self, kind: type[BaseSettings]) -> None:
        assert all(wanted(kind, name) for name in kind.model_fields)
        assert all(field.description for field in kind.model_fields.values())

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_one_that_is_not_there_ends_the_program(self, program: str, tmp_path: Path) -> None:
        done = run(program, f"--config={tmp_path / 'none'}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.endswith(f"{tmp_path / 'none'}: No such file or directory\n")


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
    "clusters": [{"name": "one", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "one", "user": {}}],
}


def kubeconfig_with(part: str, **fields: str) -> str:
    inner = part.removesuffix("s")
    return yaml.safe_dump({**KUBECONFIG, part: [{"name": "one", inner: fields}]})


class TestKubeconfig:
    """However it is bad: exit 2 and one line that names it, from both programs."""

    @pytest.mark.parametrize("program", PROGRAMS)
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[",
            "- a",
            "just words",
            yaml.safe_dump({**KUBECONFIG, "current-context": "another"}),
            yaml.safe_dump({**KUBECONFIG, "clusters": "none"}),
            kubeconfig_with("clusters"),
            kubeconfig_with("users", **{"client-certificate": "/no/such", "client-key": "/no"}),
            kubeconfig_with(
                "clusters", server="https://a", **{"certificate-authority-data": "bm90IGEgQ0E="}
            ),
            kubeconfig_with(
                "clusters", server="https://a", **{"certificate-authority-data": "%%%"}
            ),
        ],
    )
    def test_bad(self, program: str, text: str, tmp_path: Path) -> None:
        file = tmp_path / "kubeconfig"
        file.write_text(text)
        done = run(program, f"--kubeconfig={file}", *folders(program, tmp_path))
        assert "Traceback" not in done.stderr
        assert done.returncode == 2
        assert str(file) in done.stderr.splitlines()[-1]

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_none(self, program: str, tmp_path: Path) -> None:
        done = run(program, *folders(program, tmp_path), environment={"HOME": str(tmp_path)})
        assert done.returncode == 2
        assert "kubeconfig" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def folders(program: str, path: Path) -> list[str]:
    if program != "tandem_actuator":
        return ["--metrics-port=0"]
    return [f"--{name}={path / name}" for name in ("run-dir", "serial-dir")]


def test_guests_are_sent_in_the_clear_only_by_a_word() -> None:
    def of(**given: object) -> actuator.Settings:
        return load(actuator.Settings, None, NOWHERE, given)

    with pytest.raises(SettingsError, match="migration_tls is missing, and migration_port is"):
        of(migration_port=7799)
    assert of(migration_port=7799, migration_trusted_network=True).migration_tls is None
    assert of(migration_port=7799, migration_tls=Path("/x")).migration_tls == Path("/x")
    assert of().migration_port == 0
