"""What the last plan has judged, so that the next one judges anew only what may have changed. Pure.

A judgement of an object is kept with all that it asked of the world (``world.watched``). It holds
in the next plan if the object is the very same and each of these answers is: the time of day is one
of them, so what waits for a time is judged anew in each plan. What is counted in the course of a
plan is compared as it is at that point. An object behind a wall is judged anew each time.

A plan with an empty memory judges everything; with any other it comes to the same. Called by
``plan`` and ``known``, and by what they have made of each mirror.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from tandem_api.check.catalogue import Index
from tandem_api.meta import ObjectKey, Resource
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.model import World
from tandem_controller.decide.world.watched import Asked, Note, Totals

R = TypeVar("R")
P = ParamSpec("P")
Obj = TypeVar("Obj", bound=Resource)


class Cell(NamedTuple):
    """One judgement. ``said``: what the totals were where they were asked."""

    obj: Resource
    asked: frozenset[Asked]
    said: Mapping[str, object]
    result: Any


NOTHING: Mapping[str, object] = {}
Cells = Mapping[int, Cell]
"""By the object's identity: it lives as long as its cell does."""


Told = Mapping[str, Mapping[ObjectKey, Any]]
"""What a plan has come to, and later judgements of the same plan rest on."""


@dataclass(frozen=True)
class Memory:
    """After one plan."""

    world: World | None = None
    told: Told = field(default_factory=dict)
    cells: Mapping[str, Cells] = field(default_factory=dict)
    indices: Mapping[str, Index[Any, Any]] = field(default_factory=dict)


class Recall:
    """One plan's use of what the last one has left.

    ``changed`` grows as the parts of the world are known; nothing may be asked of a part before
    that. ``totals``: those of this plan, once there are any.
    """

    def __init__(self, memory: Memory, walls: Walls) -> None:
        self.memory, self._walls = memory, walls
        self.changed: set[Asked] = set()
        self.totals = Totals({}, 0)
        self.indices: dict[str, Index[Any, Any]] = {}
        self._judging = False
        self._noted: set[Asked] = set()
        self.note: Note = self._noted.add
        """What the watched world calls."""
        self.kept: dict[int, Any] = {}
        """What one judgement has worked out already; see World."""
        self._cells: dict[str, dict[int, Cell]] = {}
        self._same: dict[frozenset[Asked], frozenset[Asked]] = {}

    def differ(self, changed: Iterable[Asked]) -> None:
        """A part of the world is known now, and this of it is another than in the last plan."""
        self.changed.update(changed)

    def again(
        self,
        stage: str,
        obj: Obj,
        judge: Callable[Concatenate[Obj, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What ``judge`` says of the object: worked out, or as in the last plan.

        It asks nothing but the object, a watched world and totals, and what never changes.
        """
        cells = self._cells.get(stage)
        if cells is None:
            cells = self._cells[stage] = {}
        known = self.memory.cells.get(stage, {}).get(id(obj))
        if known is not None and self._holds(known):
            cells[id(obj)] = known
            result: R = known.result
            return result
        assert not self._judging, "what it asks would not be noted"
        self._judging = True
        self._noted.clear()
        self.kept.clear()
        self.totals.said = {}
        bugs = len(self._walls)
        result = judge(obj, *args, **kwargs)
        self._judging = False
        if len(self._walls) == bugs and self._walls.of(obj) is None:
            asked = frozenset(self._noted)
            asked = self._same.setdefault(asked, asked)
            said = dict(self.totals.said) if self.totals.said else NOTHING
            cells[id(obj)] = Cell(obj, asked, said, result)
        return result

    def _holds(self, cell: Cell) -> bool:
        if not cell.asked.isdisjoint(self.changed):
            return False
        if any(self.totals.answer(what) != was for what, was in cell.said.items()):
            return False
        return self._walls.of(cell.obj) is None

    def left(self, world: World, told: Told) -> Memory:
        """For the next plan."""
        return Memory(world, told, self._cells, self.indices)
