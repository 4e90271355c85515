"""Where the lab takes the programs of Kubernetes from, and what a build leaves behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tandem_lab.controlplane import build, pin, programs, releases, toolchain
from tandem_lab.controlplane.build import BuildError, build_programs, cached_programs

NEWEST = releases.kubernetes()
OLDEST = releases.kubernetes(releases.minors()[0])
TOGETHER = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")

# A compiler that makes programs which say the version that they were linked with.
GO = """#!/bin/bash
case "$1" in
env) echo go{version} ;;
list) printf 'package=a\\npackage=b\\n' ;;
build)
    {build}
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho Kubernetes v{release}\\n' > "$2"
    chmod 755 "$2"
    mkdir -p "$GOCACHE" "$GOMODCACHE"
    echo "$3" >> "{log}"
esac
"""

Place = Callable[[Path, str, str], Path]


def lines(_message: str) -> None:
    """Progress that nobody reads."""


def program(directory: Path, name: str, says: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder on PATH, empty; caches and settings of this test's own."""
    first = tmp_path / "bin"
    first.mkdir()
    monkeypatch.setenv("PATH", f"{first}:/usr/bin:/bin")
    monkeypatch.setenv("TANDEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(programs.ASSETS_VARIABLE, raising=False)
    monkeypatch.delenv(releases.MINOR_VARIABLE, raising=False)
    return first


@pytest.fixture
def built(path: Path, tmp_path: Path) -> Callable[[], list[str]]:
    """A compiler on PATH; what it was asked to build."""
    log = tmp_path / "built"
    write_go(path, log)
    return lambda: log.read_text().split() if log.exists() else []


def write_go(path: Path, log: Path, version: str = "1.26.0", command: str = "true") -> None:
    release = releases.dotted(NEWEST.version)
    text = GO.format(version=version, release=release, build=command, log=log)
    (path / "go").write_text(text)
    (path / "go").chmod(0o755)


def servers(directory: Path, version: str) -> Path:
    for name in programs.SERVER_PROGRAMS:
        program(directory, name, f"Kubernetes v{version}")
    return directory


def test_every_module_pins_one_release_of_its_minor() -> None:
    assert releases.minors()[0] == "1.34"
    for minor in releases.minors():
        module = releases.kubernetes(minor)
        assert releases.dotted(module.minor) == minor
        assert (module.directory / "go.sum").stat().st_size > 10_000
    assert releases.etcd().minor >= programs.OLDEST_ETCD


def test_an_unknown_minor_is_told_with_the_known_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(releases.MINOR_VARIABLE, "1.20")
    with pytest.raises(BuildError, match=r"Kubernetes 1.20: the lab has 1.34, .*TANDEM_KUBERNETES"):
        programs.find_binaries(lines)


def test_assets_come_before_path(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers(path, "1.36.0")
    assets = servers(tmp_path / "assets", "1.35.0")
    assert programs.find_servers(lines) == path
    monkeypatch.setenv(programs.ASSETS_VARIABLE, str(assets))
    assert programs.find_servers(lines) == assets


def test_old_servers_on_path_are_passed_over(path: Path, built: Callable[[], list[str]]) -> None:
    servers(path, "1.20.2")
    assert programs.find_servers(lines) == cached_programs(NEWEST)
    assert built() == [NEWEST.package(name) for name in TOGETHER]


def test_old_assets_are_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = servers(tmp_path / "assets", "1.20.2")
    monkeypatch.setenv(programs.ASSETS_VARIABLE, str(assets))
    with pytest.raises(BuildError, match=r"kube-apiserver is older than 1\.34"):
        programs.find_servers(lines)


def test_a_minor_that_is_asked_for_is_built(path: Path, built: Callable[[], list[str]]) -> None:
    servers(path, releases.dotted(NEWEST.version))
    assert programs.find_servers(lines, "1.34") == cached_programs(OLDEST)
    assert built() == [OLDEST.package(name) for name in TOGETHER]


def test_the_scheduler_is_built_with_the_servers(
    path: Path, built: Callable[[], list[str]]
) -> None:
    """They share most packages: alone it would have all of them compiled once more."""
    said: list[str] = []
    programs.find_servers(said.append)
    assert built() == [NEWEST.package(name) for name in TOGETHER]
    assert f"({', '.join(TOGETHER)}): up to 7 min" in said[0]
    target = build_programs(NEWEST, ["kube-scheduler"], lines)
    assert len(built()) == len(TOGETHER)
    assert build.is_program(target / "kube-scheduler")


def test_nothing_is_built_for_the_sake_of_the_scheduler_alone(
    path: Path, built: Callable[[], list[str]]
) -> None:
    """A cache of servers as an earlier version left it."""
    build_programs(NEWEST, programs.SERVER_PROGRAMS, lines)
    before = built()
    programs.find_servers(lines)
    assert built() == before


def test_an_etcd_of_debian_12_will_not_do(path: Path, built: Callable[[], list[str]]) -> None:
    program(path, "etcd", "etcd Version: 3.4.23")
    assert programs.find_etcd(lines) == cached_programs(releases.etcd()) / "etcd"
    assert built() == [releases.ETCD_PACKAGE]
    newer = program(path, "etcd", "etcd Version: 3.6.1")
    assert programs.find_etcd(lines) == newer


def test_a_build_is_done_once_and_leaves_programs_and_log_alone(
    path: Path, built: Callable[[], list[str]]
) -> None:
    for _time in range(2):
        target = build_programs(NEWEST, ["kubelet"], lines)
    assert built() == [NEWEST.package("kubelet")]
    assert sorted(entry.name for entry in target.iterdir()) == ["build.log", "kubelet"]
    build_programs(NEWEST, ["kubelet", "kube-proxy"], lines)
    assert built()[1:] == [NEWEST.package("kube-proxy")]


def test_a_build_that_fails_shows_the_end_of_its_log_and_goes_on_later(
    path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "built"
    write_go(path, log, command='echo "no space left" >&2; exit 1')
    with pytest.raises(BuildError, match=r"(?s)go build exited 1; .*build\.log ends:.*no space"):
        build_programs(NEWEST, ["kubelet"], lines)
    assert not build.is_program(cached_programs(NEWEST) / "kubelet")
    write_go(path, log)
    assert build.is_program(build_programs(NEWEST, ["kubelet"], lines) / "kubelet")
    assert not (cached_programs(NEWEST) / "build").exists()


def test_a_go_that_is_too_old_is_not_used(path: Path, tmp_path: Path) -> None:
    write_go(path, tmp_path / "built", version="1.19.8")
    assert toolchain.find_go(NEWEST.go) is None
    assert toolchain.find_go((1, 19)) == path / "go"


def test_a_module_is_pinned_with_the_staged_modules_of_its_release() -> None:
    upstream = "go 1.26.0\ngodebug default=go1.26\n\tk8s.io/api => ./staging/src/k8s.io/api\n"
    written = pin.go_mod("1.37.2", upstream).splitlines()
    assert "go 1.26.0" in written
    assert "godebug default=go1.26" in written
    assert "require k8s.io/kubernetes v1.37.2" in written
    assert written[-3:] == ["replace (", "\tk8s.io/api => k8s.io/api v0.37.2", ")"]
