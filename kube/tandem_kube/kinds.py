"""The kinds of objects that Tandem reads and writes, and the paths under which the API has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tandem_api import meta, registry
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.registry import KindInfo, R

T = TypeVar("T")
Raw = dict[str, Any]
"""An object as the API gives it."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind. ``parse`` reads a raw object into ``T`` (pydantic.ValidationError if it cannot)."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool
    parse: Callable[[Mapping[str, Any]], T]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of an object, or of all objects in a namespace or (empty) everywhere.

        Raises:
            ValueError: a part is missing, or holds what would name something else.
        """
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace and self.namespaced:
            parts += ["namespaces", _segment(namespace)]
        elif name and self.namespaced:
            raise ValueError(f"{self.name} {name} needs a namespace")
        parts.append(self.plural)
        parts += [_segment(part) for part in (name, subresource) if part]
        return "/".join(parts)


def _segment(text: str) -> str:
    if not all(c.isalnum() or c in ".-" for c in text) or text in (".", ".."):
        raise ValueError(f"{text!r} is no name of an object")
    return text


def _own(info: KindInfo[R]) -> Kind[R]:
    parse = info.type.parse
    return Kind(meta.GROUP, meta.VERSION, info.plural, info.kind, info.namespaced, parse)


OWN: Mapping[str, Kind[Any]] = {info.kind: _own(info) for info in registry.KINDS}
"""Every kind of Tandem's own, by its name."""
TANDEMS: Kind[Tandem] = _own(registry.TANDEM)
SITES: Kind[Site] = _own(registry.SITE)
HOSTS: Kind[Host] = _own(registry.HOST)
MIRRORS: Kind[Mirror] = _own(registry.MIRROR)
GUESTS: Kind[Guest] = _own(registry.GUEST)
GUEST_MOVES: Kind[GuestMove] = _own(registry.GUEST_MOVE)
LEASES: Kind[Raw] = Kind("coordination.k8s.io", "v1", "leases", "Lease", True, dict)
SECRETS: Kind[Raw] = Kind("", "v1", "secrets", "Secret", True, dict)
EVENTS: Kind[Raw] = Kind("", "v1", "events", "Event", True, dict)
