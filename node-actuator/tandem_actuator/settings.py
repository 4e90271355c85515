"""The actuator's configuration: a YAML file, environment variables ``TANDEM_*``, flags.

Later in this list wins. Everything has a default but the host's name, which is the machine's if
not given. See ``tandem-actuator --help``.
"""

import platform
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

DEFAULT_CONFIG = Path("/etc/tandem/actuator.yaml")


class Settings(BaseSettings):
    """How to reach the API, and where things are on this machine."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", extra="forbid", cli_kebab_case=True)

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
    libvirt_uri: str = "qemu:///system"
    watchdog_device: Annotated[
        Path | None, Field(description="Watchdog to arm, such as /dev/watchdog0; none if absent.")
    ] = None
    metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port for /metrics on metrics_address; 0: none.")
    ] = 0
    metrics_address: str = "127.0.0.1"
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @property
    def host_name(self) -> str:
        return self.host or platform.node().split(".")[0]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (given as init) before the environment before the file."""
        return init_settings, env_settings, _File(settings_cls)


class _File(PydanticBaseSettingsSource):
    """The YAML file named by ``Settings.config_file``, if it is there."""

    path: Path | None = None

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if _File.path is None:
            return {}
        content = yaml.safe_load(_File.path.read_text()) or {}
        return {key.replace("-", "_"): value for key, value in content.items()}


def load(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Settings from the file (given, or the default one if it exists), environment and flags.

    Raises:
        FileNotFoundError: a file that was asked for is not there.
        pydantic.ValidationError: a value is wrong or unknown; it names the field.
    """
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    _File.path = config
    return Settings(**{key: value for key, value in flags.items() if value is not None})
