"""What a play of another DRBD's installation prints, and what it types."""

import pytest

from tandem_actuator.core.drbd import Metadata
from tandem_actuator.core.mirror.bringing_up import conversion
from tandem_lab.drbd_upgrade import Row, commands_in, table
from tandem_lab.settings import LabError
from unit.builders import A, authority, mirror


def test_what_a_person_is_told_is_typed() -> None:
    commands = conversion(mirror(authority("")), A, "root", Metadata.V08)
    message = f"volume root … runs. To convert it, run on {A}: {commands}. Or boot {A} with 8.4"
    assert commands_in(message) == commands
    assert " && " in commands


def test_a_message_without_a_command_is_an_error() -> None:
    with pytest.raises(LabError, match="no command is named"):
        commands_in("the backing device is empty")


def test_the_table_names_what_was_not_as_it_must_be() -> None:
    rows = [
        Row("8.4.11, 9.2.19", "moves", "from a to b"),
        Row("9.2.19, 9.2.19", "is lost", "failed", "7 was lost"),
    ]
    lines = table(rows, "2026-12-01")
    assert "| 8.4.11, 9.2.19 | moves | from a to b |" in lines
    assert lines[-1] == "* 9.2.19, 9.2.19: is lost: 7 was lost"
    assert "Not as it must be:" not in table(rows[:1], "2026-12-01")
