"""Everything outside a procedure, scripted: it answers effects, and notes which there were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdView, Generation, Metadata
from tandem_actuator.core.model import Record
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import Heartbeat
from unit.builders import record


@dataclass
class Outside:
    """Answers effects. ``script`` overrides the answers to an effect's type, first come first."""

    at: Mirror
    drbd: DrbdView
    beat: Heartbeat | None = None
    metadata: Mapping[str, Metadata] = field(default_factory=lambda: {"root": Metadata.PRESENT})
    generations: Mapping[str, Generation] = field(default_factory=dict)
    script: dict[type, list[fx.Outcome]] = field(default_factory=dict)
    done: list[fx.Effect] = field(default_factory=list)
    reads: int = 0
    changes: dict[type, DrbdView] = field(default_factory=dict)
    record: Record = field(default_factory=record)

    def perform(self, effect: fx.Effect) -> fx.Outcome:  # noqa: PLR0911
        self.done.append(effect)
        self.drbd = self.changes.get(type(effect), self.drbd)
        scripted = self.script.get(type(effect))
        if scripted:
            return scripted.pop(0)
        match effect:
            case fx.ReadMirror():
                self.reads += 1
                return fx.MirrorRead(self.at, f"r{self.reads}", self.record)
            case fx.ReadHeartbeat():
                return fx.HeartbeatRead(self.beat)
            case fx.QueryDrbd():
                lost_at_s = None if getattr(self.drbd, "connected", False) else 900.0
                return fx.DrbdRead(self.drbd, 1000.0, lost_at_s)
            case fx.Swap(expected, new):
                held_by = self.at.status.authority
                assert held_by is not None
                if held_by.epoch != expected:
                    return fx.SwapLost()
                self.swap(new)
                return fx.Swapped(self.at)
            case fx.InspectMetadata():
                return fx.MetadataRead(self.metadata)
            case fx.ReadGenerations():
                return fx.GenerationsRead(self.generations)
            case _:
                return fx.Done()

    def after(self, kind: type, drbd: DrbdView) -> None:
        """What DRBD shows from the first effect of this kind on."""
        self.changes[kind] = drbd

    def swap(self, new: Authority) -> None:
        status = self.at.status.model_copy(update={"authority": new})
        self.at = self.at.model_copy(update={"status": status})

    @property
    def names(self) -> list[str]:
        return [type(effect).__name__ for effect in self.done]

    def effects(self, kind: type) -> Sequence[fx.Effect]:
        return [effect for effect in self.done if isinstance(effect, kind)]


def play(procedure: fx.Procedure, outside: Outside, steps: int = 200) -> fx.Finished:
    """To its end; a procedure that does not end within so many steps is a bug."""
    try:
        effect = next(procedure)
        for _ in range(steps):
            effect = procedure.send(outside.perform(effect))
    except StopIteration as end:
        finished = end.value
        assert isinstance(finished, fx.Finished)
        return finished
    raise AssertionError(f"no end: {outside.names}")
