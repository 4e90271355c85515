"""Scenarios of which it is known that they fail: found, and not mended yet. Called by tests."""

KNOWN_TO_FAIL: dict[str, str] = {
    "taker-cannot-write-its-record": "a host that cannot keep a record keeps the guest assigned",
    "owners-disk-dies-as-the-standby-reboots": "Starting for ever, and MarkedStale names nothing",
}
"""Scenario → why it fails."""
