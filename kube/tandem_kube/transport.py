"""One exchange with the API server: the port, and the real way by HTTP.

Address, TLS and credentials are from ``kubernetes.aio``.

The generated client above that level is not used: it offers no JSON patch for a list of
operations with the timeout and the error mapping that a compare-and-swap needs. Here every call
has a timeout, nothing is ever retried, and every failure is a ``KubeError``.

Called by ``client``, ``events`` and ``watch`` alone, which know the port. The simulator has another
way to a server of its own.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import incluster_config

from tandem_kube.accounts import AccountToken
from tandem_kube.errors import NoAccess, Stalled, Unavailable, error_of

kube_config: Any = kubernetes_config  # it has no annotations
USER_AGENT = "tandem"
CONNECTIONS = 100

# A connection whose other end has silently gone is noticed within KEEPALIVE_IDLE_S +
# KEEPALIVE_PROBES * KEEPALIVE_INTERVAL_S; without this a watch on it would never end.
KEEPALIVE_IDLE_S = 5
KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_PROBES = 3

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"

MALFORMED = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a kubeconfig may raise that is YAML but not what it should be."""

UNLIMITED = aiohttp.ClientTimeout(total=None)
"""Switches off aiohttp's own limit of 5 minutes; the limit that counts is round each call."""


@dataclass(frozen=True)
class Access:
    """Where the server is and how to log in. Paths are of PEM files; empty: not used."""

    server: str
    ca_path: str
    token: str
    certificate_path: str
    key_path: str
    verify: bool


class Transport(Protocol):
    """Sends requests; knows nothing of kinds, and decides nothing."""

    async def close(self) -> None:
        """Close every connection, watches included. Later calls are Unavailable."""
        ...

    def connection(self) -> Access:
        """Where the server is, for another client of the same identity."""
        ...

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_s: float,
    ) -> dict[str, Any]:
        """One request and its JSON answer.

        Raises:
            KubeError: it failed; see ``errors``.
        """
        ...

    def stream(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        open_timeout_s: float,
        life_s: float,
        idle_s: float,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """A GET whose answer goes on, as lines: what the JSON of each one says.

        Raises:
            Stalled: nothing came for ``idle_s``.
            KubeError: it failed, or went on for more than ``life_s``.
        """
        ...


class HttpTransport:
    """The real one. Make it with ``open_transport``."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._closed = False
        if not configuration.proxy:
            configuration.proxy = proxy_of_environment(configuration.host)
        self._api: Any = ApiClient(configuration)
        self._connector = aiohttp.TCPConnector(
            limit=CONNECTIONS,
            ssl=self._api.rest_client.ssl_context,
            socket_factory=new_socket,
        )
        # The environment was asked for a proxy once. aiohttp would ask it before each request, and
        # ~/.netrc too, in a thread each: a program that is busy waits for its turn four times then.
        session = {"connector": self._connector, "trust_env": False}
        configuration.client_session_kwargs = session

    async def close(self) -> None:
        self._closed = True
        await self._api.close()
        await self._connector.close()

    def connection(self) -> Access:
        """As it is now: a token may be replaced later."""
        have = self._configuration
        bearer = str(have.api_key.get("BearerToken") or "")
        return Access(
            server=have.host,
            ca_path=have.ssl_ca_cert or "",
            token=bearer.partition(" ")[2] or bearer,
            certificate_path=have.cert_file or "",
            key_path=have.key_file or "",
            verify=have.verify_ssl,
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_s: float,
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._send(method, path, query, body, content_type)
                data = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(method, path, error) from error
        if response.status >= 400:
            raise error_of(
                response.status,
                _lenient(data),
                json_patch=content_type == JSON_PATCH,
                retry_after=response.headers.get("Retry-After", ""),
            )
        return _strict(method, path, data)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        open_timeout_s: float,
        life_s: float,
        idle_s: float,
    ) -> AsyncIterator[AsyncIterator[Any]]:
        response: aiohttp.ClientResponse | None = None
        # Not asyncio.timeout(life_s): it would cancel whatever our caller does between two lines.
        life = aiohttp.ClientTimeout(total=life_s, sock_read=idle_s)
        try:
            async with asyncio.timeout(open_timeout_s):
                response = await self._send("GET", path, query, None, JSON, life)
                if response.status >= 400:
                    raise error_of(response.status, _lenient(await response.read()))
            yield _values(path, response.content)
        except aiohttp.SocketTimeoutError as error:
            raise Stalled(f"GET {path}: nothing came for {idle_s:.0f} s") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable("GET", path, error) from error
        finally:
            if response is not None:
                response.close()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | Sequence[Any] | None,
        content_type: str,
        limit: aiohttp.ClientTimeout = UNLIMITED,
    ) -> aiohttp.ClientResponse:
        if self._closed:
            raise Unavailable(f"{method} {path}: this client was closed")
        headers = {"Content-Type": content_type, "Accept": JSON, "User-Agent": USER_AGENT}
        # Also refreshes a token that has become old.
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        answer = await self._api.rest_client.request(
            method, url, headers=headers, body=body, _request_timeout=limit
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def open_transport(kubeconfig: Path | None) -> HttpTransport:
    """From a kubeconfig file, or None for $KUBECONFIG, ~/.kube/config or the pod's own account.

    Raises:
        NoAccess: there is none, or it cannot be used.
    """
    configuration = Configuration(host="")
    where = str(kubeconfig) if kubeconfig is not None else "no kubeconfig setting"
    try:
        if kubeconfig is not None:
            _require_readable(kubeconfig)
            await kube_config.load_kube_config(
                config_file=str(kubeconfig),
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            await _load_from_surroundings(configuration)
        if not configuration.host.startswith(("http://", "https://")):
            raise ValueError(f"its cluster has no address of a server, but {configuration.host!r}")
        return HttpTransport(configuration)
    except OSError as error:  # Of the file, or of a certificate that it names.
        named = f" ({error.filename})" if error.filename not in (None, where) else ""
        raise NoAccess(f"{where}: {error.strerror or error}{named}") from error
    except (kube_config.ConfigException, yaml.YAMLError, *MALFORMED) as error:
        raise NoAccess(f"{where}: {' '.join(str(error).split())}") from error


def _require_readable(path: Path) -> None:
    """The library takes a file that is not there for an empty one."""
    with path.open("rb"):
        pass


async def _load_from_surroundings(configuration: Configuration) -> None:
    """In a pod its service account, else what kubectl would use."""
    try:
        kube_config.load_incluster_config(
            client_configuration=configuration, try_refresh_token=False
        )
    except kube_config.ConfigException:
        await kube_config.load_kube_config(client_configuration=configuration, persist_config=False)
    else:
        token = AccountToken(Path(incluster_config.SERVICE_TOKEN_FILENAME))
        hook: Any = token.refresh  # the library's annotation is None
        configuration.refresh_api_key_hook = hook


def proxy_of_environment(server: str) -> str | None:
    """The proxy by which the environment says that this address is reached."""
    found = urlsplit(server)
    if found.hostname is None or proxy_bypass(found.hostname):
        return None
    return getproxies().get(found.scheme)


def new_socket(address: tuple[Any, ...]) -> socket.socket:
    """One whose dead peer is noticed, for an aiohttp connector."""
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    return made


async def _values(path: str, content: aiohttp.StreamReader) -> AsyncIterator[Any]:
    async for line in _lines(content):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise _unavailable("GET", path, error) from error
        yield value


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: the stream's own readline gives up on long ones."""
    pending: list[bytes] = []
    async for chunk in content.iter_any():
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            line = b"".join((*pending, part))
            pending.clear()
            if line:
                yield line
        if rest:
            pending.append(rest)


def _unavailable(method: str, path: str, error: Exception) -> Unavailable:
    why = str(error) or type(error).__name__
    return Unavailable(f"{method} {path}: {why}")


def _lenient(data: bytes) -> dict[str, Any]:
    """An error's body; whatever stands between us and the server may answer with anything."""
    try:
        found = json.loads(data)
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {}


def _strict(method: str, path: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise _unavailable(method, path, error) from error
    if not isinstance(found, dict):
        raise Unavailable(f"{method} {path}: the answer is no object")
    return found
