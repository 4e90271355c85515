"""How long the steps of a takeover took, for the metrics: by two machines' clocks."""

import pytest
from prometheus_client import generate_latest

from tandem_controller.edge.metrics import Metrics

LOST = "2024-05-01T10:00:00Z"


def observed(step_at: str) -> tuple[float, float]:
    """How many were, and their sum in seconds, after a guest was started at that moment."""
    metrics = Metrics("test")
    guest = {"status": {"lastTakeover": {"leaseLostAt": LOST, "reason": "LeaseLost"}}}
    metrics.takeover_steps(guest, {"lastTakeover": {"steps": {"domainStarted": step_at}}})
    value = metrics.registry.get_sample_value
    name, labels = "tandem_takeover_duration_seconds", {"step": "domainStarted"}
    assert b"tandem_takeovers_total" in generate_latest(metrics.registry)
    return value(f"{name}_count", labels) or 0.0, value(f"{name}_sum", labels) or 0.0


def test_from_the_loss_of_the_lease_on() -> None:
    assert observed("2024-05-01T10:00:04.500Z") == (1.0, 4.5)


def test_a_clock_that_is_a_little_behind_makes_it_no_time() -> None:
    assert observed("2024-05-01T09:59:59Z") == (1.0, 0.0)


@pytest.mark.parametrize("at", ["2033-05-01T10:00:04Z", "2024-05-01T09:00:00Z", "yesterday"])
def test_one_that_was_set_tells_nothing(at: str) -> None:
    assert observed(at) == (0.0, 0.0)
