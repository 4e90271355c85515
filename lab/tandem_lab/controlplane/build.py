"""Build programs of a Kubernetes or etcd release from its Go module, once, into the lab's cache.

No registry has these programs, but the Go module proxy has their source, and go.sum says what it
must be. Nothing is installed on the machine, and no build is left behind: after it, sources,
toolchain and compiler cache are removed. An interrupted build goes on from its compiler cache.

Called by the search for programs, and by whatever needs a program that is not of the control
plane (a kubelet).
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tandem_lab.apt import Progress, cache_directory, cache_lock
from tandem_lab.controlplane.releases import Module
from tandem_lab.controlplane.toolchain import fetch_go, find_go

# A loaded machine with two slow cores stays well below this.
COMPILE_TIMEOUT_S = 3600
LIST_TIMEOUT_S = 900
PROGRESS_INTERVAL_S = 20.0
NICENESS = 10
LOG_TAIL_BYTES = 3000

# Minutes of two cores, measured; for what a person reads while waiting. What a program shares with
# those that are built with it is compiled once, and hardly anything else is left of a scheduler.
_USUAL_MINUTES: Mapping[str, float] = {
    "etcd": 0.7,
    "kube-apiserver": 4.5,
    "kube-controller-manager": 1.3,
    "kubelet": 3.0,
    "kube-proxy": 0.3,
    "kube-scheduler": 3.0,
}
_MINUTES_ALONG = 0.3


class BuildError(RuntimeError):
    """A step of the build failed; the message names the log and shows its end."""


def cached_programs(module: Module) -> Path:
    """Where a release's programs are once they are built."""
    return cache_directory() / module.release


def is_program(path: Path) -> bool:
    """Whether there is something to execute."""
    return path.is_file() and os.access(path, os.X_OK)


def build_programs(
    module: Module,
    programs: Sequence[str],
    progress: Progress = print,
    along: Sequence[str] = (),
) -> Path:
    """The folder with these programs of a release, built if they are not there.

    Where one is built, so is what is to go `along`: it costs seconds then, and minutes later, when
    the compiler's cache is gone. Raises BuildError. A second build of the same release waits here
    for the first.
    """
    target = cached_programs(module)
    if _missing(target, programs):
        with cache_lock(module.release):
            if missing := _missing(target, programs):
                Build(module, target, progress).run(missing, _missing(target, along))
    return target


def _missing(target: Path, programs: Sequence[str]) -> list[str]:
    return [program for program in programs if not is_program(target / program)]


class Build:
    """One build, in a folder of its own below `target`."""

    def __init__(self, module: Module, target: Path, progress: Progress) -> None:
        self._module = module
        self._target = target
        self._progress = progress
        self._directory = target / "build"
        self._log = target / "build.log"
        self._output = self._directory / "output"
        self._go = Path("go")

    def run(self, asked: Sequence[str], along: Sequence[str] = ()) -> None:
        """Build them, move them to `target`, remove everything else."""
        programs = [*asked, *along]
        if not self._directory.exists():  # else an interrupted build goes on, and so does its log
            self._log.unlink(missing_ok=True)
        self._output.mkdir(parents=True, exist_ok=True)
        started_s = time.monotonic()
        asked_minutes = sum(_USUAL_MINUTES.get(program, 1.0) for program in asked)
        minutes = math.ceil(asked_minutes + len(along) * _MINUTES_ALONG)
        self._progress(
            f"building {self._module.release} ({', '.join(programs)}): up to {minutes} min on two"
            f" free cores, once; log: {self._log}"
        )
        self._go = self._toolchain()
        self._compile(programs)
        for program in programs:
            (self._output / program).rename(self._target / program)
        shutil.rmtree(self._directory)
        took_s = time.monotonic() - started_s
        self._progress(f"built {self._module.release} in {took_s:.0f} s")

    def _toolchain(self) -> Path:
        return find_go(self._module.go) or fetch_go(
            self._directory / "toolchain",
            lambda command, timeout_s: self._run(command, timeout_s, self._tell_elapsed),
        )

    def _compile(self, programs: Sequence[str]) -> None:
        packages = [self._module.package(program) for program in programs]
        total = self._count(packages)
        build = [str(self._go), "build", "-v", "-trimpath"]
        flags = ["-ldflags", self._module.linker_flags()]
        # One program after the other: `-o` of a folder would name etcd after its package.
        for program, package in zip(programs, packages, strict=True):
            output = ["-o", str(self._output / program)]
            self._run(
                [*build, *flags, *output, package],
                COMPILE_TIMEOUT_S,
                lambda elapsed_s: self._tell_compiled(elapsed_s, total),
            )

    def _count(self, packages: Sequence[str]) -> int:
        """How many packages there are to compile. Fetches the sources."""
        before = self._log_size()
        listing = [str(self._go), "list", "-deps", "-f", "package={{.ImportPath}}", *packages]
        self._run(listing, LIST_TIMEOUT_S, self._tell_elapsed)
        return self._log_text(before).count("\npackage=") or 1

    def _tell_elapsed(self, elapsed_s: float) -> None:
        self._progress(f"    {self._module.release}: fetching sources, {elapsed_s:.0f} s")

    def _tell_compiled(self, elapsed_s: float, total: int) -> None:
        text = self._log_text(0)
        # With -v the compiler prints the name of each package that it has not cached yet.
        compiled = len({line for line in text.splitlines() if _is_import_path(line)})
        percent = min(99, 100 * compiled // total)
        self._progress(f"    {self._module.release}: {percent} % compiled, {elapsed_s:.0f} s")

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "GOPATH": str(self._directory / "gopath"),
            "GOMODCACHE": str(self._directory / "modules"),
            "GOCACHE": str(self._directory / "compiled"),
            # Read-only sources could not be removed again without more ado.
            "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOROOT": "",
            "CGO_ENABLED": "0",
        }

    def _run(self, command: Sequence[str], timeout_s: float, tell: Callable[[float], None]) -> None:
        """Run at low priority, output to the log, a line of progress now and then."""
        with self._log.open("ab") as log:
            log.write(f"$ {' '.join(command)[:500]}\n".encode())
            log.flush()
            process = subprocess.Popen(
                ["nice", "-n", str(NICENESS), *command],
                cwd=self._module.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                code = self._wait(process, timeout_s, tell)
            finally:
                process.kill()
                process.wait()
        if code != 0:
            raise BuildError(
                f"{' '.join(command[:2])} exited {code}; {self._log} ends:\n{self._tail()}"
            )

    def _wait(
        self, process: subprocess.Popen[bytes], timeout_s: float, tell: Callable[[float], None]
    ) -> int:
        started_s = time.monotonic()
        while (elapsed_s := time.monotonic() - started_s) < timeout_s:
            try:
                return process.wait(PROGRESS_INTERVAL_S)
            except subprocess.TimeoutExpired:
                tell(elapsed_s + PROGRESS_INTERVAL_S)
        raise BuildError(f"not finished after {timeout_s:.0f} s; log: {self._log}")

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _log_text(self, offset: int) -> str:
        with self._log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def _tail(self) -> str:
        return self._log_text(max(0, self._log_size() - LOG_TAIL_BYTES))


def _is_import_path(line: str) -> bool:
    return bool(line) and " " not in line and not line.startswith(("package=", "$"))
