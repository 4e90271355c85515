"""The format of scenarios (docs/scenarios.md): read, checked, judged, written. It plays nothing.

The simulator (tests/sim) and the lab (tandem_lab) play what this package reads.
"""
