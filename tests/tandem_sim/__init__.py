"""A deterministic simulator of two sites around Tandem's own decision code.

``python -m tandem_sim run FILE`` plays a scenario; ``tests/scenarios`` holds them.
"""
