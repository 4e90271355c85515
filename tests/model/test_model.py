"""The Spin models: the quick configurations of `make model`, weakened variants that must break.

The exhaustive ones take minutes and are not run here: see docs/model.md.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.model
@pytest.mark.timeout(900)
def test_the_quick_configurations_are_as_they_must_be() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "model", "--quick"],
        cwd=ROOT,
        timeout=880,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("must break errors: 1") == 7


def test_every_weakened_variant_of_the_models_is_explored() -> None:
    runner = (ROOT / "model" / "explore.py").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "model").glob("*.pml"))
    flags = set(re.findall(r"WEAK_(\w+)", sources))
    assert "NO_WATCHDOG" in flags
    forgotten = {flag for flag in flags if f'"{flag}"' not in runner}
    assert not {flag for flag in forgotten if f'"{flag.lower()}"' not in runner}
