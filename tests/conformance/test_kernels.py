"""Two real kernels do what the simulator does: every third named sequence, a few random ones.

Those of the DRBD that the lab runs, and the simulator's of the same version.

On a busy machine something may be looked at too early: only what differs twice counts.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from conformance import recorded
from conformance.chance import draw
from conformance.kernels import Slots, start_servers
from conformance.language import closest
from conformance.simulated import ends_a_kernel, simulate
from sim.drbd.version import VERSIONS, Version
from tandem_lab.lab import Lab
from tandem_lab.settings import Settings
from tandem_lab.setup.steps import set_up

LOCK_TIMEOUT_S = 900.0
SLOTS = 12
SEEDS = range(1, 5)

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def slots() -> Iterator[tuple[Slots, Version]]:
    """A lab with the suite's server in every host; down again afterwards."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    settings = Settings.from_environment()
    set_up(settings, print)
    lab = Lab(settings)
    with lab.exclusive(LOCK_TIMEOUT_S):
        lab.up(fresh=True)
        try:
            start_servers(lab)
            major = int(lab.hosts[0].drbd_version().split(".")[0])
            yield Slots(lab, SLOTS), VERSIONS[major]
        finally:
            lab.down()


def test_kernels_and_simulator_agree(slots: tuple[Slots, Version]) -> None:
    on_kernels, version = slots
    simulated = partial(simulate, version=version)
    sequences = {path.stem: recorded.steps_of(path) for path in recorded.files("named")[::3]}
    sequences |= {f"seed {n}": draw(n) for n in SEEDS if not ends_a_kernel(draw(n), version)}

    def differs(steps: tuple[str, ...]) -> str | None:
        found = closest(on_kernels.play(steps), simulated)
        return found and closest(on_kernels.play(steps), simulated)

    with ThreadPoolExecutor(SLOTS) as pool:
        found = dict(zip(sequences, pool.map(differs, sequences.values()), strict=True))
    assert {name: words for name, words in found.items() if words} == {}
