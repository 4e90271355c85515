"""The command line that both programs share, and what they log."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tandem_actuator.__main__ import PROGRAM as ACTUATOR
from tandem_base.command_line import Asked, Program
from tandem_base.logs import Format, JsonLines, Level
from tandem_controller.__main__ import PROGRAM as CONTROLLER

PROGRAMS: tuple[Program[Any], ...] = (CONTROLLER, ACTUATOR)
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: str(each.name))


class Acts:
    """Stands for a program: what it was asked, and what it does."""

    def __init__(self, does: Callable[[], int] = lambda: 0) -> None:
        self.asked: list[Asked[Any]] = []
        self._does = does

    def __call__(self, asked: Asked[Any]) -> int:
        self.asked.append(asked)
        return self._does()


class TestCommandLine:
    @each_program
    def test_the_first_command_is_the_default(self, program: Program[Any]) -> None:
        acts = Acts()
        assert program.run([], acts, {}) == 0
        (asked,) = acts.asked
        assert (asked.command, asked.argument) == ("run", "")
        assert asked.settings == program.settings()

    @each_program
    @pytest.mark.parametrize(
        "arguments",
        [
            ["--metrics-port=9", "--log-format", "json", "run"],
            ["run", "--metrics-port=9", "--log-format", "json"],
            ["--metrics-port=9", "run", "--log-format=json"],
            ["--metrics-port=8", "run", "--log-format=json", "--metrics-port=9"],
        ],
    )
    def test_settings_stand_before_the_command_or_after_it(
        self, program: Program[Any], arguments: list[str]
    ) -> None:
        acts = Acts()
        assert program.run(arguments, acts, {}) == 0
        settings = acts.asked[0].settings
        assert (settings.metrics_port, settings.log_format) == (9, Format.JSON)

    def test_a_command_may_take_a_word(self) -> None:
        acts = Acts()
        assert ACTUATOR.run(["forget", "ns.m", "--run-dir=/x"], acts, {}) == 0
        assert (acts.asked[0].command, acts.asked[0].argument) == ("forget", "ns.m")
        assert acts.asked[0].settings.run_dir == Path("/x")

    @each_program
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (
                ["--metrics-prot=1"],
                "--metrics-prot (command line) is no setting; did you mean --metrics-port?",
            ),
            (["run", "--log-fromat", "json"], "is no setting; did you mean --log-format?"),
            # No abbreviation: another setting of that beginning would change what it means.
            (["--metrics-p=1"], "--metrics-p (command line) is no setting; did you mean"),
            (
                ["--metrics-port=tcp://10.0.0.1:443"],
                "metrics_port: tcp://10.0.0.1:443 (flag --metrics-port) will not do; write a whole"
                " number from 0 to 65535",
            ),
            (
                ["--log-format=xml", "run"],
                "log_format: xml (flag --log-format) will not do; write text or json",
            ),
        ],
    )
    def test_what_is_wrong_is_told_in_one_line_with_what_would_do(
        self,
        program: Program[Any],
        arguments: list[str],
        told: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        acts = Acts()
        assert program.run(arguments, acts, {}) == 2
        assert acts.asked == []
        said = capsys.readouterr().err
        assert said.startswith(f"{program.name}: ") and said.count("\n") == 1
        assert told in said

    @each_program
    def test_what_it_says_would_do_does(self, program: Program[Any]) -> None:
        for right in ("--metrics-port=0", "--metrics-port=65535", "--log-format=text"):
            acts = Acts()
            assert program.run([right], acts, {}) == 0
            assert len(acts.asked) == 1

    def test_an_end_that_is_known_is_one_line_with_its_code(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> int:
            raise FileNotFoundError("gone")

        assert CONTROLLER.run([], Acts(fail), {OSError: 7}) == 7
        assert capsys.readouterr().err == "tandem-controller: gone\n"

    def test_any_other_is_not_hidden(self) -> None:
        def fail() -> int:
            raise KeyError("bug")

        with pytest.raises(KeyError):
            CONTROLLER.run([], Acts(fail), {OSError: 7})

    @each_program
    def test_help_names_every_setting(
        self, program: Program[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for arguments in (["--help"], ["run", "--help"]):
            with pytest.raises(SystemExit):
                program.run(arguments, Acts(), {})
            said = capsys.readouterr().out
            for name in program.settings.model_fields:
                assert f"--{name.replace('_', '-')} " in said


def record(message: str, *arguments: object, error: BaseException | None = None) -> Any:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(
        "tandem_x", logging.WARNING, "x.py", 1, message, arguments, info, sinfo=None
    )


class TestJson:
    def test_a_line_is_one_object(self) -> None:
        line = JsonLines().format(record('guest=%s says "%s"\nand more', "ns/g", "€"))
        assert "\n" not in line
        said = json.loads(line)
        assert said.pop("time").endswith("+00:00")
        assert said == {
            "level": "WARNING",
            "logger": "tandem_x",
            "message": 'guest=ns/g says "€"\nand more',
        }

    def test_a_traceback_is_in_it(self) -> None:
        try:
            raise KeyError("x")
        except KeyError as error:
            line = JsonLines().format(record("bug", error=error))
        assert "\n" not in line
        assert json.loads(line)["exception"].endswith("KeyError: 'x'")

    @pytest.mark.parametrize(
        ("does", "message", "code"),
        [
            ("raise KeyError('x')", "uncaught: KeyError", 1),
            ("import threading as t; t.Thread(target=lambda: 1 / 0).start()", "uncaught", 0),
            ("import warnings; warnings.warn('old')", "old", 0),
            ("import logging; logging.getLogger('a').error('said')", "said", 0),
        ],
    )
    def test_nothing_else_is_written_whatever_happens(
        self, does: str, message: str, code: int
    ) -> None:
        program = (
            "from tandem_base import logs\nlogs.begin(logs.Level.INFO, logs.Format.JSON)\n" + does
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
        )
        (line,) = done.stderr.splitlines()
        assert message in json.loads(line)["message"]
        assert done.returncode == code

    @pytest.mark.parametrize("program", ["tandem_controller", "tandem_actuator"])
    def test_both_programs_write_it_to_the_end(self, program: str, tmp_path: Path) -> None:
        """Up to the kubeconfig, which is not there; and the variable that is ignored is told."""
        folder = [f"--run-dir={tmp_path}"] if program == "tandem_actuator" else []
        none = tmp_path / "none"
        done = subprocess.run(
            [sys.executable, "-m", program, "--log-format=json", f"--kubeconfig={none}", *folder],
            env={"PATH": "/usr/bin:/bin", "TANDEM_LOG_FORMAT": "text"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        said = [json.loads(line) for line in done.stderr.splitlines()]
        assert "TANDEM_LOG_FORMAT is ignored" in said[0]["message"]
        assert said[-1]["level"] == "CRITICAL"
        assert said[-1]["message"].endswith(f"{none}: No such file or directory")


def test_levels_are_pythons() -> None:
    assert all(logging.getLevelName(getattr(logging, level)) == level for level in Level)
