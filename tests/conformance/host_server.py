"""Runs in a lab host: carries out the suite's commands on real DRBD, for many resources at once.

Every slot is a resource of its own (minor, port, address, two small volumes), so that sequences
run side by side on one pair of kernels. The kernel's fence-peer helper is ``fence_helper.sh``,
which answers as the suite says. It decides nothing. Standard library alone; runs as
``python3 -S -m conformance.host_server PORT``. Its only caller is ``kernels``.

A request is a line of JSON {"do": NAME, ...}; the answer is a line of JSON.
"""

import json
import mmap
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance.drbd_tools import Resource, tools_of_this_host

RUN = Path("/run/conformance")
PARAMETERS = Path("/sys/module/drbd/parameters")
HELPER = RUN / "helper"
BLOCK_BYTES = 4096
ENDS = {0: "acknowledged"}
BLOCKS = 128
COMMAND_TIMEOUT_S = 60.0
# A promotion with a held handler blocks; so does whatever asks a peer that is gone.
COMMAND_LIMIT_S = 10.0
SIZE_BYTES = 4 * 1024 * 1024


def run(*words: str, timeout_s: float = COMMAND_TIMEOUT_S) -> tuple[int, str]:
    """A program's exit code (-1 if it did not end in time) and what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return -1, "did not end in time"
    return done.returncode, (done.stdout + done.stderr).strip()


def block(number: int) -> mmap.mmap:
    """A block of memory, aligned as O_DIRECT wants it, that says its number."""
    memory = mmap.mmap(-1, BLOCK_BYTES)
    memory.write(b"number %d\n" % number)
    return memory


class Slot:
    """One resource on this host."""

    def __init__(self, number: int, mine: str, theirs: str) -> None:
        self.number, self.boots = number, 0
        self.port = 7900 + number
        self.mine, self.theirs = (f"ipv4:{ip}:{self.port}" for ip in (mine, theirs))
        self.volumes = [f"/dev/vg0/c{number}-{n}" for n in (0, 1)]
        self.active = 0
        self.two_primaries = "no"
        self.commands: dict[str, int | None] = {}
        self.writes: dict[str, str] = {}
        self.opened: list[int] = []
        self.told: set[str] = set()
        self.processes: list[subprocess.Popen[bytes]] = []
        self._gone: threading.Thread | None = None
        for volume in self.volumes:
            if not Path(volume).exists():
                run(
                    "lvcreate",
                    "-q",
                    "-y",
                    "-Wn",
                    "-Zn",
                    "-n",
                    Path(volume).name,
                    "-L",
                    f"{SIZE_BYTES}b",
                    "vg0",
                )
        run("ip", "address", "add", f"{mine}/24", "dev", "repl")

    @property
    def name(self) -> str:
        """Another one after each boot, so that what is left of the last one is not counted."""
        return f"c{self.number}-{self.boots}"

    @property
    def folder(self) -> Path:
        """Where the helper and the suite meet."""
        return RUN / self.name

    @property
    def device(self) -> str:
        return f"/dev/drbd{self.number}"

    @property
    def resource(self) -> Resource:
        node = int(self.mine.rsplit(".", 1)[1].partition(":")[0]) % 2
        volume = self.volumes[self.active]
        ends = (self.mine, self.theirs, self.two_primaries)
        return Resource(self.name, self.number, node, volume, *ends)

    @property
    def line(self) -> str:
        """As /proc/drbd shows it; empty if it is not configured."""
        return tools.line(self.resource, lambda name: run(tools.setup, "events2", "--now", name)[1])

    def setup(self, verb: str, *options: str, timeout_s: float = COMMAND_TIMEOUT_S) -> int:
        """One of the suite's commands. The exit code of its last step."""
        code = 0
        for words in tools.argv(self.resource, verb, options):
            code, said = run(tools.setup, *words, timeout_s=timeout_s)
            if code:
                print(f"{self.name}: {' '.join(words)}: {code} {said}", flush=True)
        return code

    # -- the suite's commands

    def command(self, key: str, verb: str, argument: str) -> None:
        self.commands[key] = None
        if verb == "two-primaries":
            self.two_primaries = argument  # first the file, then the kernel

        def work() -> None:
            if verb == "attach":
                self._drbdmeta("apply-al")
            self.commands[key] = self.setup(verb, *([argument] if argument else []))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        # Commands of one step are done in their order, unless one of them blocks.
        deadline_s = time.monotonic() + COMMAND_LIMIT_S
        while thread.is_alive() and not self._held() and time.monotonic() < deadline_s:
            thread.join(0.03)

    def write(self, number: int) -> None:
        writes = self.writes
        writes[str(number)] = "pending"

        def work() -> None:
            try:
                with block(number) as memory:
                    file = os.open(self.device, os.O_WRONLY | os.O_DIRECT)
                    try:
                        os.pwrite(file, memory, number * BLOCK_BYTES)
                    finally:
                        os.close(file)
                writes[str(number)] = "acknowledged"
            except OSError:
                writes[str(number)] = "failed"

        threading.Thread(target=work, daemon=True).start()

    def write_by_process(self, number: int) -> None:
        """As ``write``, by a program of its own, which can be killed."""
        writes = self.writes
        writes[str(number)] = "pending"
        where = (f"of={self.device}", f"seek={number}", f"bs={BLOCK_BYTES}")
        options = ("oflag=direct", "iflag=fullblock", "conv=notrunc", "count=1", "status=none")
        process = subprocess.Popen(["dd", *where, *options], stdin=subprocess.PIPE, bufsize=0)
        self.processes.append(process)

        def work() -> None:
            with block(number) as memory:
                process.communicate(memory[:])
            killed = process.returncode < 0
            writes[str(number)] = "killed" if killed else ENDS.get(process.returncode, "failed")

        threading.Thread(target=work, daemon=True).start()

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def open(self) -> None:
        try:
            self.opened.append(os.open(self.device, os.O_RDWR))
        except OSError as error:
            print(f"{self.name}: open: {error}", flush=True)

    def close(self) -> None:
        while self.opened:
            os.close(self.opened.pop())

    def fail_disk(self) -> None:
        """Every request to the device below is an error from now on, and the next one is now."""
        faults.set(self.number, True)
        run(tools.setup, "detach", str(self.number), "--force")

    def policy(self, code: str) -> None:
        (self.folder / "policy").write_text(f"{code}\n")

    def answer(self, code: str) -> bool:
        """To the call that waits for longest. Opening the pipe waits for the helper to read."""
        held = sorted(self._held(), key=lambda path: path.stat().st_mtime_ns)
        if not held:
            return False
        self.told.add(held[0].name)
        held[0].write_text(f"{code}\n")
        return True

    def _held(self) -> list[Path]:
        return [path for path in self.folder.glob("held.*") if path.name not in self.told]

    # -- looking

    def look(self) -> dict[str, Any]:
        asked = self.folder / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        return {
            "line": self.line,
            "asked": sum(line.startswith("asked") for line in lines),
            "answered": sum(line.startswith("answered") for line in lines),
            "held": len(self._held()),
            "commands": self.commands,
            "writes": self.writes,
        }

    def suspended(self) -> str:
        """Why its I/O is suspended, as events2 says."""
        for line in run(tools.setup, "events2", "--now", self.name)[1].splitlines():
            for word in line.split():
                if word.startswith("suspended:"):
                    return word.partition(":")[2]
        return "no"

    def data(self) -> list[int]:
        """The numbers on the volume below."""
        content = self._read(self.volumes[self.active], BLOCKS * BLOCK_BYTES)
        starts = (content[n * BLOCK_BYTES :][:32] for n in range(BLOCKS))
        return [n for n, start in enumerate(starts) if start.startswith(b"number %d\n" % n)]

    # -- power

    def crash(self) -> None:
        """What a power cut leaves: the volume as it is at this moment. The rest is thrown away."""
        now = self.volumes[self.active]
        content = self._read(now, SIZE_BYTES)
        other = self.volumes[1 - self.active]
        file = os.open(other, os.O_WRONLY | os.O_DIRECT)
        with mmap.mmap(-1, len(content)) as memory:
            memory.write(content)
            os.pwrite(file, memory, 0)
        os.close(file)
        look, policy = self.look(), (self.folder / "policy").read_text()
        self.active = 1 - self.active
        self._gone = threading.Thread(target=self._throw_away, args=(look["asked"], policy))
        self.writes = {n: "lost" if s == "pending" else s for n, s in look["writes"].items()}
        self._gone.start()

    def _throw_away(self, asked: int, policy: str) -> None:
        """What was asked meanwhile was never asked."""
        self.remove()
        faults.set(self.number, False)
        self._new_folder()
        (self.folder / "asked").write_text("asked\nanswered\n" * asked)
        self.policy(policy.strip())

    def booted(self, asked: int, policy: str, two_primaries: str) -> None:
        """The host was really off: go on with the volume that is there."""
        self.two_primaries = two_primaries
        self._new_folder()
        (self.folder / "asked").write_text("asked\nanswered\n" * asked)
        self.policy(policy)

    def boot(self) -> None:
        """Wait until everything of the last time is gone."""
        if self._gone is not None:
            self._gone.join()
            self._gone = None

    @staticmethod
    def _read(volume: str, size_bytes: int) -> bytes:
        file = os.open(volume, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, size_bytes) as memory:
                os.preadv(file, [memory], 0)
                return memory[:]
        finally:
            os.close(file)

    def remove(self) -> None:
        """Make the kernel forget the resource, whatever state it is in."""
        self.policy("gone")
        deadline_s = time.monotonic() + 30.0
        while self.line or self.setup("down", timeout_s=5.0) == 0:
            while self.answer("1"):
                pass
            self.close()
            self.setup("disconnect", "--force", timeout_s=5.0)
            self.setup("resume-io", timeout_s=5.0)
            self.setup("secondary", timeout_s=5.0)
            if self.setup("down", timeout_s=5.0) == 0:
                break
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{self.name} does not go away: {self.line}")
            time.sleep(0.05)

    def _new_folder(self) -> None:
        self.boots += 1
        while self.folder.exists():
            self.boots += 1
        self.folder.mkdir(parents=True)

    def reset(self) -> None:
        """A new replica, as create-md leaves it, on empty volumes."""
        self.boot()
        faults.set(self.number, False)
        if self.folder.exists():
            self.remove()
        self._new_folder()
        self.policy("1")
        self.commands, self.writes, self.active, self.told = {}, {}, 0, set()
        self.two_primaries = "no"
        volume = self.volumes[0]
        with mmap.mmap(-1, BLOCKS * BLOCK_BYTES) as zeros:
            file = os.open(volume, os.O_WRONLY | os.O_DIRECT)
            os.pwrite(file, zeros, 0)
            os.close(file)
        code, said = self._drbdmeta(*tools.create)
        if code:
            raise RuntimeError(f"{volume}: create-md: {code} {said}")

    def _drbdmeta(self, *command: str) -> tuple[int, str]:
        """On the device below: what drbdadm does before it attaches, or to make a new replica."""
        where = (str(self.number), tools.metadata, self.volumes[self.active], "internal")
        return run("drbdmeta", "--force", *where, *command)


class Faults:
    """DRBD's fault injection, by minor number. A mask of 0 would mean every device."""

    def __init__(self) -> None:
        self._mask, self._lock = 0, threading.Lock()

    def set(self, minor: int, broken: bool) -> None:
        with self._lock:
            bit = 1 << minor
            self._mask = self._mask | bit if broken else self._mask & ~bit
            if self._mask:
                (PARAMETERS / "fault_devs").write_text(str(self._mask))
            (PARAMETERS / "enable_faults").write_text("1023" if self._mask else "0")
            (PARAMETERS / "fault_rate").write_text("100" if self._mask else "0")


tools = tools_of_this_host()
faults = Faults()
slots: dict[int, Slot] = {}


def serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as lines:
        for line in lines:
            request = json.loads(line)
            try:
                answer = {"ok": answer_to(request)}
            except Exception as error:
                answer = {"error": repr(error)}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def answer_to(request: dict[str, Any]) -> Any:
    """Any method of a slot by its name, with the arguments given."""
    number = request["slot"]
    if request["do"] == "slot":
        if number not in slots:
            slots[number] = Slot(number, *request["arguments"])
        return True
    method: Callable[..., Any] = getattr(slots[number], request["do"])
    return method(*request["arguments"])


def main() -> None:
    RUN.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("fence_helper.sh"), HELPER)
    HELPER.chmod(HELPER.stat().st_mode | stat.S_IXUSR)
    (PARAMETERS / "usermode_helper").write_text(f"{HELPER}")
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64)
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
