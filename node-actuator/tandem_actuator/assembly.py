"""Puts the actuator together from its settings: the only place that knows every adapter."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tandem_actuator.adapters.drbd.kernel import DrbdHost
from tandem_actuator.adapters.drbd.tools import find_tools, require_proven
from tandem_actuator.adapters.fence_server import FenceServer
from tandem_actuator.adapters.files.lockfile import HostLock
from tandem_actuator.adapters.files.looks import LooksFile
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.permit import PermitFile
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.adapters.files.starts import StartsFile
from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.adapters.libvirt.connection import RealLibvirtd
from tandem_actuator.adapters.libvirt.host import LibvirtHost
from tandem_actuator.adapters.libvirt.network import TapNetwork
from tandem_actuator.adapters.libvirt.premises import LocalPremises
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.identity import new_instance
from tandem_actuator.adapters.linux.memory import lock_memory
from tandem_actuator.adapters.linux.processes import LinuxProcesses
from tandem_actuator.adapters.linux.systemd import supervisor
from tandem_actuator.adapters.linux.taps import LinuxTaps
from tandem_actuator.adapters.linux.threads import Stores
from tandem_actuator.adapters.linux.watchdog_keeper import UnixKeeper
from tandem_actuator.adapters.migration.gate import Gate
from tandem_actuator.adapters.migration.live import LiveMigrations
from tandem_actuator.adapters.migration.streams import Tls
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.ports import PortError
from tandem_actuator.ports.migration import Migrations, NoMigrations
from tandem_actuator.ports.watchdog import Watchdog
from tandem_actuator.run.loop import Actuator
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.program import Outside, program
from tandem_actuator.run.watchdog import KeptWatchdog, NoWatchdog
from tandem_actuator.settings import Settings
from tandem_base.command_line import program_version
from tandem_kube.client import KubeClient

log = logging.getLogger(__name__)

KVM = Path("/dev/kvm")
LIBVIRTDS = (Path("/run/libvirt/virtqemud-sock"), Path("/run/libvirt/libvirt-sock"))
"""Where libvirt's daemon for QEMU listens, as one of several or as the only one."""
STORES_AT_A_TIME = 16
"""Disks sync several files in hardly more time than one; a mass takeover has many."""
SOCKET = "actuator.sock"


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[tuple[Actuator, Metrics]]:
    """The actuator, its lock held, its socket open; everything closed at the end.

    Raises:
        LockHeld: another actuator runs on this host.
        PortError: something that it cannot do without is missing.
    """
    for directory in (settings.run_dir, settings.serial_dir):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with HostLock(settings.run_dir / "actuator.lock"):
        lock_memory()
        async with AsyncExitStack() as clients:
            client, heart = [await _client(settings, clients) for _ in range(2)]
            metrics = Metrics()
            api = KubeApi(client, metrics.watch_restarted, heart)
            migrations = await _migrations(settings, clients)
            actuator = program(await _outside(settings, api, migrations), metrics)
            async with FenceServer(settings.run_dir / SOCKET, actuator.answers.fence_peer):
                yield actuator, metrics


async def _client(settings: Settings, clients: AsyncExitStack) -> KubeClient:
    client = await KubeClient.load(settings.kubeconfig, component="tandem-actuator")
    clients.push_async_callback(client.close)
    return client


async def _migrations(settings: Settings, stack: AsyncExitStack) -> Migrations:
    """No guest's safety rests on it: without it a move is a stop and a start."""
    if not settings.migration_port:
        return NoMigrations()
    tls = Tls(settings.migration_tls) if settings.migration_tls is not None else None
    folder = settings.run_dir / "migration"
    libvirtd = next((path for path in LIBVIRTDS if path.exists()), LIBVIRTDS[-1])
    gate = Gate(settings.migration_port, folder, libvirtd, tls)
    try:
        await gate.open()
    except PortError as error:
        log.error("no live migration: %s", error)
        return NoMigrations()
    stack.push_async_callback(gate.close)
    return LiveMigrations(settings.libvirt_uri, gate, folder, tls)


async def _outside(settings: Settings, api: KubeApi, migrations: Migrations) -> Outside:
    clock = SystemClock()
    tools = await find_tools()
    if not settings.unproven_drbd:
        require_proven(tools)
    instance = new_instance(settings.host_name)
    log.info("%s on DRBD %s", instance, tools.version)
    ports = Ports(
        api=api,
        drbd=DrbdHost(tools, clock, settings.drbd_dir),
        libvirt=LibvirtHost(RealLibvirtd(settings.libvirt_uri), LinuxProcesses()),
        network=TapNetwork(LinuxProcesses(), LinuxTaps()),
        records=FileRecords(settings.state_dir / "mirrors"),
        clock=clock,
        premises=LocalPremises(RealLibvirtd(settings.libvirt_uri)),
        migrations=migrations,
        supervisor=supervisor(os.environ, clock),
        off_loop=Stores(STORES_AT_A_TIME).run,
    )
    return Outside(
        instance=instance,
        ports=ports,
        watchdog=_watchdog(settings),
        kept=Kept(
            permits=PermitFile(settings.run_dir, instance.boot_id),
            starts=StartsFile(settings.run_dir, instance.boot_id, program_version()),
            looks=LooksFile(settings.run_dir, instance.boot_id),
            cache=ObjectCache(settings.run_dir / "objects"),
        ),
        domains=DomainSettings(kvm=os.access(KVM, os.W_OK), serial_dir=str(settings.serial_dir)),
        drbd_major=tools.major,
        fence_peer=f"{settings.fence_peer} {settings.run_dir / SOCKET}",
    )


def _watchdog(settings: Settings) -> Watchdog:
    if settings.watchdog_device is None:
        return NoWatchdog()
    keeper = UnixKeeper(
        settings.watchdog_device,
        settings.run_dir / "watchdog.sock",
        settings.log_level,
        settings.log_format,
    )
    return KeptWatchdog(keeper)


def forget(settings: Settings, mirror: str) -> int:
    """Delete the durable record of a mirror; 0 if there was one, else 1."""
    with HostLock(settings.run_dir / "actuator.lock"):
        found = FileRecords(settings.state_dir / "mirrors").forget(mirror)
    print(f"{mirror}: {'forgotten' if found else 'there is no record of it'}")
    return 0 if found else 1
