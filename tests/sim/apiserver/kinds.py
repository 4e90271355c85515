"""The kinds that the server serves: our own as their definitions say, Leases, events, namespaces.

Of the built-in ones it knows the fields that are used here. Called by ``handler`` and ``server``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sim.apiserver.schema import Node
from tandem_api.crd.crdgen import schema_of
from tandem_api.registry import KINDS
from tandem_kube.kinds import EVENTS, LEASES, OWN, Kind

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}


def _fields(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


LEASE_SCHEMA = _fields(
    spec=_fields(
        holderIdentity=TEXT,
        leaseDurationSeconds={**WHOLE, "minimum": 1},
        acquireTime=TEXT,
        renewTime=TEXT,
        leaseTransitions={**WHOLE, "minimum": 0},
        strategy=TEXT,
        preferredHolder=TEXT,
    )
)
REFERENCE = _fields(
    apiVersion=TEXT,
    kind=TEXT,
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    resourceVersion=TEXT,
    fieldPath=TEXT,
)
EVENT_SCHEMA = _fields(
    involvedObject=REFERENCE,
    related=REFERENCE,
    type=TEXT,
    reason=TEXT,
    message=TEXT,
    action=TEXT,
    source=_fields(component=TEXT, host=TEXT),
    firstTimestamp=TEXT,
    lastTimestamp=TEXT,
    eventTime={**TEXT, "nullable": True},
    count=WHOLE,
    reportingComponent=TEXT,
    reportingInstance=TEXT,
)


class Served(NamedTuple):
    """One kind. ``own``: it is defined by a CRD, with a status of its own."""

    kind: Kind[Any]
    node: Node
    own: bool

    @property
    def resource(self) -> str:
        """As messages name it."""
        group = self.kind.group
        return f"{self.kind.plural}.{group}" if group else self.kind.plural


@dataclass(frozen=True)
class Route:
    """What a path leads to; no name: all of them."""

    served: Served
    namespace: str
    name: str
    subresource: str


@cache
def served_kinds() -> Mapping[str, Served]:
    """By the plural. They hold nothing but the definitions, so all servers share them."""
    found = [Served(OWN[info.kind], Node(schema_of(info)), True) for info in KINDS]
    found.append(Served(LEASES, Node(LEASE_SCHEMA), False))
    found.append(Served(EVENTS, Node(EVENT_SCHEMA), False))
    return {served.kind.plural: served for served in found}


def served_name(kind: str) -> Served:
    return _by_name()[kind]


@cache
def _by_name() -> Mapping[str, Served]:
    return {served.kind.name: served for served in served_kinds().values()}


@lru_cache(maxsize=4096)
def route(path: str) -> Route | None:
    """None: nothing is served there."""
    parts = path.strip("/").split("/")
    prefix = 2 if parts[0] == "api" else 3
    group = "" if parts[0] == "api" else parts[1] if len(parts) > 1 else ""
    rest = parts[prefix:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    served = served_kinds().get(rest[0]) if rest else None
    if served is None or len(rest) > 3:
        return None
    kind = served.kind
    if kind.group != group or parts[prefix - 1] != kind.version:
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    if subresource not in ("", "status") or (subresource and not served.own):
        return None
    if namespace and not kind.namespaced:
        return None
    return Route(served, namespace, name, subresource)
