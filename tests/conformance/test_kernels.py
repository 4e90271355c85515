"""Two real kernels do what the simulator does: every other named sequence, a few random ones.

On a busy machine something may be looked at too early: only what differs twice counts.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance import recorded
from conformance.chance import draw
from conformance.kernels import Slots, start_servers
from conformance.language import closest
from conformance.simulated import ends_a_kernel, simulate
from tandem_lab.drbd_modules import given_modules
from tandem_lab.lab import Lab
from tandem_lab.settings import Settings
from tandem_lab.setup.steps import set_up

LOCK_TIMEOUT_S = 900.0
SLOTS = 12
SEEDS = range(1, 5)

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def slots() -> Iterator[Slots]:
    """A lab with the suite's server in every host; down again afterwards."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    settings = Settings.from_environment()
    set_up(settings, print)
    modules = given_modules(settings)
    if modules is not None and modules.major != 8:
        pytest.skip(f"the suite speaks to DRBD 8.4 alone, and {modules.version} is given")
    lab = Lab(settings)
    with lab.exclusive(LOCK_TIMEOUT_S):
        lab.up(fresh=True)
        try:
            start_servers(lab)
            yield Slots(lab, SLOTS)
        finally:
            lab.down()


def test_kernels_and_simulator_agree(slots: Slots) -> None:
    sequences = {path.stem: recorded.steps_of(path) for path in recorded.files("named")[::2]}
    sequences |= {f"seed {n}": draw(n) for n in SEEDS if not ends_a_kernel(draw(n))}

    def differs(steps: tuple[str, ...]) -> str | None:
        found = closest(slots.play(steps), simulate)
        return found and closest(slots.play(steps), simulate)

    with ThreadPoolExecutor(SLOTS) as pool:
        found = dict(zip(sequences, pool.map(differs, sequences.values()), strict=True))
    assert {name: words for name, words in found.items() if words} == {}
