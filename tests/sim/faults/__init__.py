"""Scenarios made up from a seed: single faults and bursts. Values only, without any world."""
