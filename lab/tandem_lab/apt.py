"""Debian packages for the lab: install them, or unpack them unseen.

It installs only what is missing, and no service starts because a package was installed: the lab
runs every daemon itself, inside its own namespaces. Programs that the host need not have
installed at all (Prometheus, a kernel for user-mode Linux) are unpacked below the lab's cache
instead. It never writes the machine's own apt sources.

Called by the lab's setup.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str], None]

UPDATE_TIMEOUT_S = 180
INSTALL_TIMEOUT_S = 900
DOWNLOAD_TIMEOUT_S = 600
UNPACK_TIMEOUT_S = 300
QUERY_TIMEOUT_S = 30
LOCK_TIMEOUT_S = 300
UPDATE_ATTEMPTS = 5
UPDATE_RETRY_S = 5.0

POLICY_RC_D = Path("/usr/sbin/policy-rc.d")
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_APT_GET = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT_S}")


class AptError(RuntimeError):
    """A call of apt or dpkg failed; the message ends with what it printed."""


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that are not installed, in the order given."""
    if not packages:
        return []
    result = subprocess.run(
        ["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Status}\n", *packages],
        capture_output=True,
        text=True,
        timeout=QUERY_TIMEOUT_S,
        check=False,  # exit 1 is its way to say that some are unknown
    )
    rows = (line.split() for line in result.stdout.splitlines())
    installed = {name.split(":")[0] for name, status in rows if status == "installed"}
    return [package for package in packages if package not in installed]


def cache_directory() -> Path:
    """Where the lab keeps what takes long to get: `$TANDEM_CACHE`, else `~/.cache/tandem`."""
    return Path(os.environ.get("TANDEM_CACHE") or Path.home() / ".cache" / "tandem").absolute()


@contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold the cache entry `name` alone; a second process waits here for the first one's work."""
    locks = cache_directory() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure_apt_packages(packages: Sequence[str], progress: Progress = print) -> list[str]:
    """Install what is missing and return it; an empty answer means that nothing was touched."""
    missing = missing_packages(packages)
    if not missing:
        return []
    ensure_candidates(missing, progress)
    progress(f"apt: installing {' '.join(missing)}")
    with _services_stay_down():
        _run([*_APT_GET, "install", "--no-install-recommends", *missing], INSTALL_TIMEOUT_S)
    return missing


def ensure_candidates(packages: Sequence[str], progress: Progress = print) -> None:
    """Refresh the package lists if apt knows no version of one of `packages`."""
    if all(_has_candidate(package) for package in packages):
        return
    progress("apt: updating the package lists")
    _update()
    unknown = [package for package in packages if not _has_candidate(package)]
    if unknown:
        raise AptError(f"apt knows no package {', '.join(unknown)}, also after an update")


def unpack_packages(packages: Sequence[str], destination: Path, progress: Progress = print) -> None:
    """Unpack `packages` (without dependencies) below `destination`; nothing is installed.

    One may name its version: `name=version`.
    """
    ensure_candidates([package.partition("=")[0] for package in packages], progress)
    destination.mkdir(parents=True, exist_ok=True)
    downloads = destination / ".debs"
    downloads.mkdir(exist_ok=True)
    progress(f"apt: fetching {' '.join(packages)}")
    _download(packages, downloads)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(destination)], UNPACK_TIMEOUT_S)
    shutil.rmtree(downloads)


def unpacked_packages(name: str, packages: Sequence[str], progress: Progress = print) -> Path:
    """The cached tree that `packages` unpack to, made on first use; `name` names the entry."""
    tree = cache_directory() / "debian" / name
    with cache_lock(f"debian-{name}"):
        if not tree.is_dir():
            partial = tree.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            unpack_packages(packages, partial, progress)
            partial.rename(tree)
    return tree


def offers(package: str, version: str, progress: Progress = print) -> bool:
    """Whether apt can get just this version."""
    ensure_candidates([package], progress)
    table = _run(["apt-cache", "policy", package], QUERY_TIMEOUT_S).partition("Version table:")[2]
    return version in table.split()


def _has_candidate(package: str) -> bool:
    policy = _run(["apt-cache", "policy", package], QUERY_TIMEOUT_S)
    return bool(re.search(r"^\s+Candidate: (?!\(none\))", policy, re.MULTILINE))


def _update() -> None:
    # Two setups may run at once, and the lists' lock, unlike dpkg's, cannot be waited for.
    for attempt in range(1, UPDATE_ATTEMPTS + 1):
        try:
            _run([*_APT_GET, "update"], UPDATE_TIMEOUT_S)
            return
        except AptError as error:
            if "lock" not in str(error) or attempt == UPDATE_ATTEMPTS:
                raise
            time.sleep(UPDATE_RETRY_S)


def _download(packages: Sequence[str], directory: Path) -> None:
    # As root apt would drop to its own user, who may not write into a cache below /root.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages]
    try:
        _run(command, DOWNLOAD_TIMEOUT_S, directory)
    except AptError:
        # The lists may name a file that the mirror has replaced since.
        _update()
        _run(command, DOWNLOAD_TIMEOUT_S, directory)


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Forbid package scripts to start services, unless the machine has its own policy."""
    if POLICY_RC_D.exists():
        yield
        return
    POLICY_RC_D.write_text("#!/bin/sh\nexit 101\n")
    POLICY_RC_D.chmod(0o755)
    try:
        yield
    finally:
        POLICY_RC_D.unlink(missing_ok=True)


def _run(command: Sequence[str], timeout_s: float, cwd: Path | None = None) -> str:
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env={**os.environ, **_ENVIRONMENT},
        check=False,
    )
    if result.returncode != 0:
        said = (result.stdout + result.stderr)[-2000:]
        raise AptError(f"{' '.join(command)} exited {result.returncode}:\n{said}")
    return result.stdout
