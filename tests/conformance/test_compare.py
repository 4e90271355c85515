"""What differs is played again, alone; it counts only if it differs then, too."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conformance import recorded
from conformance.__main__ import AGREES, DIFFERS, UNSTEADY, Both, compare
from conformance.language import Played
from conformance.simulated import simulate

RIGHT, ODD_ONCE, WRONG = ("a primary",), ("b primary",), ("a primary", "a write")


class Kernels:
    """They do as the simulator does; but never so with one sequence, and not at first with one."""

    def __init__(self) -> None:
        self.played: list[Sequence[str]] = []

    def play(self, steps: Sequence[str]) -> Played:
        wrong = steps == WRONG or (steps == ODD_ONCE and steps not in self.played)
        self.played.append(steps)
        played = simulate(steps, 1)
        return replace(played, survive={"a": [7], "b": [7]}) if wrong else played


def test_what_differs_is_played_again(tmp_path: Path) -> None:
    files = []
    for name, steps in (("right", RIGHT), ("odd", ODD_ONCE), ("wrong", WRONG)):
        files.append(tmp_path / f"{name}.yaml")
        recorded.save(files[-1], name, simulate(steps, 1))
    kernels = Kernels()
    verdicts = compare(Both(kernels.play, "8.4.11"), files, jobs=1)
    assert verdicts == {"right": AGREES, "odd": UNSTEADY, "wrong": DIFFERS}
    assert kernels.played == [RIGHT, ODD_ONCE, WRONG, ODD_ONCE, WRONG]
