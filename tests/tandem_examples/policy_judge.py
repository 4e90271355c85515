"""Holds the API server's policies and ``writers`` together over whatever programs write.

Most writes of a simulated day are alike: a report in a host's own entry. Each shape of those is
judged once; every change of an authority that differs in more than its request's id is. Called by
tests.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sim.apiserver.policies import status_refusal
from tandem_api.check.writers import Writer, status_problems
from tandem_api.meta import Resource


class Write(Protocol):
    """One write to a status, and by whom."""

    @property
    def writer(self) -> Writer: ...
    @property
    def old(self) -> Resource: ...
    @property
    def new(self) -> Resource: ...


_JUDGED: dict[Hashable, str] = {}


@dataclass
class PolicyJudge:
    """``differences``: where one refuses and the other does not. ``count``: of all writes."""

    differences: list[str] = field(default_factory=list)
    count: int = 0

    def look(self, write: Write) -> None:
        self.count += 1
        old, new = write.old.wire(), write.new.wire()
        shape = _shape(write, old, new)
        if shape not in _JUDGED:
            _JUDGED[shape] = _difference(type(write.new).__name__, write.writer, old, new)
        if _JUDGED[shape]:
            self.differences.append(_JUDGED[shape])


def _difference(kind: str, writer: Writer, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    problems = [str(problem) for problem in status_problems(kind, writer, old, new)]
    said = status_refusal(kind, writer, old, new)
    if said in problems or (said == "" and problems == []):
        return ""
    return f"{kind} by {writer}: the policy says {said!r}, and the code {problems}"


def _shape(write: Write, old: Mapping[str, Any], new: Mapping[str, Any]) -> Hashable:
    before, after = old["status"], new["status"]
    changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    entries = {
        name
        for field_ in ("replicas", "hosts")
        for name in {**before.get(field_, {}), **after.get(field_, {})}
        if before.get(field_, {}).get(name) != after.get(field_, {}).get(name)
    }
    authority = "authority" in changed
    told = [_without_id(each.get("authority")) for each in (before, after)] if authority else []
    claimants = before.get("claimants") if authority else None
    kind, name = type(write.new).__name__, old["metadata"]["name"]
    return repr((kind, write.writer, name, sorted(changed), sorted(entries), told, claimants))


def _without_id(authority: Any) -> Any:
    return {k: v for k, v in (authority or {}).items() if k != "requestId"} or None
