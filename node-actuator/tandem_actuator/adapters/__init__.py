"""The outside world behind the ports: DRBD, libvirt, the network, the watchdog, files, the API."""
