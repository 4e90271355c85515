"""Finding QEMU processes and their taps, in a made-up /proc."""

import asyncio
import resource
import signal
from pathlib import Path

import pytest

from tandem_actuator.adapters.libvirt.network import TapNetwork
from tandem_actuator.adapters.libvirt.qemu_processes import UNIDENTIFIED, QemuProcesses
from tandem_actuator.adapters.linux.processes import LinuxProcesses
from tandem_actuator.adapters.linux.taps import LinuxTaps, take_down
from tandem_actuator.ports import PortError

STATUS = """<domstatus state='running' pid='300'><domain type='qemu'><devices>
<interface type='bridge'><target dev='vnet7'/></interface><disk><target dev='vda'/></disk>
</devices></domain></domstatus>"""


class Machine:
    """Writes a /proc and libvirt's run directory."""

    def __init__(self, root: Path) -> None:
        self.processes = LinuxProcesses(root / "proc", root / "run")
        self.qemus = QemuProcesses(self.processes)
        self.network = TapNetwork(self.processes, LinuxTaps())
        self.processes.proc.mkdir()
        self.processes.run_dir.mkdir()
        self.process(1, ["/sbin/init"])
        self.process(2, [], comm="kthreadd")
        (self.processes.proc / "meminfo").touch()

    def process(
        self,
        pid: int,
        arguments: list[str],
        *,
        comm: str = "init",
        state: str = "S",
        threads: int = 1,
    ) -> Path:
        directory = self.processes.proc / str(pid)
        directory.mkdir()
        (directory / "cmdline").write_bytes(b"".join(a.encode() + b"\0" for a in arguments))
        fields = " ".join(["0"] * 16)
        (directory / "stat").write_text(f"{pid} ({comm}) {state} {fields} {threads} 0 0\n")
        (directory / "task" / str(pid) / "fdinfo").mkdir(parents=True)
        return directory

    def qemu(self, pid: int, name: str) -> Path:
        arguments = ["/usr/bin/qemu-system-x86_64", "-name", f"guest={name},debug-threads=on"]
        return self.process(
            pid, [*arguments, "-uuid", "u", "-S"], comm="qemu-system-x86", threads=4
        )

    def stuck(self, pid: int) -> Path:
        """Killed, but for a thread that waits for a frozen disk."""
        directory = self.process(pid, [], comm=f"qemu:x) {pid} (y", state="Z", threads=2)
        (directory / "task" / str(pid + 1) / "fdinfo").mkdir(parents=True)
        return directory


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def tap(process: Path, task: int, name: str) -> None:
    content = f"pos:\t0\nflags:\t0104002\nmnt_id:\t26\niff:\t{name}\n"
    (process / "task" / str(task) / "fdinfo" / "9").write_text(content)
    (process / "task" / str(task) / "fdinfo" / "1").write_text("pos:\t0\nflags:\t0100000\n")


async def test_a_qemu_is_known_by_its_arguments(machine: Machine) -> None:
    machine.qemu(300, "ns.g1")
    machine.qemu(301, "ns.g2")
    assert await machine.qemus.by_domain() == {"ns.g1": [300], "ns.g2": [301]}
    assert await machine.qemus.of("ns.g1") == [300]
    assert await machine.qemus.of("ns.g") == []


async def test_other_programs_that_take_a_name_are_not_qemu(machine: Machine) -> None:
    machine.process(300, ["grep", "-name", "guest=ns.g1"])
    machine.process(301, ["qemu", "-uuid", "u", "-name"])
    assert await machine.qemus.by_domain() == {}


async def test_a_stuck_qemu_is_known_by_libvirts_pid_file(machine: Machine) -> None:
    machine.stuck(300)
    (machine.processes.run_dir / "ns.g1.pid").write_text("300\n")
    (machine.processes.run_dir / "ns.g2.pid").write_text("301\n")
    assert await machine.qemus.by_domain() == {"ns.g1": [300]}


async def test_a_stuck_qemu_of_nobody_is_reported_as_such(machine: Machine) -> None:
    machine.stuck(300)
    assert await machine.qemus.by_domain() == {UNIDENTIFIED: [300]}


async def test_a_plain_zombie_has_closed_its_disk(machine: Machine) -> None:
    machine.process(300, [], comm="qemu-system-x86", state="Z", threads=1)
    assert await machine.qemus.by_domain() == {}


async def test_no_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PortError):
        await QemuProcesses(LinuxProcesses(tmp_path / "nothing", tmp_path)).by_domain()


async def test_a_name_that_is_cut_inside_a_character_is_anybodys_and_harms_nobody(
    machine: Machine,
) -> None:
    """The kernel cuts a process's name after 15 bytes; any local user can choose it."""
    stuck = machine.stuck(300)
    stat = (stuck / "stat").read_bytes()
    (stuck / "stat").write_bytes(stat.replace(b"qemu:x", b"qemu:x\xc3"))
    other = machine.process(301, [], comm="x", state="Z")
    (other / "stat").write_bytes((other / "stat").read_bytes().replace(b"(x)", b"(x\xc3)"))
    assert await machine.qemus.by_domain() == {UNIDENTIFIED: [300]}


async def test_a_process_that_cannot_be_read_is_not_gone(machine: Machine) -> None:
    """As when the actuator has no file descriptors left."""
    process = machine.qemu(300, "ns.g1")
    (process / "cmdline").unlink()
    (process / "cmdline").mkdir()
    with pytest.raises(PortError, match="cannot read process 300"):
        await machine.qemus.by_domain()
    with pytest.raises(PortError, match="cannot read process 300"):
        await machine.qemus.domain_of(300)


async def test_a_handle_is_of_one_process_and_tells_its_end() -> None:
    program = await asyncio.create_subprocess_exec("sleep", "60")
    handle = await LinuxProcesses().open(program.pid)
    assert handle is not None
    ended = asyncio.create_task(handle.ended())
    await asyncio.sleep(0.05)
    assert not ended.done()
    handle.send(signal.SIGKILL)
    await asyncio.wait_for(ended, 5.0)
    await program.wait()
    handle.send(signal.SIGKILL)  # gone: no error
    handle.close()
    assert await LinuxProcesses().open(program.pid) is None


async def test_a_thread_that_ended_since_it_was_listed_is_listed(machine: Machine) -> None:
    """It is counted: the list must be whole."""
    stuck = machine.stuck(300)
    (stuck / "task" / "301" / "stat").write_bytes(b"301 (x) D")
    (stats,) = (await machine.processes.threads([300, 999])).values()
    assert sorted(stats) == [b"", b"301 (x) D"]


async def test_the_first_threads_of_those_that_are_there(machine: Machine) -> None:
    stuck = machine.stuck(300)
    (stuck / "task" / "300").mkdir(exist_ok=True)
    (stuck / "task" / "300" / "stat").write_bytes(b"300 (x) Z")
    assert await machine.processes.first_threads([300, 999]) == {300: b"300 (x) Z"}


async def test_threads_that_cannot_be_read_are_not_gone(machine: Machine) -> None:
    stuck = machine.stuck(300)
    (stuck / "task" / "301" / "stat").mkdir()
    with pytest.raises(PortError, match="cannot read the threads of 300"):
        await machine.processes.threads([300])


async def test_nor_is_a_first_one(machine: Machine) -> None:
    stuck = machine.stuck(300)
    (stuck / "task" / "300" / "stat").mkdir(parents=True)
    with pytest.raises(PortError, match="cannot read the first thread of 300"):
        await machine.processes.first_threads([300])


async def test_a_handle_that_cannot_be_had_is_no_end() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        with pytest.raises(PortError, match="cannot open process"):
            await LinuxProcesses().open(program.pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        program.kill()
        await program.wait()


async def test_taps_are_found_by_open_files(machine: Machine) -> None:
    process = machine.qemu(300, "ns.g1")
    tap(process, 300, "vnet3")
    (machine.processes.run_dir / "ns.g1.xml").write_text(STATUS)
    assert await machine.network.taps("ns.g1") == {"vnet3"}


async def test_taps_of_a_stuck_qemu_are_found_by_its_thread(machine: Machine) -> None:
    process = machine.stuck(300)
    tap(process, 301, "vnet3")
    (machine.processes.run_dir / "ns.g1.pid").write_text("300\n")
    assert await machine.network.taps("ns.g1") == {"vnet3"}


async def test_taps_are_found_by_libvirts_status_if_no_file_tells(machine: Machine) -> None:
    machine.qemu(300, "ns.g1")
    (machine.processes.run_dir / "ns.g1.xml").write_text(STATUS)
    assert await machine.network.taps("ns.g1") == {"vnet7"}


async def test_a_status_file_of_no_process_is_not_believed(machine: Machine) -> None:
    """Its interfaces may belong to another guest by now."""
    (machine.processes.run_dir / "ns.g1.xml").write_text(STATUS)
    assert await machine.network.taps("ns.g1") == set()


async def test_cutting_a_guest_that_is_not_there_is_no_error(machine: Machine) -> None:
    await machine.network.cut("ns.g1")


def test_an_interface_that_is_gone_is_down() -> None:
    take_down("tandem-nothing")
