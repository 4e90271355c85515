"""What the fence-peer program tells DRBD by its exit code."""

from tandem_actuator.core.mirror.handler import EXIT_STAY_FROZEN

GOES_ON = {3, 4, 5, 7}
"""For these DRBD goes on alone; for 5, too, if its own disk is UpToDate."""


def test_a_refusal_is_none_of_those_for_which_drbd_goes_on() -> None:
    assert EXIT_STAY_FROZEN not in GOES_ON
    assert 0 < EXIT_STAY_FROZEN < 128
