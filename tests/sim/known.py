"""Scenarios of which it is known that they fail: found, and not mended yet. Called by tests."""

KNOWN_TO_FAIL: dict[str, str] = {}
"""Scenario → why it fails."""
