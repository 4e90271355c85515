"""Worlds that a test has begun end with it; those of a whole file at the very end."""

from sim.ending import last_worlds_end, worlds_end

__all__ = ["last_worlds_end", "worlds_end"]
