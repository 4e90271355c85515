"""Bugs that a scenario plants in a program: what of it raises, and about which object.

No code of the product is changed. An object that the program has is replaced by one that is the
same in every way, but raises as soon as code of certain modules looks at it; or a port on the
simulated parts raises what no port may. A bug is in the program, so it outlives every restart of
it, until it is fixed. Called by ``verbs`` (``bug``, ``fix``), and by the programs' parts:
``controller``, ``actuator`` and ``ports``.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar, cast

from tandem_api.meta import ObjectKey, Resource
from tandem_controller.decide.world.model import Snapshot

T = TypeVar("T")
CONTROLLER = "controller"
STEP, LOOK, CALL, GUARD, MATCH = "step", "look", "call", "guard", "match"
DECIDE, CORE = "tandem_controller.decide.", "tandem_actuator.core."
PLACES: Mapping[str, frozenset[str]] = {
    "check": frozenset(
        "tandem_api.check." + name for name in ("catalogue", "validation", "guests")
    ),
    "decision": frozenset(
        {
            DECIDE + "guests.situations",
            DECIDE + "guests.unowned",
            DECIDE + "guests.takeover",
            DECIDE + "guests.moves",
        }
    ),
    "order": frozenset({DECIDE + "mirrors.override"}),
    "set-up": frozenset({DECIDE + "mirrors.setup"}),
    "status": frozenset(DECIDE + "status." + name for name in ("guest", "mirror", "site")),
    "write": frozenset({"tandem_controller.run.execute"}),
    "rule": frozenset({CORE + "mirror.rules", CORE + "mirror.copying", CORE + "guest.rules"}),
    "report": frozenset({CORE + "report"}),
    "answer": frozenset({CORE + "mirror.handler"}),
    GUARD: frozenset({CORE + "host.permission"}),
    MATCH: frozenset({"tandem_actuator.run.workload"}),
    STEP: frozenset(),
    LOOK: frozenset(),
    CALL: frozenset(),
}
"""Where it is → the modules that raise. The last three are where a port is called."""
KINDS = {MATCH: "Guest"}
"""Of some places: it is met with an object of this kind alone."""


NAMED_BY = ("key", "metadata")
"""By these an object is told from others, also by the walls: they raise nowhere."""


class Planted(Exception):
    """What a planted bug raises: nothing of the product knows it."""


@dataclass(frozen=True)
class Bug:
    place: str
    kind: str
    key: ObjectKey


@dataclass
class Bugs:
    """All that are planted now, by program."""

    planted: dict[str, list[Bug]] = field(default_factory=dict)

    def plant(self, program: str, bug: Bug) -> None:
        self.planted.setdefault(program, []).append(bug)

    def fix(self, program: str) -> None:
        self.planted.pop(program, None)

    def at(self, program: str, place: str, key: ObjectKey) -> bool:
        return any(bug.place == place and bug.key == key for bug in self.planted.get(program, ()))

    def ends(self, program: str) -> bool:
        """Whether it may end by itself: what must never fail in silence does not go on."""
        return any(bug.place in (GUARD, MATCH) for bug in self.planted.get(program, ()))

    def spoilt(self, program: str, obj: T, key: ObjectKey | None = None, kind: str = "") -> T:
        """The object as this program has it. ``key``, ``kind``: of the object that it is about."""
        bugs = self.planted.get(program)
        if not bugs:
            return obj
        if isinstance(obj, Resource):
            key, kind = obj.key, type(obj).__name__
        modules = [PLACES[b.place] for b in bugs if b.key == key and b.kind in ("", kind)]
        raising = frozenset[str]().union(*modules)
        return poisoned(obj, raising) if raising else obj

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """As the controller's plan has it."""
        if not self.planted.get(CONTROLLER):
            return snapshot
        return replace(
            snapshot,
            sites=tuple(self.spoilt(CONTROLLER, each) for each in snapshot.sites),
            hosts=tuple(self.spoilt(CONTROLLER, each) for each in snapshot.hosts),
            mirrors=tuple(self.spoilt(CONTROLLER, each) for each in snapshot.mirrors),
            guests=tuple(self.spoilt(CONTROLLER, each) for each in snapshot.guests),
        )


def poisoned(obj: T, modules: frozenset[str]) -> T:
    """The same, but raising when code of these modules looks at it."""
    base: Any = getattr(type(obj), "poisoned_from", type(obj))
    copy = object.__new__(base)
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__"):
        if hasattr(obj, name):
            object.__setattr__(copy, name, object.__getattribute__(obj, name))
    if isinstance(obj, Resource):
        object.__setattr__(copy, "__pydantic_private__", None)
    object.__setattr__(copy, "__class__", _poisonous(base, modules))
    return cast(T, copy)


@cache
def _poisonous(base: Any, modules: frozenset[str]) -> Any:
    assert all(find_spec(module) for module in modules), f"no such module: {sorted(modules)}"

    def look(self: object, name: str) -> Any:
        seen = name not in NAMED_BY and sys._getframe(1).f_globals.get("__name__") in modules
        if seen:
            raise Planted(f"{name} of a {base.__name__}")
        return base.__getattribute__(self, name)

    body = {"__getattribute__": look, "__module__": base.__module__, "poisoned_from": base}
    if issubclass(base, Resource):
        body["__annotations__"] = {"poisoned_from": "ClassVar[Any]"}
    return type(base)(base.__name__, (base,), body)
