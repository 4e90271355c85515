"""The test's end of ``port_server``: the ports of a lab host, as if they were here."""

import asyncio
import pickle
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tandem_lab.namespace import connect
from tandem_lab.settings import SOURCE_DIR, Settings
from tandem_lab.site_host import SiteHost
from tandem_lab.topology import OUT_OF_BAND

from .port_server import LENGTH

PORT = 7100
CALL_TIMEOUT_S = 90.0
START_TIMEOUT_S = 60.0
INSIDE = "/opt/tandem/src"
SERVER = f"{INSIDE}/tests/contract/port_server.py"
PID_FILE = "/run/tandem-ports.pid"
PYTHON = "/opt/tandem/venv/bin/python"

assert SOURCE_DIR.joinpath("tests/contract/port_server.py").exists()


class RemotePort:
    """One object of a host's port server. Any method is a coroutine; port errors come through."""

    def __init__(self, host: SiteHost, settings: Settings, name: str) -> None:
        self._address = (OUT_OF_BAND.address(host.spec), PORT)
        self._namespace = settings.namespace
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*arguments: object, **keywords: object) -> Any:
            request = pickle.dumps((self._name, method, arguments, keywords))
            return await asyncio.to_thread(self._call, request)

        return call

    def _call(self, request: bytes) -> Any:
        with connect(self._namespace, self._address, 5.0) as channel:
            channel.settimeout(CALL_TIMEOUT_S)
            channel.sendall(LENGTH.pack(len(request)) + request)
            with channel.makefile("rb") as reader:
                (length,) = LENGTH.unpack(reader.read(LENGTH.size))
                ok, result = pickle.loads(reader.read(length))
        if not ok:
            raise result
        return result


def start_port_server(host: SiteHost, settings: Settings) -> None:
    """Start it in the host and wait until it answers."""
    log = "/site/log/ports.log"
    stop_old = f"old=$(cat {PID_FILE} 2>/dev/null) && kill $old && tail --pid=$old -f /dev/null"
    start = f"setsid {PYTHON} {SERVER} {PORT} /etc/drbd.d >{log} 2>&1 </dev/null"
    host.shell(f"{stop_old} || true; {start} & echo $! >{PID_FILE}")
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connect(settings.namespace, (OUT_OF_BAND.address(host.spec), PORT), 1.0).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                said = host.share.joinpath("log/ports.log").read_text()
                raise RuntimeError(f"{host.name}: no port server:\n{said}") from None
            time.sleep(0.1)
