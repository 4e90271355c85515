"""Pin a Kubernetes release: `python -m tandem_lab.controlplane.pin 1.37.3`.

Writes go.mod and go.sum of that minor version in `lab/kubernetes` anew. Kubernetes' own go.mod
names its staging modules by folders that are not in the module proxy's copy; each is replaced by
the module of the same name, whose version is the release's with 0 for 1.

Called by people, who commit what it wrote. Needs a Go on PATH.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tandem_lab.controlplane.releases import MODULES_DIR, PACKAGE_PREFIX

PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)
PATH = "k8s.io/kubernetes"


def go_mod(release: str, upstream: str) -> str:
    """The module's go.mod, before `go mod tidy`, from a release's own one."""
    staged = re.findall(r"^\s*(?:replace )?(\S+) => \./staging/", upstream, re.MULTILINE)
    kept = re.findall(r"^(?:go|godebug) .*$", upstream, re.MULTILINE)
    minor = release.removeprefix("1.")
    lines = [
        "module tandem.dev/lab/kubernetes",
        "",
        *kept,
        "",
        *_block("tool", [f"{PACKAGE_PREFIX}{program}" for program in PROGRAMS]),
        f"require {PATH} v{release}",
        "",
        *_block("replace", [f"{name} => {name} v0.{minor}" for name in staged]),
    ]
    return "\n".join(lines)


def _block(directive: str, lines: Sequence[str]) -> list[str]:
    return [f"{directive} (", *(f"\t{line}" for line in lines), ")", ""]


def pin(release: str) -> Path:
    """Write the module of this release; returns its folder."""
    told = _go(["mod", "download", "-json", f"{PATH}@v{release}"], Path.cwd())
    upstream = Path(json.loads(told)["GoMod"]).read_text()
    directory = MODULES_DIR / release.rpartition(".")[0]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "go.mod").write_text(go_mod(release, upstream))
    (directory / "go.sum").unlink(missing_ok=True)
    _go(["mod", "tidy"], directory)
    return directory


def _go(arguments: Sequence[str], directory: Path) -> str:
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    command = ["go", *arguments]
    return subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def main(arguments: Sequence[str]) -> int:
    """One argument, the release."""
    if len(arguments) != 1 or not re.fullmatch(r"1\.\d+\.\d+", arguments[0]):
        print("usage: python -m tandem_lab.controlplane.pin 1.MINOR.PATCH", file=sys.stderr)
        return 2
    print(f"wrote {pin(arguments[0])}; look at the difference, then commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
