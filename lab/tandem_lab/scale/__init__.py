"""Thousands of guests: what the programs cost then. `make bench-scale`."""
