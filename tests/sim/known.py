"""Scenarios of which something is known: they fail, or go otherwise on DRBD 9. Called by tests."""

KNOWN_TO_FAIL: dict[str, str] = {}
"""Scenario → why it fails."""

OTHERWISE_ON_NINE: dict[str, str] = {
    "copy-is-forgotten": "9 does not forget a copy that is interrupted as it begins",
}
"""Scenario → why what it expects does not come about on DRBD 9. All promises hold there, too."""
