"""What is done to a replica: steps as generators of effects, DRBD's questions, files, record."""
