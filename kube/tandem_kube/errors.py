"""What can go wrong in a call to the API server: a small tree.

    KubeError
    ├── NotFound      404: there is no such object
    ├── Conflict      the precondition does not hold; nothing was changed
    ├── Invalid       the server refuses the content; nothing was changed
    ├── Forbidden     401, 403: who is asking may not do that
    ├── Expired       410: the version asked for is no longer kept
    └── Unavailable   no usable answer; whether a write took effect is unknown
        └── Stalled   nothing came on an open watch for longer than it may be silent

``error_of`` makes one from a response. It never raises and never looks at more than the response.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


class KubeError(Exception):
    """Base of every failure of a call to the API server."""


class NoAccess(Exception):
    """No kubeconfig or account that can be used; nothing was sent. One line, for people."""


class NotFound(KubeError):
    """There is no such object (or no such kind)."""


class Conflict(KubeError):
    """A precondition does not hold, or the object is already there. Nothing was changed."""


class Forbidden(KubeError):
    """The server does not know who asks, or does not let them."""


class Expired(KubeError):
    """The resourceVersion asked for is no longer kept: list again."""


class Unavailable(KubeError):
    """No usable answer: refused, cut, timed out, overloaded. A write may have taken effect.

    ``retry_after_s``: for how long the server asks to be left alone; 0 if it does not say.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stalled(Unavailable):
    """Nothing came on an open watch for longer than it may be silent."""


@dataclass(frozen=True)
class Cause:
    """One field that the server did not accept."""

    field: str
    message: str


class Invalid(KubeError):
    """The server refuses the content. Nothing was changed."""

    def __init__(self, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.causes = causes


_BY_STATUS: Mapping[int, type[KubeError]] = {
    HTTPStatus.UNAUTHORIZED: Forbidden,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Expired,
}


def error_of(
    status: int, body: Mapping[str, Any], *, json_patch: bool = False, retry_after: str = ""
) -> KubeError:
    """The error that a response stands for. ``body`` is the Status object, or empty;
    ``retry_after`` is the header of that name.

    A failing ``test`` of a JSON patch answers 422 like refused content does. Only the latter
    names a field, so a 422 without one, to a JSON patch, is a precondition that did not hold.
    """
    message = f"{status}: {body.get('message') or body.get('reason') or 'no explanation'}"
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        causes = _causes(body)
        if json_patch and not causes:
            return Conflict(message)
        return Invalid(message, causes)
    if status in _BY_STATUS:
        return _BY_STATUS[status](message)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(message, _retry_after_s(body, retry_after))
    return Invalid(message)


def _retry_after_s(body: Mapping[str, Any], header: str) -> float:
    """Seconds. A date instead of a number is not looked at: clocks may differ."""
    details = body.get("details")
    said = header or (details.get("retryAfterSeconds") if isinstance(details, Mapping) else None)
    try:
        seconds = float(said or 0)
    except (TypeError, ValueError):
        return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


# In place of a field, where the server only adds that it left rules unchecked because of the rest.
_NO_FIELD = ("", "<nil>")


def _causes(body: Mapping[str, Any]) -> tuple[Cause, ...]:
    found = (body.get("details") or {}).get("causes") or ()
    named = ((c.get("field") or "", c.get("message", "")) for c in found)
    return tuple(Cause(field, message) for field, message in named if field not in _NO_FIELD)
