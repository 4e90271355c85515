"""User-mode Linux on any processor: what its programs' registers are put back with (lab/kernel).

A process is traced as that kernel does it. Only 576 bytes are put back (up to SSE): less than the
state of every processor of the last decade, as that kernel's 2696 are less than that of the newest.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tandem_lab.lab import Lab

pytestmark = pytest.mark.lab

# Prints the error number of putting back, and how bytes 160 to 176 (the register XMM0) look then.
TRACER = """
import ctypes, os, signal, struct

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
TRACEME, KILL, GETREGSET, SETREGSET, NT_X86_XSTATE = 0, 8, 0x4204, 0x4205, 0x202

child = os.fork()
if child == 0:
    libc.ptrace(TRACEME, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(child, 0)

state = ctypes.create_string_buffer(65536)

def ask(request, length):
    area = (ctypes.c_size_t * 2)(ctypes.addressof(state), length)
    failed = libc.ptrace(request, child, NT_X86_XSTATE, ctypes.addressof(area))
    return ctypes.get_errno() if failed else 0

assert ask(GETREGSET, len(state)) == 0
state[160:176] = bytes(range(16))
state[512] = bytes([state[512][0] | 3])
error = ask(SETREGSET, 576)
assert ask(GETREGSET, len(state)) == 0
print(error, state[160:176].hex())
os.kill(child, signal.SIGKILL)
"""


def put_back(**environment: str) -> tuple[int, str]:
    told = subprocess.run(
        [sys.executable, "-c", TRACER],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    error, register = told.split()
    return int(error), register


def test_less_than_the_processor_has_is_filled_up(locked_lab: Lab) -> None:
    library = str(locked_lab.settings.kernel_preload)
    assert put_back(LD_PRELOAD=library) == (0, bytes(range(16)).hex())
