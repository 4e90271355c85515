"""The controller's configuration. Everything has a default. See ``tandem-controller --help``."""

import os
import platform
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tandem_base.settings import BaseSettings

DEFAULT_CONFIG = Path("/etc/tandem/controller.yaml")


class Settings(BaseSettings):
    """How to reach the API, and where to be asked for metrics."""

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
    fence_agents_dir: Annotated[
        Path, Field(description="Where the fence agents are that Hosts name.")
    ] = Path("/usr/sbin")
    admission_address: Annotated[
        str, Field(description="Where `admission` listens for the API server.")
    ] = "0.0.0.0"
    admission_port: Annotated[int, Field(ge=1, le=65535, description="Its port.")] = 9443
    admission_certificate: Annotated[
        Path | None, Field(description="Its certificate (PEM), read again when it changes.")
    ] = None
    admission_key: Annotated[Path | None, Field(description="The certificate's key (PEM).")] = None

    def replica(self) -> str:
        """The name in the election, another one at every call unless it is configured."""
        return self.identity or f"{platform.node()}-{os.getpid()}-{os.urandom(3).hex()}"
