"""Hundreds of guests on one host: what the actuator costs, and whether it keeps its deadlines.

``python -m tandem_scale host`` (`make bench-scale`) measures; docs/benchmarks.md has the numbers.
"""
