"""Random sequences: one seed, one sequence. And the shortest that still shows a difference.

Pure. The drawing follows which hosts are on and which were told to promote, so that most commands
mean something; it knows nothing else of DRBD. Called by ``__main__``.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from conformance.language import SIDES

STEPS = (4, 12)
CODES = ("4", "4", "4", "1", "5", "6", "7", "3", "0")


@dataclass
class _Guess:
    """What probably is."""

    off: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    cut: bool = False
    primary: str = "a"


def draw(seed: int, *, two_primaries: bool = False) -> tuple[str, ...]:
    """The steps of a sequence, without those that every sequence begins with.

    ``two_primaries``: it begins with two of them, and may allow or forbid them anew.
    It ends with a crash and a boot of either side: generations that are not the kernel's show in
    who is copied to when both meet again, and by that in which writes survive.
    """
    rng, guess = random.Random(seed), _Guess()
    steps = []
    if two_primaries:
        steps += ["a primary", f"{rng.choice(SIDES)} two-primaries yes", "b primary"]
    elif rng.random() < 0.85:
        steps.append("a primary")
    if rng.random() < 0.6:
        steps.append(f"a handler {rng.choice(CODES)}; b handler {rng.choice(CODES)}")
    fewest, most = (count + 2 * two_primaries for count in STEPS)
    while len(steps) < fewest or (len(steps) < most and rng.random() < 0.88):
        steps.append(_allow(rng) if two_primaries and rng.random() < 0.1 else _step(rng, guess))
    one, two = rng.sample(SIDES, 2)
    return (
        *steps,
        "heal; a handler 1; b handler 1",
        f"{one} crash",
        *(f"{side} boot; {side} attach; {side} connect" for side in (one, two)),
        f"{two} crash",
        f"{two} boot; {two} attach; {two} connect",
    )


def _step(rng: random.Random, guess: _Guess) -> str:
    gone = sorted(guess.off | guess.down)
    if gone and rng.random() < 0.45:
        return _bring_back(rng, guess, rng.choice(gone))
    if guess.cut and rng.random() < 0.3:
        guess.cut = False
        return "heal"
    side = rng.choice(SIDES)
    kinds: Sequence[tuple[int, Callable[[], str]]] = (
        (16, lambda: f"{guess.primary} write"),
        (3, lambda: f"{side} write"),
        (10, lambda: _cut(guess, "cut")),
        (8, lambda: _cut(guess, f"cut; {guess.primary} write")),
        (2, lambda: _cut(guess, f"cut {rng.choice(('a>b', 'b>a'))}")),
        (7, lambda: f"{side} handler {rng.choice(CODES)}"),
        (8, lambda: _promote(guess, side, "")),
        (2, lambda: _promote(guess, side, " --force")),
        (6, lambda: f"{side} secondary"),
        (5, lambda: f"{side} disconnect"),
        (7, lambda: f"{side} connect"),
        (2, lambda: f"{side} connect --discard-my-data"),
        (8, lambda: _crash(guess, side, f"{side} crash")),
        (2, lambda: _crash(guess, side, f"cut; {guess.primary} write; {side} crash")),
        (4, lambda: f"{side} fail-disk"),
        (2, lambda: f"{side} resume-io"),
        (2, lambda: f"{side} outdate"),
        (2, lambda: _down(guess, side)),
    )
    return rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]()


def _allow(rng: random.Random) -> str:
    allowed = rng.choice(("yes", "yes", "no"))
    side = rng.choice((*SIDES, ""))
    if side:
        return f"{side} two-primaries {allowed}"
    return f"a two-primaries {allowed}; b two-primaries {allowed}"


def _cut(guess: _Guess, step: str) -> str:
    guess.cut = True
    return step


def _promote(guess: _Guess, side: str, option: str) -> str:
    guess.primary = side
    return f"{side} primary{option}"


def _crash(guess: _Guess, side: str, step: str) -> str:
    guess.off.add(side)
    guess.cut = guess.cut or step.startswith("cut")
    return step


def _down(guess: _Guess, side: str) -> str:
    guess.down.add(side)
    return f"{side} down"


def _bring_back(rng: random.Random, guess: _Guess, side: str) -> str:
    boot = f"{side} boot; " if side in guess.off else ""
    guess.off.discard(side)
    guess.down.discard(side)
    connect = rng.choice(("connect", "connect", "connect", "connect --discard-my-data", ""))
    return f"{boot}{side} attach" + (f"; {side} {connect}" if connect else "")


def shrink(steps: Sequence[str], differs: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    """Leave out steps, from the end, and then parts of steps, as long as it still differs."""
    kept = list(steps)
    for index in reversed(range(len(steps))):
        fewer = kept[:index] + kept[index + 1 :]
        if differs(fewer):
            kept = fewer
    for index in reversed(range(len(kept))):
        for part in kept[index].split("; "):
            fewer_parts = "; ".join(p for p in kept[index].split("; ") if p != part)
            if fewer_parts and differs([*kept[:index], fewer_parts, *kept[index + 1 :]]):
                kept[index] = fewer_parts
    return tuple(kept)
