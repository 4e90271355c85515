"""For how long the fence-peer program asks, and what it makes of what happens meanwhile. On a clock
that stands still but for its own waits.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sim.network.fence_channel import proc_drbd
from tandem_actuator import fence_peer
from tandem_actuator.fence_peer import (
    GIVE_UP_S,
    LINE_LIMIT_BYTES,
    PATIENCE_S,
    RETRY_S,
    STAY_FROZEN,
)

ASKED = {"DRBD_RESOURCE": "ns.m1", "DRBD_MINOR": "20"}
ENOUGH_S = 3600.0
MANY = 100_000
GRANTED = b'{"exit_code": 4, "message": "go on"}\n'


class Ended(Exception):
    """The test has seen enough."""


@dataclass
class Script:
    """``devices``: what /proc/drbd shows at this moment. ``dials``: each connect takes the next
    (the last stays): pieces of an answer, None for a piece that does not come in time; empty: the
    connection is refused.
    """

    devices_at: Callable[[float], str]
    dials: list[list[bytes | None]] = field(default_factory=lambda: [[]])
    clock_s: float = 100.0
    asked: list[bytes] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    tries: int = 0

    def now_s(self) -> float:
        return self.clock_s

    async def sleep(self, seconds: float) -> None:
        self.clock_s += seconds
        if self.clock_s > ENOUGH_S:
            raise Ended

    async def connect(self, timeout_s: float) -> "Dialled":
        self.tries += 1
        if self.tries > MANY:
            raise Ended
        pieces = self.dials.pop(0) if len(self.dials) > 1 else self.dials[0]
        if not pieces:
            raise ConnectionRefusedError("nobody listens")
        self.opened += 1
        return Dialled(self, list(pieces))

    def devices(self) -> str:
        return self.devices_at(self.clock_s)

    def role(self, resource: str) -> str:
        raise FileNotFoundError("drbdsetup")


@dataclass
class Dialled:
    """A connection of the script."""

    script: Script
    pieces: list[bytes | None]

    async def send(self, content: bytes, timeout_s: float) -> None:
        self.script.asked.append(content)

    async def receive(self, timeout_s: float) -> bytes:
        piece = self.pieces.pop(0) if len(self.pieces) > 1 else self.pieces[0]
        if piece is None:
            await self.script.sleep(timeout_s)
            raise TimeoutError
        return piece

    def close(self) -> None:
        self.script.closed += 1


def always(role: str) -> Callable[[float], str]:
    return lambda now_s: proc_drbd([(20, role)])


def unreadable(now_s: float) -> str:
    raise PermissionError("/proc/drbd")


def outcome(script: Script) -> tuple[int, str]:
    return fence_peer.run(fence_peer.answer(script, ASKED))


def waits_for_ever(script: Script) -> bool:
    """``Ended`` is what the outside raises: to the program it is one more thing that went wrong."""
    code, message = outcome(script)
    return code == STAY_FROZEN and "Ended" in message


@pytest.mark.parametrize("devices", [always("Primary"), always("Unknown"), unreadable])
def test_for_a_primary_it_asks_for_as_long_as_it_takes(devices: Callable[[float], str]) -> None:
    """Nothing else asks again, and any answer but 4 leaves the guest frozen."""
    assert waits_for_ever(Script(devices))
    silent = Script(devices, [[None]])
    assert waits_for_ever(silent)
    assert silent.opened == silent.closed == 1


def test_for_a_promotion_it_gives_up() -> None:
    """DRBD holds up every other change of the resource meanwhile."""
    script = Script(always("Secondary"))
    code, message = outcome(script)
    assert code == STAY_FROZEN
    assert "no longer needed" in message
    assert GIVE_UP_S <= script.clock_s - 100.0 <= GIVE_UP_S + RETRY_S
    assert script.tries <= GIVE_UP_S / RETRY_S + 2


def test_for_a_promotion_it_gives_up_an_actuator_that_says_nothing() -> None:
    script = Script(always("Secondary"), [[None]])
    assert outcome(script) == (STAY_FROZEN, "the actuator did not answer in time")
    assert GIVE_UP_S <= script.clock_s - 100.0 <= GIVE_UP_S + PATIENCE_S
    assert script.opened == script.closed == 1


def test_it_looks_again_and_again_what_it_waits_for() -> None:
    """A guest that has lost its link may have been made Secondary since."""
    script = Script(lambda now_s: proc_drbd([(20, "Primary" if now_s < 200 else "Secondary")]))
    assert outcome(script)[0] == STAY_FROZEN
    assert 200 <= script.clock_s <= 200 + RETRY_S


def test_it_asks_the_next_run_the_same() -> None:
    script = Script(always("Primary"), [[], [None, b""], [b'{"exit_co', b""], [GRANTED]])
    assert outcome(script) == (4, "go on")
    assert [json.loads(line) for line in script.asked] == [ASKED] * 3
    assert (script.tries, script.opened, script.closed) == (4, 3, 3)


def test_an_answer_in_pieces_is_one_answer() -> None:
    pieces: list[bytes | None] = [GRANTED[:5], None, GRANTED[5:-1], GRANTED[-1:]]
    assert outcome(Script(always("Primary"), [pieces])) == (4, "go on")


def test_an_answer_without_an_end_is_none() -> None:
    """It may have been cut off where it still looked whole."""
    assert waits_for_ever(Script(always("Primary"), [[GRANTED[:-1], b""]]))


def test_an_answer_that_does_not_end_is_a_bad_one() -> None:
    code, message = outcome(Script(always("Primary"), [[b"x" * (LINE_LIMIT_BYTES // 4)]]))
    assert code == STAY_FROZEN
    assert "too long" in message


def test_a_bad_answer_is_not_asked_for_again() -> None:
    script = Script(always("Primary"), [[b'{"exit_code": 5}\n'], [GRANTED]])
    code, message = outcome(script)
    assert code == STAY_FROZEN
    assert "exit code 5" in message
    assert script.tries == 1
