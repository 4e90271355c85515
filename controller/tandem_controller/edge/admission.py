"""The admission webhook: refuses what the API server's own policies cannot judge.

What needs only one object and who asks is the policies' part (``tandem_api.crd.policies``). Here is
what CEL cannot say, such as a guest's template, and what needs other objects: whether a Host or a
Site that shall be deleted is still in use. Decided by ``tandem_api.check``;
kopf serves the HTTPS and reads the reviews. It holds no state and changes nothing. A spec is let
through by the API server if there is no answer, and the controller reports it then; a deletion is
not.

The webhook's configuration is not kopf's to manage but ``manifests/admission``: the right to
change admission would be the right to everything. Called by ``__main__``.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import kopf
from pydantic import ValidationError

from tandem_api.check.deletion import use_problems
from tandem_api.check.guests import hardware_problems
from tandem_api.check.validation import change_problems, parse_problems
from tandem_api.kinds.domain import Domain
from tandem_api.kinds.guest import Guest
from tandem_api.meta import GROUP, VERSION, Problem, Resource
from tandem_api.registry import BY_NAME, KINDS, KindInfo
from tandem_base.bugs import where
from tandem_controller.edge.handlers import OPERATOR, Login, connection_info, settings
from tandem_controller.settings import Settings
from tandem_kube import OWN, Kind, KubeClient, KubeError

log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_S = 4.0
"""The API server waits for the review of a deletion for five seconds in all."""
REFUSED = 403

Raw = Mapping[str, Any]


class Admission:
    """The reviews. ``client`` reads what still needs an object that shall be deleted."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def spec(self, kind: str, old: Raw | None, new: Raw, user: Raw) -> None:
        """A new object, or a change of one. Only what a person wrote anew is judged."""
        if old is not None and old.get("spec") == new.get("spec"):
            return
        try:
            problems = _spec_problems(kind, old, new)
        except Exception:
            # A wall: as if there were no answer. The controller judges it, too, and says so.
            log.exception("bug: let through unseen: %s=%s", kind.lower(), _key(new))
            return
        _refuse(kind, new, str(user.get("username", "")), problems)

    async def deletion(self, kind: str, old: Raw, user: Raw) -> None:
        """A Host or a Site that shall be deleted. What cannot be read refuses: it is never urgent.

        Raises:
            kopf.AdmissionError: something still needs it, or what does is not known.
        """
        needed_by = OWN[BY_NAME[kind].needed_by]
        try:
            listing = await self._client.list(needed_by, timeout_s=LOOKUP_TIMEOUT_S)
            each = BY_NAME[kind].type.parse(old)
        except KubeError as error:
            problems: Sequence[Problem] = [
                Problem("metadata", f"whether it is in use is not known: {error}")
            ]
        except ValidationError:
            return
        else:
            others = (_parsed(needed_by, raw) for raw in listing.items)
            problems = _use_problems(each, others)
        _refuse(kind, old, str(user.get("username", "")), problems)


def _spec_problems(kind: str, old: Raw | None, new: Raw) -> Sequence[Problem]:
    problems = parse_problems(BY_NAME[kind].type, new)
    if problems:
        return problems
    each, before = BY_NAME[kind].type.parse(new), _standing(kind, old)
    changes = [each for each in change_problems(each) if each not in before]
    return [*changes, *_hardware(each, old)]


def _use_problems(each: Resource, others: Iterable[Resource | None]) -> Sequence[Problem]:
    """A wall: what cannot be judged is not deleted."""
    try:
        return use_problems(each, [other for other in others if other is not None])
    except Exception as error:
        log.exception("bug: not deleted: %s=%s", type(each).__name__.lower(), each.key)
        told = f"whether it is in use is not known: Tandem failed ({where(error)}), a bug in Tandem"
        return [Problem("metadata", told)]


def _standing(kind: str, old: Raw | None) -> Sequence[Problem]:
    """What was wrong before, as with admission off: it keeps nobody from writing something else."""
    if old is None or parse_problems(BY_NAME[kind].type, old):
        return ()
    return change_problems(BY_NAME[kind].type.parse(old))


def _hardware(each: Resource, old: Raw | None) -> Sequence[Problem]:
    """Only if that is what was written: what was stored before a check was can still be stopped."""
    if not isinstance(each, Guest):
        return ()
    before = (old or {}).get("spec", {}).get("domain")
    if before is not None and each.spec.domain.wire() == _domain(before):
        return ()
    return hardware_problems(each)


def _domain(raw: Raw) -> dict[str, object] | None:
    try:
        return Domain.model_validate(raw).wire()
    except ValidationError:
        return None


def _key(raw: Raw) -> str:
    metadata = raw["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def _parsed(kind: Kind[Any], raw: dict[str, Any]) -> Resource | None:
    try:
        found = kind.parse(raw)
    except ValidationError:
        return None
    return found if isinstance(found, Resource) else None


def _refuse(kind: str, raw: Raw, user: str, problems: Sequence[Problem]) -> None:
    if problems:
        message = "; ".join(map(str, problems))
        log.warning('refused: %s=%s user=%s message="%s"', kind.lower(), _key(raw), user, message)
        raise kopf.AdmissionError(message, code=REFUSED)


def registry_for(admission: Admission, login: Login) -> kopf.OperatorRegistry:
    """kopf's handlers. Their ids are the paths under which the API server finds them."""
    handlers = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(login())

    kopf.on.login(registry=handlers)(log_in)
    for info in KINDS:
        if info.reviewed:
            _serve_specs(handlers, admission, info)
        if info.needed_by:
            _serve_deletions(handlers, admission, info)
    return handlers


validate: Any = kopf.on.validate  # its type knows neither ``old`` nor ``new``


def _serve_specs(
    handlers: kopf.OperatorRegistry, admission: Admission, info: KindInfo[Any]
) -> None:
    async def spec(old: Any, new: Any, userinfo: Any, **_: Any) -> None:
        admission.spec(info.kind, dict(old) if old else None, dict(new), userinfo)

    where, name = (GROUP, VERSION, info.plural), f"{info.kind.lower()}-spec"
    validate(*where, id=name, operations=["CREATE", "UPDATE"], registry=handlers)(spec)


def _serve_deletions(
    handlers: kopf.OperatorRegistry, admission: Admission, info: KindInfo[Any]
) -> None:
    async def deletion(old: Any, userinfo: Any, **_: Any) -> None:
        await admission.deletion(info.kind, dict(old), userinfo)

    where, name = (GROUP, VERSION, info.plural), f"{info.kind.lower()}-deletion"
    validate(*where, id=name, operations=["DELETE"], registry=handlers)(deletion)


async def serve(options: Settings, stop: asyncio.Event, spawned: Callable[[], None]) -> None:
    """Until ``stop`` is set. ``spawned``: see ``_operate``.

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
    admission = Admission(client)
    try:
        await _operate(
            spawned,
            registry=registry_for(admission, client.connection),
            settings=chosen,
            identity=OPERATOR,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
        )
    finally:
        await client.close()


async def _operate(spawned: Callable[[], None], **operator: Any) -> None:
    """``kopf.operator``, but the process's signals remain ours: ``spawned`` sets them up again.

    kopf puts handlers of its own in place when it spawns its tasks, and offers no way to keep it
    from that. Nothing is awaited between that and ``spawned``, so no signal can fall in between.
    """
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(**operator)
    spawned()
    await kopf.run_tasks(tasks, ignored=before)
