"""User-mode Linux on any processor: what its programs' registers are put back with (lab/kernel).

A process is traced as that kernel does it. Only 576 bytes are put back (up to SSE): less than the
state of every processor of the last decade, as that kernel's 2696 are less than that of the newest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tandem_lab.lab import Lab

pytestmark = pytest.mark.lab

# Prints the error number of putting back, then the registers XMM0 and the upper half of YMM0.
TRACER = """
import ctypes, os, signal

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
TRACEME, GETREGSET, SETREGSET, NT_X86_XSTATE = 0, 0x4204, 0x4205, 0x202
XMM0, FEATURES, YMM0_UPPER = slice(160, 176), 512, slice(576, 592)

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

def fill(byte):
    state[XMM0] = state[YMM0_UPPER] = bytes([byte] * 16)
    state[FEATURES] = bytes([state[FEATURES][0] | 7])

ask(GETREGSET, len(state))
fill(0x11)
assert ask(SETREGSET, 832) == 0
fill(0x22)
error = ask(SETREGSET, 576)
ask(GETREGSET, len(state))
print(error, state[XMM0].hex(), state[YMM0_UPPER].hex())
os.kill(child, signal.SIGKILL)
"""


def test_less_than_the_processor_has_is_filled_up_with_zeros(locked_lab: Lab) -> None:
    told = subprocess.run(
        [sys.executable, "-c", TRACER],
        env={**os.environ, "LD_PRELOAD": str(locked_lab.settings.kernel_preload)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert told.split() == ["0", "22" * 16, "00" * 16]


def test_every_host_is_started_with_it(lab: Lab) -> None:
    for host in lab.hosts:
        maps = Path(f"/proc/{host.state().pid}/maps").read_text()
        assert str(lab.settings.kernel_preload) in maps
