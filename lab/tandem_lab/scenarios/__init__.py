"""Scenarios and random faults on real kernels: `tandem-lab run` and `tandem-lab fuzz`."""
