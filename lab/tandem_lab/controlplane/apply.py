"""Apply manifests to a lab's API server: a kustomize folder, a plain folder, or one file.

Custom resource definitions go first and are waited for, so that one folder may hold definitions
and objects of the new kinds.

Called by the lab's setup and by tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tandem_lab.controlplane.server import ControlPlane

ESTABLISH_TIMEOUT_S = 30
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_DEFINITION = re.compile(r"^kind:\s*[\"']?CustomResourceDefinition\b", re.MULTILINE)


class ApplyError(RuntimeError):
    """There is nothing to apply at the path given."""


def apply_path(plane: ControlPlane, path: Path) -> list[str]:
    """Apply what is at `path`; returns kubectl's lines, one an object. Idempotent.

    Raises ApplyError for an empty folder and ControlPlaneError with kubectl's words.
    """
    documents = split_documents(read_manifests(plane, path))
    if not documents:
        raise ApplyError(f"no manifest in {path}")
    definitions = [text for text in documents if _DEFINITION.search(text)]
    others = [text for text in documents if not _DEFINITION.search(text)]
    return [*_apply_definitions(plane, definitions), *_apply(plane, others)]


def read_manifests(plane: ControlPlane, path: Path) -> str:
    """The manifests at `path` as one YAML stream; kustomize's if the folder asks for it."""
    if path.is_file():
        return path.read_text()
    if any((path / name).is_file() for name in _KUSTOMIZATIONS):
        return plane.kubectl("kustomize", str(path.absolute()))
    files = sorted([*path.rglob("*.yaml"), *path.rglob("*.yml")])
    return "\n---\n".join(file.read_text() for file in files)


def split_documents(stream: str) -> list[str]:
    """A YAML stream's documents, unparsed, without those that hold nothing but comments."""
    parts = re.split(r"^---(?:[ \t].*)?$", stream, flags=re.MULTILINE)
    return [part for part in parts if re.search(r"^[^#\s]", part, re.MULTILINE)]


def _apply_definitions(plane: ControlPlane, definitions: Sequence[str]) -> list[str]:
    applied = _apply(plane, definitions)
    if applied:
        plane.kubectl(
            "wait",
            "--for=condition=Established",
            f"--timeout={ESTABLISH_TIMEOUT_S}s",
            *(line.split()[0] for line in applied),
        )
    return applied


def _apply(plane: ControlPlane, documents: Sequence[str]) -> list[str]:
    if not documents:
        return []
    stream = "\n---\n".join(documents)
    return plane.kubectl("apply", "--filename=-", "--validate=strict", stdin=stream).splitlines()
