"""libvirtd with its clients' connections, QEMU's processes and taps, and the guests in them."""
