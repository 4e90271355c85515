"""What is there at one moment: objects, boots, refusals, what was logged. It changes nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tandem_lab.deployment import Deployment

Raw = dict[str, Any]

KINDS = "guests,mirrors,hosts,sites"
DENIALS = "apiserver_validating_admission_policy_check"
REQUESTS = "apiserver_request"
OURS = ("tandem.dev", "coordination.k8s.io")
REFUSED_CODES = ("400", "403", "413", "422")
WRITES = ("PATCH", "PUT", "POST")
GRAVE = re.compile(r" (ERROR|CRITICAL) |^Traceback ")
EXCUSED = re.compile(r"storage is \(re\)initializing|will retry")
"""What a server says for a moment after a definition has changed; it is asked again."""
LINE_CHARACTERS = 200


@dataclass(frozen=True)
class Look:
    """``refusals``: how many writes the API server has refused until now, by whose and why.
    ``writes``: how many to Tandem's kinds it has seen. ``grave``: what was logged since the last
    look.
    """

    at_s: float
    objects: tuple[Raw, ...]
    boots: dict[str, int]
    refusals: dict[str, float]
    writes: float
    grave: tuple[str, ...]

    def with_grave_of(self, earlier: Look) -> Look:
        """It, with what the look before it has read in the logs."""
        return replace(self, grave=(*earlier.grave, *self.grave))


class Looker:
    """Looks, and remembers how far it has read the logs."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._read: dict[Path, int] = {}

    def look(self) -> Look:
        """Now."""
        plane, hosts = self._deployment.plane, self._deployment.lab.hosts
        objects = json.loads(plane.kubectl("get", KINDS, "-A", "-o", "json"))["items"]
        refusals, writes = counted(plane.kubectl("get", "--raw=/metrics"))
        return Look(
            at_s=time.monotonic(),
            objects=tuple(objects),
            boots={host.name: len(host.boots()) for host in hosts},
            refusals=refusals,
            writes=writes,
            grave=tuple(grave_lines(self._new_lines())),
        )

    def _new_lines(self) -> Iterable[str]:
        logs = [host.share / "log" / "actuator.log" for host in self._deployment.lab.hosts]
        for path in (*logs, *sorted(self._deployment.directory.glob("*.log"))):
            if not path.exists():
                continue
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                text = log.read().decode(errors="replace")
                self._read[path] = log.tell()
            for line in text.splitlines():
                yield f"{path.stem}: {line}" if not line.startswith("Traceback") else line


def grave_lines(lines: Iterable[str]) -> list[str]:
    """Those that no program of Tandem's should log while nothing is broken."""
    return [
        line[:LINE_CHARACTERS] for line in lines if GRAVE.search(line) and not EXCUSED.search(line)
    ]


def counted(metrics: str) -> tuple[dict[str, float], float]:
    """Of the API server's metrics: refusals by whose and why, and writes to Tandem's kinds."""
    refusals: dict[str, float] = {}
    writes = 0.0
    wanted = (DENIALS, REQUESTS)
    rows = "\n".join(row for row in metrics.splitlines() if _is_one_of(row, wanted))
    for family in text_string_to_metric_families(f"{rows}\n"):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == f"{DENIALS}_total":
                if labels["enforcement_action"] == "deny" and labels["policy"].startswith("tandem"):
                    _add(refusals, f"policy {labels['policy']}", sample.value)
            elif sample.name == f"{REQUESTS}_total" and labels["group"] in OURS:
                told = f"{labels['verb']} {labels['resource']}/{labels['subresource']}"
                if labels["code"] in REFUSED_CODES:
                    _add(refusals, f"{told.rstrip('/')} {labels['code']}", sample.value)
                elif labels["verb"] in WRITES and labels["group"] == OURS[0]:
                    writes += sample.value
    return refusals, writes


def _is_one_of(row: str, names: Iterable[str]) -> bool:
    return any(row.startswith((f"{name}_total{{", f"# TYPE {name}_total ")) for name in names)


def _add(counts: dict[str, float], what: str, value: float) -> None:
    if value:
        counts[what] = counts.get(what, 0.0) + value
