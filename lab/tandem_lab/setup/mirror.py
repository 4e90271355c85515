"""Where this machine gets Debian from: read from apt's configuration, never assumed.

Pure but for asking apt. Used to build the root image.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.settings import LabError
from tandem_lab.shell import run

RELEASE = "bookworm"
DEFAULT_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Mirror:
    """A Debian archive: its address, the keys it signs with, and how to get there."""

    address: str
    keyring: Path | None
    environment: dict[str, str]


def configured_mirror() -> Mirror:
    """The machine's own mirror of Debian 12; LabError if it has none."""
    run_format = "$(SITE)|$(CODENAME)|$(COMPONENT)|$(SIGNED_BY)"
    targets = run(
        [
            *("apt-get", "indextargets", "--format", run_format),
            *("Created-By: Packages", "Origin: Debian"),
        ]
    )
    for line in targets.splitlines():
        address, codename, component, signed_by = line.split("|")
        if codename == RELEASE and component == "main":
            return Mirror(address, _keyring(signed_by), _environment())
    raise LabError(f"apt on this machine knows no mirror of Debian {RELEASE} main")


def _keyring(signed_by: str) -> Path | None:
    path = Path(signed_by)
    if path.is_absolute() and path.exists():
        return path
    return DEFAULT_KEYRING if DEFAULT_KEYRING.exists() else None


def _environment() -> dict[str, str]:
    """The environment for debootstrap, with apt's proxy if apt has one."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    answer = run(
        [
            *("apt-config", "shell"),
            *("http_proxy", "Acquire::http::Proxy", "https_proxy", "Acquire::https::Proxy"),
        ]
    )
    for assignment in shlex.split(answer):
        name, _, value = assignment.partition("=")
        if value and value != "DIRECT":
            environment[name] = value
    return environment
