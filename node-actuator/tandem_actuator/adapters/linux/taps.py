"""Network interfaces of the kernel behind ``libvirt_ports.Taps``. Put in by ``assembly``."""

import errno
import fcntl
import socket
import struct

from tandem_actuator.adapters.linux.threads import in_thread

# linux/sockios.h and linux/if.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ = struct.Struct("16sH22x")


class LinuxTaps:
    """Sets interfaces down."""

    async def take_down(self, interface: str) -> None:
        await in_thread(lambda: take_down(interface), "network")


def take_down(interface: str) -> None:
    """Set an interface down; no error if it is gone.

    Raises:
        OSError: the kernel refused, or it is still up.
    """
    request = IFREQ.pack(interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            _, flags = IFREQ.unpack(fcntl.ioctl(channel, SIOCGIFFLAGS, request))
            down = IFREQ.pack(interface.encode(), flags & ~IFF_UP)
            fcntl.ioctl(channel, SIOCSIFFLAGS, down)
            _, flags = IFREQ.unpack(fcntl.ioctl(channel, SIOCGIFFLAGS, request))
        except OSError as error:
            if error.errno == errno.ENODEV:  # it went with its QEMU
                return
            raise
    if flags & IFF_UP:
        raise OSError(f"{interface} is up again")
