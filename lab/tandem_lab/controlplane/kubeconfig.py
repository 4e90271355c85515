"""Write kubeconfig files (mode 0600) with everything embedded, so that one file can be handed on.

Called by `ControlPlane`; the files are read by kubectl, the controller and the actuators.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import yaml

from tandem_lab.controlplane.pki import KeyPair, write_private

_CONTEXT = "tandem-lab"


def certificate_user(pair: KeyPair) -> dict[str, Any]:
    """Credentials by client certificate, as a kubeconfig's `user`."""
    return {
        "client-certificate-data": _encode(pair.certificate),
        "client-key-data": _encode(pair.key),
    }


def token_user(token: str) -> dict[str, Any]:
    """Credentials by bearer token, as a kubeconfig's `user`."""
    return {"token": token}


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca_certificate: bytes,
    user: dict[str, Any],
    namespace: str = "default",
) -> Path:
    """Write a kubeconfig with one context and return its path."""
    cluster = {"server": server, "certificate-authority-data": _encode(ca_certificate)}
    context = {"cluster": _CONTEXT, "user": _CONTEXT, "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _CONTEXT, "cluster": cluster}],
        "users": [{"name": _CONTEXT, "user": user}],
        "contexts": [{"name": _CONTEXT, "context": context}],
        "current-context": _CONTEXT,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, yaml.safe_dump(document, sort_keys=False))
    return path


def file_name(identity: str) -> str:
    """A file name for an identity such as `tandem:host:burjassot-1`."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", identity) + ".kubeconfig"


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
