"""The kinds: the one list of them. A new kind is an entry here.

What a kind is called, how it shows in a list, what the API server checks of it, which program
watches it, and whose its status is. Whoever needs to know which kinds there are asks here: the
writer of the definitions and of the policies, the client, both programs' watches and stores, the
webhook, the simulator, and the tests that hold the rights in ``manifests/`` against it.

Holds values only. What is special about a kind is code of its own, and that looks at its type.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from tandem_api.crd import columns, rules
from tandem_api.crd.columns import Column
from tandem_api.crd.rules import Rule
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.meta import Resource

R = TypeVar("R", bound=Resource)

CATEGORY = "tandem"


class Component(StrEnum):
    """Who asks the API server."""

    CONTROLLER = "controller"
    ACTUATOR = "actuator"
    WEBHOOK = "webhook"


WATCHERS = frozenset({Component.CONTROLLER, Component.ACTUATOR})


@dataclass(frozen=True)
class KindInfo(Generic[R]):
    """One kind.

    ``list_keys`` and ``rules``: see ``rules``. ``watched_by``: the programs that know all objects
    of it, and so may read them. ``reviewed``: the webhook judges its specs. ``finalized``: the
    controller puts a finalizer on it. ``pruned``: it deletes old ones. ``needed_by``: the kind of
    what keeps one from being deleted, which the webhook looks for.

    Of its status a host writes ``hosts_entries``, a field with an entry for each host, and
    ``hosts_own``, fields of the object that is the host itself. ``shared`` fields go by rules of
    their own. The controller writes all others.
    """

    type: type[R]
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]
    list_keys: Mapping[str, str]
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    watched_by: AbstractSet[Component] = WATCHERS
    reviewed: bool = True
    finalized: bool = False
    pruned: bool = False
    needed_by: str = ""
    hosts_entries: str = ""
    hosts_own: AbstractSet[str] = frozenset()
    shared: AbstractSet[str] = frozenset()

    @property
    def kind(self) -> str:
        return self.type.__name__

    @property
    def scope(self) -> str:
        return "Namespaced" if self.namespaced else "Cluster"


SITE = KindInfo(
    type=Site,
    plural="sites",
    short="tsite",
    namespaced=False,
    columns=columns.SITE,
    list_keys={"status.conditions": "type"},
    rules=rules.SITE_RULES,
    reviewed=False,  # the API server's own rules say all that there is to say
    needed_by="Host",
)
HOST = KindInfo(
    type=Host,
    plural="hosts",
    short="thost",
    namespaced=False,
    columns=columns.HOST,
    list_keys={"status.conditions": "type"},
    rules=rules.HOST_RULES,
    needed_by="Mirror",
    hosts_own=frozenset({"instance", "bootID", "versions", "migrationPort", "drbdFiles"}),
)
MIRROR = KindInfo(
    type=Mirror,
    plural="mirrors",
    short="mir",
    namespaced=True,
    columns=columns.MIRROR,
    list_keys={"spec.volumes": "name", "spec.replicas": "host", "status.conditions": "type"},
    rules=rules.MIRROR_RULES,
    hosts_entries="replicas",
    shared=frozenset({"authority"}),
)
GUEST = KindInfo(
    type=Guest,
    plural="guests",
    short="gst",
    namespaced=True,
    columns=columns.GUEST,
    list_keys={
        "spec.domain.disks": "volume",
        "spec.domain.cdroms": "source",
        "spec.domain.networks": "mac",
        "status.conditions": "type",
    },
    rules=rules.GUEST_RULES,
    finalized=True,
    hosts_entries="hosts",
)

TANDEM = KindInfo(
    type=Tandem,
    plural="tandems",
    short="tdm",
    namespaced=False,
    columns=columns.TANDEM,
    list_keys={"status.conditions": "type"},
    rules=rules.TANDEM_RULES,
    watched_by=frozenset({Component.CONTROLLER}),
    reviewed=False,  # as with a site
)

GUEST_MOVE = KindInfo(
    type=GuestMove,
    plural="guestmoves",
    short="gmv",
    namespaced=True,
    columns=columns.GUEST_MOVE,
    list_keys={"status.conditions": "type"},
    rules=rules.GUEST_MOVE_RULES,
    watched_by=frozenset({Component.CONTROLLER}),
    reviewed=False,  # whether the guest can go there is told on the object
    pruned=True,
)

KINDS: tuple[KindInfo[Any], ...] = (TANDEM, SITE, HOST, MIRROR, GUEST, GUEST_MOVE)
BY_NAME: Mapping[str, KindInfo[Any]] = {info.kind: info for info in KINDS}


def watched_by(program: Component) -> tuple[KindInfo[Any], ...]:
    """The kinds of which a program knows every object."""
    return tuple(info for info in KINDS if program in info.watched_by)


Rights = Mapping[str, AbstractSet[str]]
"""Verbs by resource, such as ``guests/status``, as in a ClusterRole."""


def rights(program: Component) -> Rights:
    """What a program may do with objects of the kinds, whatever their names. Nothing else."""
    found: dict[str, set[str]] = {}
    for info in KINDS:
        for resource, verbs in _rights(program, info):
            found.setdefault(resource, set()).update(verbs)
    return found


def _rights(program: Component, info: KindInfo[Any]) -> Iterator[tuple[str, set[str]]]:
    if program in info.watched_by:
        yield info.plural, {"get", "list", "watch"}
    match program:
        case Component.CONTROLLER:
            yield info.plural, {"patch", "delete"} if info.pruned else {"patch"}
            yield f"{info.plural}/status", {"get", "patch"}
            if info.finalized:
                yield f"{info.plural}/finalizers", {"update"}
        case Component.ACTUATOR:
            if info.hosts_entries:
                yield f"{info.plural}/status", {"patch"}
        case Component.WEBHOOK:
            if any(other.needed_by == info.kind for other in KINDS):
                yield info.plural, {"list"}


def own_rights() -> Rights:
    """What an actuator may do with the object that is its host itself."""
    return {f"{info.plural}/status": {"patch"} for info in KINDS if info.hosts_own}
