"""The kernel's watchdog device: each method is one system call, and nothing is decided here.

The ioctls are those of Documentation/watchdog/watchdog-api.rst. Used by ``watchdog_keeper``.
"""

import fcntl
import os
import struct
from pathlib import Path

from tandem_actuator.ports.watchdog import WatchdogInfo

# linux/watchdog.h: _IOC(direction, 'W', number, size)
WDIOC_GETSUPPORT = 0x80285700
WDIOC_KEEPALIVE = 0x80045705
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707
WATCHDOG_INFO = struct.Struct("II32s")  # options, firmware_version, identity
INT = struct.Struct("i")
MAGIC_CLOSE = b"V"
SYSFS = Path("/sys/class/watchdog")


class Device:
    """The WatchdogDevice port on a device such as ``/dev/watchdog0``."""

    def __init__(self, path: Path, sysfs: Path = SYSFS) -> None:
        self._path, self._sysfs, self._descriptor = path, sysfs, -1

    def open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)

    def info(self) -> WatchdogInfo:
        answer = fcntl.ioctl(self._descriptor, WDIOC_GETSUPPORT, bytes(WATCHDOG_INFO.size))
        options, _, identity = WATCHDOG_INFO.unpack(answer)
        return WatchdogInfo(options, identity.rstrip(b"\0").decode(errors="replace"))

    def set_timeout(self, timeout_s: int) -> None:
        fcntl.ioctl(self._descriptor, WDIOC_SETTIMEOUT, INT.pack(timeout_s))

    def get_timeout(self) -> int:
        answer = fcntl.ioctl(self._descriptor, WDIOC_GETTIMEOUT, INT.pack(0))
        return int(INT.unpack(answer)[0])

    def keepalive(self) -> None:
        fcntl.ioctl(self._descriptor, WDIOC_KEEPALIVE, INT.pack(0))

    def no_way_out(self) -> bool:
        """As sysfs has it, where this kernel shows it; ``/dev/watchdog`` is the first one's."""
        name = self._path.resolve().name
        shown = self._sysfs / (f"{name}0" if name == "watchdog" else name) / "nowayout"
        try:
            return shown.read_text().strip() != "0"
        except OSError:
            return True

    def close(self, *, disarm: bool) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if disarm:
                os.write(descriptor, MAGIC_CLOSE)
        finally:
            os.close(descriptor)
