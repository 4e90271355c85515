"""The simulator does what the kernels were seen to do: every recorded sequence, without a lab."""

from functools import partial
from pathlib import Path

import pytest

from conformance import recorded
from conformance.chance import draw, shrink
from conformance.language import Seen, closest, difference, parse_step
from conformance.simulated import ends_a_kernel, simulate
from sim.drbd.version import NINE

FILES = recorded.files()
OF_NINE = recorded.files(major=9)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_as_recorded(path: Path) -> None:
    words = closest(recorded.load(path), simulate)
    assert words is None, f"{recorded.title_of(path)}\n{words}"


@pytest.mark.parametrize("path", OF_NINE, ids=lambda path: path.stem)
def test_as_recorded_of_nine(path: Path) -> None:
    words = closest(recorded.load(path), partial(simulate, version=NINE))
    assert words is None, f"{recorded.title_of(path)}\n{words}"


def test_there_are_recordings() -> None:
    assert len(FILES) >= 200


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    played = simulate(["a primary", "cut; a write", "a handler 4", "heal", "b primary"], 1)
    path = tmp_path / "one.yaml"
    recorded.save(path, "a title", played)
    assert recorded.title_of(path) == "a title"
    assert difference(recorded.load(path), played) is None


def test_a_difference_is_told() -> None:
    one = simulate(["a primary", "a write"], 1)
    two = simulate(["a primary --force", "a write"], 1)
    assert difference(one, two) is None
    worse = Seen(one.seen[0].a, "off", one.seen[0].writes, one.seen[0].results)
    other = type(one)(one.steps, (worse, *one.seen[1:]), one.survive)
    assert "after step 1" in str(difference(one, other))


@pytest.mark.parametrize(
    "text", ["", "a", "c write", "a dance", "cut a>c", "a handler 9", "a write x"]
)
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a command"):
        parse_step(text)


def test_a_seed_is_one_sequence_of_valid_commands() -> None:
    for seed in range(300):
        steps = draw(seed)
        assert steps == draw(seed)
        assert all(parse_step(step) for step in steps)


def test_shrinking_leaves_what_is_needed() -> None:
    steps = ["a primary", "a write", "cut; a write; b write", "heal", "a secondary"]

    def differs(fewer: list[str]) -> bool:
        words = "; ".join(fewer).split("; ")
        return "cut" in words and "b write" in words

    assert shrink(steps, lambda fewer: differs(list(fewer))) == ("cut; b write",)


def test_a_panic_is_foreseen() -> None:
    """Frozen, then without its disk, then its peer reboots: seen once, and then avoided."""
    frozen = ["a primary", "cut; a write", "a fail-disk", "b crash"]
    assert not ends_a_kernel(frozen)
    assert ends_a_kernel([*frozen, "b boot; b attach; b connect; heal"])
