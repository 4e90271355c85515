"""What the server answers when it does not do what was asked: the Status objects of Kubernetes.

Raised inside the server, sent by it. The words are a real server's where a client reads them.
Called by everything in this package.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

PATIENCE_S = {int(HTTPStatus.TOO_MANY_REQUESTS): 1, int(HTTPStatus.SERVICE_UNAVAILABLE): 1}
"""For how long a server asks to be left alone, by the code of its answer."""


class Failure(Exception):
    """One answer that is no success. ``causes`` name fields."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        causes: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.causes = code, reason, tuple(causes)

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        found = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.causes:
            found["details"] = {"causes": [dict(cause) for cause in self.causes]}
        if self.code in PATIENCE_S:
            found["details"] = {"retryAfterSeconds": PATIENCE_S[self.code]}
        return found


def cause(field: str, message: str, reason: str = "FieldValueInvalid") -> dict[str, str]:
    return {"reason": reason, "message": message, "field": field}


def not_found(resource: str, name: str) -> Failure:
    return Failure(HTTPStatus.NOT_FOUND, "NotFound", f'{resource} "{name}" not found')


def no_such_resource() -> Failure:
    said = "the server could not find the requested resource"
    return Failure(HTTPStatus.NOT_FOUND, "NotFound", said)


def already_exists(resource: str, name: str) -> Failure:
    said = f'{resource} "{name}" already exists'
    return Failure(HTTPStatus.CONFLICT, "AlreadyExists", said)


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(resource: str, name: str, why: str = MODIFIED) -> Failure:
    said = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return Failure(HTTPStatus.CONFLICT, "Conflict", said)


def invalid(kind: str, name: str, causes: Sequence[Mapping[str, str]]) -> Failure:
    listed = ", ".join(f"{each['field']}: {each['message']}" for each in causes)
    said = f'{kind} "{name}" is invalid: {listed}'
    return Failure(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", said, causes)


def unpatchable() -> Failure:
    """A JSON patch whose test does not hold, or that leads nowhere: no field is named."""
    said = "the server rejected our request due to an error in our request"
    return Failure(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", said)


def bad_request(message: str) -> Failure:
    return Failure(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def forbidden(resource: str, name: str, why: str) -> Failure:
    return Failure(HTTPStatus.FORBIDDEN, "Forbidden", f'{resource} "{name}" is forbidden: {why}')


def expired(version: int, oldest: int) -> Failure:
    said = f"too old resource version: {version} ({oldest})"
    return Failure(HTTPStatus.GONE, "Expired", said)


def too_large(version: int, newest: int) -> Failure:
    said = f"Timeout: Too large resource version: {version}, current: {newest}"
    return Failure(HTTPStatus.GATEWAY_TIMEOUT, "Timeout", said)


def refused(code: int) -> Failure:
    """The server is not itself just now, or asks for patience."""
    return Failure(code, HTTPStatus(code).phrase.replace(" ", ""), HTTPStatus(code).phrase)
