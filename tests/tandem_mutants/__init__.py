"""Breaks the safety rules one at a time, on purpose, and holds that the simulator notices.

``python -m tandem_mutants`` runs it; docs/mutants.md says what comes of it.
"""
