"""One run of the real actuator or controller, its ports, and the bugs planted in it."""
