"""The same commands and faults played on simulated DRBD and on two real kernels, and compared."""
