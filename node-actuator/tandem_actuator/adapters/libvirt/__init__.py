"""libvirt, and what is asked of QEMU beside it. Which call may hang, and what that means."""
