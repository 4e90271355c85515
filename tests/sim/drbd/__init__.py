"""DRBD, 8.4 or 9: replicas, the pair that two of them make, disks, the handlers it starts."""
