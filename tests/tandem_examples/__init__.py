"""The files in ``examples/`` as tests see them, and what Tandem says about the objects in them.

A file in ``examples/bad`` holds what to add to ``production.yaml`` (or to put in place of an
object of the same name there). Its first line is the one problem that Tandem must report, word
for word; its second says who notices first. Called by unit and integration tests.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tandem_api.check.catalogue import Catalogue
from tandem_api.check.guests import guest_problems
from tandem_api.check.validation import (
    host_problems,
    mirror_problems,
    parse_problems,
    site_problems,
    tandem_problems,
)
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.meta import ObjectKey, Problem, Resource
from tandem_api.registry import KINDS

Raw = dict[str, Any]

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
PRODUCTION = EXAMPLES / "production.yaml"
TYPES: Mapping[str, type[Resource]] = {info.kind: info.type for info in KINDS}

BY_SCHEMA = "Refused by the API server, by the kind's schema."
BY_RULE = "Refused by the API server, by a rule of the kind."
KUBECTL = "Refused for kubectl; with --validate=false the field is dropped, and Tandem reports it."
TANDEM = "Reported by Tandem, in the condition SpecValid."


@dataclass(frozen=True)
class Bad:
    """One file of ``examples/bad``."""

    path: Path
    problem: str
    noticed_by: str
    objects: list[Raw]

    @property
    def text(self) -> str:
        """The problem without whose it is, and without the field."""
        return self.problem.split(": ", maxsplit=2)[2]

    def is_said_as(self, said: str) -> bool:
        """Whether a server's words are Tandem's, which may add numbers and names after a colon."""
        return self.text == said or self.text.startswith(f"{said}: ")


def documents(path: Path) -> list[Raw]:
    """A file's objects of Tandem's kinds."""
    raws = yaml.safe_load_all(path.read_text())
    return [raw for raw in raws if raw and raw["kind"] in TYPES]


def good_files() -> list[Path]:
    """The examples that are right."""
    return sorted(EXAMPLES.glob("*.yaml"))


def bad_files() -> list[Bad]:
    """The examples that are wrong, each in its own way."""
    return [_bad(path) for path in sorted((EXAMPLES / "bad").glob("*.yaml"))]


def _bad(path: Path) -> Bad:
    first, second, *_ = path.read_text().splitlines()
    return Bad(path, first.removeprefix("# "), second.removeprefix("# "), documents(path))


def name_of(raw: Mapping[str, Any]) -> str:
    """``Kind namespace/name``, as a problem is introduced."""
    metadata = raw["metadata"]
    namespace = metadata.get("namespace")
    name = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
    return f"{raw['kind']} {name}"


def merged(old: Iterable[Raw], new: Iterable[Raw]) -> list[Raw]:
    """The new objects put in place of or beside the old ones, which were created before them."""
    found: dict[str, Raw] = {}
    for raw in old:
        metadata = {"creationTimestamp": "2026-01-01T00:00:00Z", **raw["metadata"]}
        found[name_of(raw)] = {**raw, "metadata": metadata}
    found.update({name_of(raw): raw for raw in new})
    return list(found.values())


def problems_of(raws: Iterable[Raw]) -> list[str]:
    """All that Tandem says about these objects, taken together."""
    found: list[str] = []
    parsed: list[tuple[Raw, Resource]] = []
    unreadable: list[tuple[str, ObjectKey]] = []
    for raw in raws:
        wrong = parse_problems(TYPES[raw["kind"]], raw)
        found += [f"{name_of(raw)}: {problem}" for problem in wrong]
        if wrong:
            unreadable.append((raw["kind"], _key(raw)))
        else:
            parsed.append((raw, TYPES[raw["kind"]].parse(raw)))
    catalogue = catalogue_of((each for _, each in parsed), unreadable)
    for raw, each in parsed:
        found += [f"{name_of(raw)}: {problem}" for problem in _problems(each, catalogue)]
    return found


def earlier(raw: Raw) -> Raw | None:
    """The mirror as it was when its spec was accepted; None for what was never accepted."""
    status = raw.get("status", {})
    old = copy.deepcopy(raw)
    if "deviceNumbers" in status:
        old["spec"].pop("port", None)
    if (accepted := status.get("accepted")) is not None:
        old["spec"]["volumes"] = accepted["volumes"]
        old["spec"]["protocol"] = accepted["protocol"]
        for replica, host in zip(old["spec"]["replicas"], accepted["hosts"], strict=True):
            replica["host"] = host
            replica["devices"] = {v["name"]: f"/dev/vg0/{v['name']}" for v in accepted["volumes"]}
    return old if old != raw else None


def _key(raw: Raw) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(namespace=metadata.get("namespace", ""), name=metadata["name"])


def catalogue_of(
    objects: Iterable[Resource], unreadable: Iterable[tuple[str, ObjectKey]] = ()
) -> Catalogue:
    """The objects sorted by kind and indexed."""
    listed = list(objects)
    return Catalogue.of(
        sites=[each for each in listed if isinstance(each, Site)],
        hosts=[each for each in listed if isinstance(each, Host)],
        mirrors=[each for each in listed if isinstance(each, Mirror)],
        guests=[each for each in listed if isinstance(each, Guest)],
        unreadable=unreadable,
    )


def _problems(each: Resource, catalogue: Catalogue) -> list[Problem]:
    match each:
        case Tandem():
            return tandem_problems(each)
        case Site():
            return site_problems(each)
        case Host():
            return host_problems(each, catalogue)
        case Mirror():
            return mirror_problems(each, catalogue)
        case Guest():
            return guest_problems(each, catalogue)
        case GuestMove():
            return []
    raise TypeError(f"not a kind of Tandem's: {each!r}")
