"""Which DRBD the actuator starts on."""

import pytest

from tandem_actuator.adapters.drbd.tools import Tools, require_proven
from tandem_actuator.ports import PortError


@pytest.mark.parametrize("version", ["8.4.11", "8.4.12-1", "9.2.19", "9.3.3"])
def test_it_starts_on_what_was_tried(version: str) -> None:
    require_proven(Tools(version, "9.22.0"))


@pytest.mark.parametrize("version", ["8.3.16", "9.0.32", "9.1.23", "9.20.1", "9.4.0", "10.0.0"])
def test_another_is_refused_with_what_to_do(version: str) -> None:
    known = f"DRBD {version}, .* on 8.4, 9.2 and 9.3. Install one of those.*unproven_drbd: true"
    with pytest.raises(PortError, match=known):
        require_proven(Tools(version, "9.22.0"))
