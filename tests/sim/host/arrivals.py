"""Which guests a machine lets in that another one sends. Called by ``migration``."""

from dataclasses import dataclass, field

from sim.engine.kernel import Group


@dataclass(eq=False)
class Arrivals:
    """What a machine lets in: by domain, for which migration, as long as the program lives."""

    expected: dict[str, tuple[str, Group]] = field(default_factory=dict)

    def lets_in(self, name: str, migration: str) -> bool:
        known, group = self.expected.get(name, ("", None))
        return known == migration and group is not None and group.alive
