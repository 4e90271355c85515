"""Plays a scenario: carries out its commands, and holds what happens against what it expects."""
