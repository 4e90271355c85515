"""DRBD: its programs, its kernel's text, and its events."""
