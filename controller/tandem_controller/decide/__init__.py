"""What the controller decides: pure functions from values to values.

Nothing here reads a clock, does I/O, logs or raises events. ``plan`` is the entry point.
"""
