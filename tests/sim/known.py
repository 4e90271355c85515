"""Scenarios of which it is known that they fail: found, and not mended yet. Called by tests."""

KNOWN_TO_FAIL: dict[str, str] = {
    "taker-cannot-write-its-record": "a host that cannot keep a record keeps the guest assigned",
    "standby-reboots-as-the-owner-is-lost-for-good": "MarkedStale names nothing to be set",
    "owners-disk-dies-as-the-standby-reboots": "Starting for ever, and MarkedStale names nothing",
    "standbys-disk-is-stale-and-the-owners-dead": "a guest without a disk is said to be Running",
}
"""Scenario → why it fails."""
