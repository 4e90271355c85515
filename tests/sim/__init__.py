"""A deterministic simulator of two sites around Tandem's own decision code.

``tandem-sim run FILE`` plays a scenario; ``tests/scenarios`` holds them. What is in which package,
and which may know which, is in docs/simulator.md.
"""
