"""The controller's configuration: a YAML file, environment variables ``TANDEM_*``, flags.

Later in this list wins. Everything has a default. See ``tandem-controller --help``.
"""

import os
import platform
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from tandem_api.writers import CONTROLLER_USER

DEFAULT_CONFIG = Path("/etc/tandem/controller.yaml")


class Settings(BaseSettings):
    """How to reach the API, and where to be asked for metrics."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", extra="forbid", frozen=True)

    kubeconfig: Annotated[
        Path | None, Field(description="How to reach the API server; in a pod its own account.")
    ] = None
    identity: Annotated[
        str, Field(description="This replica's name in the election; unique. Host and process.")
    ] = ""
    metrics_address: Annotated[str, Field(description="Where to listen for HTTP.")] = "0.0.0.0"
    metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port of /metrics, /healthz, /readyz; 0: any.")
    ] = 8080
    admission_address: Annotated[
        str, Field(description="Where `admission` listens for the API server.")
    ] = "0.0.0.0"
    admission_port: Annotated[int, Field(ge=1, le=65535, description="Its port.")] = 9443
    admission_certificate: Annotated[
        Path | None, Field(description="Its certificate (PEM), read again when it changes.")
    ] = None
    admission_key: Annotated[Path | None, Field(description="The certificate's key (PEM).")] = None
    controller_user: Annotated[
        str, Field(description="Whom `admission` takes for the controller.")
    ] = CONTROLLER_USER
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    def replica(self) -> str:
        """The name in the election, another one at every call unless it is configured."""
        return self.identity or f"{platform.node()}-{os.getpid()}-{os.urandom(3).hex()}"


def load(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Settings from the file (given, or the default one if it exists), environment and flags.

    Raises:
        FileNotFoundError: a file that was asked for is not there.
        pydantic.ValidationError: a value is wrong or unknown; it names the field.
    """
    chosen = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    if chosen is not None and not chosen.is_file():
        raise FileNotFoundError(f"no such file: {chosen}")

    class Configured(Settings):
        """Reads that file too."""

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = YamlConfigSettingsSource(settings_cls, yaml_file=chosen)
            return init_settings, env_settings, file

    return Configured(**{key: value for key, value in flags.items() if value is not None})
