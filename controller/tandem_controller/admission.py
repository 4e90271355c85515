"""The admission webhook: refuses writes to Tandem's objects that nobody should make.

A process of its own (``tandem-controller admission``), so that a plan for a thousand guests never
keeps a host's link-loss grant waiting. It holds no state and changes nothing. What it refuses is
decided by ``tandem_api.writers`` (who may write what into a status) and ``tandem_api.validation``;
kopf serves the HTTPS and reads the reviews. It never refuses for want of an answer: what cannot be
looked up is let through, as the API server lets through what this webhook does not answer in time.

The webhook's configuration is not kopf's to manage but ``manifests/admission``: the right to
change admission would be the right to everything. Called by ``__main__``.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import kopf
from pydantic import ValidationError

from tandem_api.guest import Guest
from tandem_api.meta import GROUP, VERSION, Problem
from tandem_api.validation import change_problems, deletion_problems, parse_problems
from tandem_api.writers import Role, Writer, status_problems
from tandem_controller.handlers import OPERATOR, Login, connection_info, settings
from tandem_controller.settings import Settings
from tandem_controller.store import TYPES
from tandem_kube import GUESTS, KubeClient, KubeError

log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_S = 0.4
"""The API server waits for a review for a second in all."""
REFUSED = 403

Raw = Mapping[str, Any]


class Admission:
    """The reviews. ``client`` reads the guests of a mirror that a host claims."""

    def __init__(self, client: KubeClient, controller: str) -> None:
        self._client, self._controller = client, controller

    async def status(self, kind: str, old: Raw, new: Raw, user: Raw) -> None:
        """A write to a status.

        Raises:
            kopf.AdmissionError: it is refused; the message names each field and what to do.
        """
        name, groups = str(user.get("username", "")), user.get("groups") or ()
        writer = Writer.of(name, groups, self._controller)
        guests = await self._guests(writer, old, new) if kind == "Mirror" else None
        _refuse(kind, new, name, status_problems(kind, writer, old, new, guests))

    async def _guests(self, writer: Writer, old: Raw, new: Raw) -> Sequence[Guest] | None:
        """The guests of a claimed mirror's namespace; None if they are not needed, or not known."""
        if writer.role is not Role.HOST or _owner(old) == _owner(new) or not _owner(new):
            return None
        namespace = new["metadata"]["namespace"]
        try:
            listing = await self._client.list(GUESTS, namespace, timeout_s=LOOKUP_TIMEOUT_S)
        except KubeError as error:
            log.warning("a claim of mirror %s is let through unchecked: %s", _key(new), error)
            return None
        return [guest for guest in map(_guest, listing.items) if guest is not None]

    def spec(self, kind: str, old: Raw | None, new: Raw, user: Raw) -> None:
        """A new object, or a change of one. Only what a person wrote anew is judged."""
        if old is not None and old.get("spec") == new.get("spec"):
            return
        problems = parse_problems(TYPES[kind], new)
        if not problems:
            problems = change_problems(TYPES[kind].parse(new))
        _refuse(kind, new, str(user.get("username", "")), problems)

    def deletion(self, kind: str, old: Raw, user: Raw) -> None:
        """An object that shall be deleted."""
        try:
            problems = deletion_problems(TYPES[kind].parse(old))
        except ValidationError:
            return
        _refuse(kind, old, str(user.get("username", "")), problems)


def _owner(raw: Raw) -> str:
    status = raw.get("status") or {}
    return str((status.get("authority") or {}).get("owner") or "")


def _key(raw: Raw) -> str:
    metadata = raw["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def _guest(raw: dict[str, Any]) -> Guest | None:
    try:
        return Guest.parse(raw)
    except ValidationError:
        return None


def _refuse(kind: str, raw: Raw, user: str, problems: Sequence[Problem]) -> None:
    if problems:
        message = "; ".join(map(str, problems))
        log.warning('refused: %s=%s user=%s message="%s"', kind.lower(), _key(raw), user, message)
        raise kopf.AdmissionError(message, code=REFUSED)


def registry_for(admission: Admission, login: Login) -> kopf.OperatorRegistry:
    """kopf's handlers. Their ids are the paths under which the API server finds them."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(login())

    kopf.on.login(registry=registry)(log_in)
    for kind, plural in (("Host", "hosts"), ("Mirror", "mirrors"), ("Guest", "guests")):
        _serve(registry, admission, kind, plural)
    return registry


def _serve(registry: kopf.OperatorRegistry, admission: Admission, kind: str, plural: str) -> None:
    where, key = (GROUP, VERSION, plural), kind.lower()

    async def status(old: Any, new: Any, userinfo: Any, **_: Any) -> None:
        await admission.status(kind, dict(old), dict(new), userinfo)

    async def spec(old: Any, new: Any, userinfo: Any, **_: Any) -> None:
        admission.spec(kind, dict(old) if old else None, dict(new), userinfo)

    async def deletion(old: Any, userinfo: Any, **_: Any) -> None:
        admission.deletion(kind, dict(old), userinfo)

    validate: Any = kopf.on.validate  # its type knows neither ``old`` nor ``new``
    validate(
        *where, id=f"{key}-status", operations=["UPDATE"], subresource="status", registry=registry
    )(status)
    validate(*where, id=f"{key}-spec", operations=["CREATE", "UPDATE"], registry=registry)(spec)
    validate(*where, id=f"{key}-deletion", operations=["DELETE"], registry=registry)(deletion)


async def serve(options: Settings, stop: asyncio.Event) -> None:
    """Until ``stop`` is set.

    Raises:
        ValueError: the certificate or its key is not configured.
        OSError: one of them cannot be read, or the port is taken.
    """
    if options.admission_certificate is None or options.admission_key is None:
        raise ValueError("admission_certificate and admission_key are needed; set both")
    for path in (options.admission_certificate, options.admission_key):
        path.read_bytes()
    client = await KubeClient.load(options.kubeconfig, component="tandem-admission")
    chosen = settings()
    chosen.admission.server = kopf.WebhookServer(
        addr=options.admission_address,
        port=options.admission_port,
        certfile=options.admission_certificate,
        pkeyfile=options.admission_key,
    )
    admission = Admission(client, options.controller_user)
    try:
        await kopf.operator(
            registry=registry_for(admission, client.connection),
            settings=chosen,
            identity=OPERATOR,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
        )
    finally:
        await client.close()
