"""A process that SIGKILL does not end, on this machine: one of its threads waits for a write.

``python frozen_file.py MOUNT ARGUMENTS`` is to be started in a mount namespace of its own. It
mounts a file system (FUSE) at MOUNT whose one file takes a write and does not answer: a thread that
waits for that cannot be killed, like one that waits for a frozen DRBD. A process with these
arguments has a thread that waits so, one that always executes, and one that sleeps. Its pid is
printed once it waits. Its write is answered as soon as something comes in on standard input, also
its end. Called by ``test_dead_processes``.
"""

import ctypes
import os
import select
import struct
import subprocess
import sys

HEADER = struct.Struct("<IIQQIIIHH")
LOOKUP, FORGET, GETATTR, OPEN, WRITE, RELEASE, FLUSH, INIT, INTERRUPT, FORGETS = (
    *(1, 2, 3, 14, 16, 18, 25, 26, 36, 42),
)
ROOT, FILE = 1, 2
ENOSYS = 38
BUFFER_BYTES = 1 << 17
MS_NOSUID_NODEV = 0x6

PROGRAM = """
import os, pathlib, sys, threading, time
pathlib.Path("/proc/self/comm").write_text("qemu-system-x86")
def executes():
    while True:
        pass
def writes():
    os.write(os.open(sys.argv[1], os.O_WRONLY), b"x")
for work in (executes, writes):
    threading.Thread(target=work, daemon=True).start()
time.sleep(600)
"""


class Frozen:
    """The file system, in the kernel's protocol (fuse(4), linux/fuse.h). ``held``: who waits."""

    def __init__(self, mount: str) -> None:
        self.device = os.open("/dev/fuse", os.O_RDWR)
        self.held: list[tuple[int, int]] = []
        options = f"fd={self.device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = (b"frozen", mount.encode(), b"fuse", MS_NOSUID_NODEV, options.encode())
        if libc.mount(*arguments):
            raise OSError(ctypes.get_errno(), f"mount: {os.strerror(ctypes.get_errno())}")

    def serve(self) -> None:
        """One request."""
        request = os.read(self.device, BUFFER_BYTES)
        _, call, unique, node, *_ = HEADER.unpack_from(request)
        body = request[HEADER.size :]
        if call == INIT:
            _, _, ahead, _ = struct.unpack_from("<IIII", body)
            begun = struct.pack("<IIIIHHI", 7, 31, ahead, 0, 1, 1, 4096)
            self._answer(unique, begun.ljust(64, b"\0"))
        elif call == LOOKUP:
            entry = struct.pack("<QQQQII", FILE, 1, 3600, 3600, 0, 0)
            self._answer(unique, entry + _attributes(FILE))
        elif call == GETATTR:
            self._answer(unique, struct.pack("<QII", 3600, 0, 0) + _attributes(node))
        elif call == OPEN:
            self._answer(unique, struct.pack("<QII", 1, 1, 0))  # each write comes here at once
        elif call == WRITE:
            self.held.append((unique, struct.unpack_from("<QQI", body)[2]))
        elif call in (FLUSH, RELEASE):
            self._answer(unique)
        elif call not in (FORGET, FORGETS, INTERRUPT):
            self._answer(unique, error=ENOSYS)

    def let_go(self) -> None:
        for unique, size in self.held:
            self._answer(unique, struct.pack("<II", size, 0))
        self.held = []

    def _answer(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        os.write(self.device, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)


def _attributes(node: int) -> bytes:
    mode = 0o40755 if node == ROOT else 0o100600
    numbers = (mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)
    return struct.pack("<QQQQQQIII", node, 1, 0, 0, 0, 0, 0, 0, 0) + struct.pack("<7I", *numbers)


def main() -> int:
    mount, arguments = sys.argv[1:]  # in one, so that this is not taken for that process
    frozen, told, looked_at = Frozen(mount), False, [sys.stdin]
    command = [sys.executable, "-c", PROGRAM, f"{mount}/file", *arguments.split()]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        ready, _, _ = select.select([frozen.device, *looked_at], [], [], 0.05)
        if sys.stdin in ready:
            looked_at.clear()
            frozen.let_go()
        elif frozen.device in ready:
            frozen.serve()
        if frozen.held and not told:
            told = True
            print(process.pid, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
