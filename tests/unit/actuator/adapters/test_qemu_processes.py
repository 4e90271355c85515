"""Finding QEMU processes and their taps, in a made-up /proc."""

from pathlib import Path

import pytest

from tandem_actuator.adapters.network import TapNetwork, take_down
from tandem_actuator.adapters.qemu_processes import UNIDENTIFIED, QemuProcesses
from tandem_actuator.ports import PortError

STATUS = """<domstatus state='running' pid='300'><domain type='qemu'><devices>
<interface type='bridge'><target dev='vnet7'/></interface><disk><target dev='vda'/></disk>
</devices></domain></domstatus>"""


class Machine:
    """Writes a /proc and libvirt's run directory."""

    def __init__(self, root: Path) -> None:
        self.processes = QemuProcesses(root / "proc", root / "run")
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


def test_a_qemu_is_known_by_its_arguments(machine: Machine) -> None:
    machine.qemu(300, "ns.g1")
    machine.qemu(301, "ns.g2")
    assert machine.processes.by_domain() == {"ns.g1": [300], "ns.g2": [301]}
    assert machine.processes.of("ns.g1") == [300]
    assert machine.processes.of("ns.g") == []


def test_other_programs_that_take_a_name_are_not_qemu(machine: Machine) -> None:
    machine.process(300, ["grep", "-name", "guest=ns.g1"])
    machine.process(301, ["qemu", "-uuid", "u", "-name"])
    assert machine.processes.by_domain() == {}


def test_a_stuck_qemu_is_known_by_libvirts_pid_file(machine: Machine) -> None:
    machine.stuck(300)
    (machine.processes.run_dir / "ns.g1.pid").write_text("300\n")
    (machine.processes.run_dir / "ns.g2.pid").write_text("301\n")
    assert machine.processes.by_domain() == {"ns.g1": [300]}


def test_a_stuck_qemu_of_nobody_is_reported_as_such(machine: Machine) -> None:
    machine.stuck(300)
    assert machine.processes.by_domain() == {UNIDENTIFIED: [300]}


def test_a_plain_zombie_has_closed_its_disk(machine: Machine) -> None:
    machine.process(300, [], comm="qemu-system-x86", state="Z", threads=1)
    assert machine.processes.by_domain() == {}


def test_no_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PortError):
        QemuProcesses(tmp_path / "nothing", tmp_path).by_domain()


def test_taps_are_found_by_open_files(machine: Machine) -> None:
    process = machine.qemu(300, "ns.g1")
    tap(process, 300, "vnet3")
    (machine.processes.run_dir / "ns.g1.xml").write_text(STATUS)
    assert TapNetwork(machine.processes).taps("ns.g1") == {"vnet3"}


def test_taps_of_a_stuck_qemu_are_found_by_its_thread(machine: Machine) -> None:
    process = machine.stuck(300)
    tap(process, 301, "vnet3")
    (machine.processes.run_dir / "ns.g1.pid").write_text("300\n")
    assert TapNetwork(machine.processes).taps("ns.g1") == {"vnet3"}


def test_taps_are_found_by_libvirts_status_if_no_file_tells(machine: Machine) -> None:
    machine.qemu(300, "ns.g1")
    (machine.processes.run_dir / "ns.g1.xml").write_text(STATUS)
    assert TapNetwork(machine.processes).taps("ns.g1") == {"vnet7"}


def test_a_status_file_of_no_process_is_not_believed(machine: Machine) -> None:
    """Its interfaces may belong to another guest by now."""
    (machine.processes.run_dir / "ns.g1.xml").write_text(STATUS)
    assert TapNetwork(machine.processes).taps("ns.g1") == set()


async def test_cutting_a_guest_that_is_not_there_is_no_error(machine: Machine) -> None:
    await TapNetwork(machine.processes).cut("ns.g1")


def test_an_interface_that_is_gone_is_down() -> None:
    take_down("tandem-nothing")
