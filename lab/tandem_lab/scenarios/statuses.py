"""What the API tells about guests and mirrors, read over and over, as a person would find it.

One connection into the lab's namespace, instead of a kubectl for every look. While the API does
not answer, what it told last is what is known. It never writes. Called by ``stage``.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from contextlib import suppress
from typing import Any

import yaml

from tandem_api.reasons import Reason
from tandem_kube import GUEST_MOVES, GUESTS, HOSTS, MIRRORS
from tandem_lab.controlplane.pki import write_private
from tandem_lab.controlplane.server import NETNS_API_PORT
from tandem_lab.deployment import Deployment
from tandem_lab.namespace import connect
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.objects import NAMESPACE
from tandem_lab.topology import MANAGEMENT

PERIOD_S = 0.3
TIMEOUT_S = 2.0

Raw = dict[str, Any]


class ApiReader:
    """GETs as the cluster's administrator, over one connection that is made anew when it breaks."""

    def __init__(self, deployment: Deployment) -> None:
        self._namespace = deployment.lab.settings.namespace
        config = yaml.safe_load(deployment.plane.admin_kubeconfig().read_text())
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        pair = deployment.directory / "scenario-reader.pem"
        fields = ("client-certificate-data", "client-key-data")
        write_private(pair, b"".join(base64.b64decode(user[name]) for name in fields))
        self._tls.load_cert_chain(pair)
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, path: str) -> Raw:
        """Raises: OSError, http.client.HTTPException, ValueError: no usable answer in time."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            body = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise ValueError(f"{path}: {answer.status}")
            found: Raw = json.loads(body)
            return found
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            raise

    def _connect(self) -> http.client.HTTPSConnection:
        address = MANAGEMENT.lab_address
        plain = connect(self._namespace, (address, NETNS_API_PORT), TIMEOUT_S)
        connection = http.client.HTTPSConnection(address, NETNS_API_PORT, timeout=TIMEOUT_S)
        connection.sock = self._tls.wrap_socket(plain, server_hostname=address)
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Statuses:
    """The newest known objects, by name, and a line in the log for what changed in them.

    `read_s` is when they were read (time.monotonic()). `takeovers` has the reason of each takeover
    that was told, by the guest's name and the moment at which it was decided.
    """

    def __init__(self, reader: ApiReader, log: Log) -> None:
        self._reader, self._log = reader, log
        self.guests: dict[str, Raw] = {}
        self.mirrors: dict[str, Raw] = {}
        self.hosts: dict[str, Raw] = {}
        self.moves: dict[str, Raw] = {}
        self.read_s = 0.0
        self.takeovers: dict[tuple[str, str], str] = {}
        self._said: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(3 * TIMEOUT_S)
        self._reader.close()

    def guest(self, name: str) -> Raw:
        """Its status, empty if it has none."""
        found: Raw = self.guests.get(name, {}).get("status") or {}
        return found

    def mirror(self, name: str) -> Raw:
        """Its status, empty if it has none."""
        found: Raw = self.mirrors.get(name, {}).get("status") or {}
        return found

    def moves_of(self, guest: str) -> list[str]:
        """The phases of its GuestMoves, the oldest first."""
        found = [move for move in self.moves.values() if move["spec"]["guest"] == guest]
        found.sort(key=lambda move: int(move["metadata"]["name"].rpartition("-")[2]))
        return [(move.get("status") or {}).get("phase", "Pending") for move in found]

    def authority(self, name: str) -> Raw:
        """Of a mirror; empty if it has none."""
        found: Raw = self.mirror(name).get("authority") or {}
        return found

    def reasons(self, name: str) -> set[Reason]:
        """Everything that is told about a guest and its mirror, and of whether the host that it is
        assigned to is empty.
        """
        guest, mirror = self.guest(name), self.mirror(name)
        host = self.hosts.get((guest.get("assignment") or {}).get("host", ""), {})
        drained = [
            condition
            for condition in (host.get("status") or {}).get("conditions", [])
            if condition.get("type") == "Drained"
        ]
        told = [guest.get("reason"), mirror.get("reason")]
        told += [replica.get("reason") for replica in (mirror.get("replicas") or {}).values()]
        conditions = [*guest.get("conditions", []), *mirror.get("conditions", []), *drained]
        told += [condition.get("reason") for condition in conditions]
        return {Reason(reason) for reason in told if reason in tuple(Reason)}

    def dump(self) -> str:
        """Everything that is known, as JSON."""
        return json.dumps({"guests": self.guests, "mirrors": self.mirrors}, indent=2)

    def _follow(self) -> None:
        while not self._stopped.is_set():
            # Down, stalled or restarting: that is what scenarios do to it.
            with suppress(OSError, http.client.HTTPException, ValueError):
                self._read()
            self._stopped.wait(PERIOD_S)

    def _read(self) -> None:
        every = ((GUESTS, self.guests), (MIRRORS, self.mirrors), (HOSTS, self.hosts))
        for kind, known in every:
            items = self._reader.get(kind.path(NAMESPACE))["items"]
            known.update({item["metadata"]["name"]: item for item in items})
        moves = self._reader.get(GUEST_MOVES.path(NAMESPACE))["items"]
        self.moves = {item["metadata"]["name"]: item for item in moves}
        self.read_s = time.monotonic()
        for name, move in self.moves.items():
            said = move.get("status") or {}
            self._say_once(f"move {name}", f"{said.get('phase')}: {said.get('message')}")
        for name in self.guests:
            status = self.guest(name)
            told = f"{status.get('phase')}: {status.get('reason')}: {status.get('message')}"
            self._say_once(f"guest {name}", told)
            last = status.get("lastTakeover") or {}
            if last:
                decided = str((last.get("steps") or {}).get("assigned"))
                self.takeovers[name, decided] = str(last.get("reason"))
        for name in self.mirrors:
            held = self.authority(name)
            if held:
                owner = held.get("owner") or "nobody"
                what = f"epoch {held['epoch']} {held['mode']} owner {owner} ({held.get('reason')})"
                self._say_once(f"mirror {name}", what)

    def _say_once(self, which: str, what: str) -> None:
        if self._said.get(which) != what:
            self._said[which] = what
            self._log.say("api", f"{which}: {what}")
