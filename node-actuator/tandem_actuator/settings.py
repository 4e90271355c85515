"""The actuator's configuration. Everything has a default but the host's name, which is the
machine's if not given. See ``tandem-actuator --help``.
"""

import platform
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from tandem_base.settings import BaseSettings

DEFAULT_CONFIG = Path("/etc/tandem/actuator.yaml")


class Settings(BaseSettings):
    """How to reach the API, and where things are on this machine."""

    host: Annotated[str, Field(description="Name of this machine's Host object.")] = ""
    kubeconfig: Annotated[Path | None, Field(description="How to reach the API server.")] = None
    state_dir: Annotated[
        Path, Field(description="Durable records; must survive reboots, not on a mirror.")
    ] = Path("/var/lib/tandem")
    run_dir: Annotated[Path, Field(description="Sockets and what may be lost at a reboot.")] = Path(
        "/run/tandem"
    )
    drbd_dir: Annotated[Path, Field(description="Where resource files are written.")] = Path(
        "/etc/drbd.d"
    )
    serial_dir: Annotated[Path, Field(description="Where guests' serial consoles are logged.")] = (
        Path("/var/log/tandem/guests")
    )
    fence_peer: Annotated[Path, Field(description="The program DRBD calls.")] = Path(
        "/usr/local/bin/tandem-fence-peer"
    )
    unproven_drbd: Annotated[
        bool, Field(description="Run on a DRBD that was never tried, too: for tests.")
    ] = False
    libvirt_uri: Annotated[str, Field(description="Where libvirt is.")] = "qemu:///system"
    watchdog_device: Annotated[
        Path | None, Field(description="Watchdog to arm, such as /dev/watchdog0; none if absent.")
    ] = None
    migration_port: Annotated[
        int,
        Field(
            ge=0,
            le=65535,
            description="Port at which guests are taken in that the other host sends as they run;"
            " 0: none are sent or taken in.",
        ),
    ] = 0
    migration_trusted_network: Annotated[
        bool,
        Field(
            description="Send guests' memory without TLS: everybody who reaches the migration"
            " address is trusted with all of it."
        ),
    ] = False
    migration_tls: Annotated[
        Path | None,
        Field(
            validate_default=True,
            description="Folder with ca.crt, host.crt and host.key, by which the hosts know each"
            " other as they send guests.",
        ),
    ] = None
    metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port for /metrics on metrics_address; 0: none.")
    ] = 0
    metrics_address: Annotated[str, Field(description="Where to listen for it.")] = "127.0.0.1"

    @field_validator("migration_tls")
    @classmethod
    def _in_the_clear_only_if_said(cls, folder: Path | None, known: ValidationInfo) -> Path | None:
        wanted, trusted = (
            known.data.get(name) for name in ("migration_port", "migration_trusted_network")
        )
        if folder is None and wanted and not trusted:
            raise ValueError(
                "is missing, and migration_port is set; name the folder with ca.crt, host.crt and"
                " host.key, or set migration_trusted_network to true"
            )
        return folder

    @property
    def host_name(self) -> str:
        return self.host or platform.node().split(".")[0]
