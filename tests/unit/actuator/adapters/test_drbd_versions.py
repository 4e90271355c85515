"""Which DRBD the actuator starts on."""

import pytest

from tandem_actuator.adapters.drbd.tools import Tools, require_proven
from tandem_actuator.ports import PortError


@pytest.mark.parametrize("version", ["8.4.11", "8.4.12-1"])
def test_it_starts_on_8_4(version: str) -> None:
    require_proven(Tools(version, "9.22.0"))


@pytest.mark.parametrize("version", ["9.1.23", "9.2.19", "9.3.3", "10.0.0"])
def test_another_is_refused_with_what_to_do(version: str) -> None:
    with pytest.raises(PortError, match=f"DRBD {version}.*Remove the module.*unproven_drbd: true"):
        require_proven(Tools(version, "9.22.0"))


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("9.1.23", "never run on it"),
        ("9.2.19", "but no random faults"),
        ("9.3.3", "but no random faults"),
        ("9.20.1", "never run on it"),
    ],
)
def test_what_is_known_of_it_is_said(version: str, known: str) -> None:
    with pytest.raises(PortError, match=known):
        require_proven(Tools(version, "9.22.0"))
