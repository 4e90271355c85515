"""The node actuator: the privileged agent on each host that acts through DRBD and libvirt."""
