"""Which answer of the API server is which error."""

from typing import Any

import pytest

from tandem_kube.errors import (
    Cause,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    Unavailable,
    error_of,
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Invalid),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Expired),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_status_decides(status: int, expected: type[KubeError]) -> None:
    assert type(error_of(status, {"message": "m"})) is expected


FIELD = {"field": "status.x", "message": "bad"}
UNCHECKED = {"field": "<nil>", "message": "some validation rules were not checked"}
CAUSES = {"details": {"causes": [FIELD, UNCHECKED, {"message": "m"}]}}


@pytest.mark.parametrize(
    ("body", "json_patch", "expected"),
    [({}, True, Conflict), (CAUSES, True, Invalid), ({}, False, Invalid), (CAUSES, False, Invalid)],
)
def test_only_a_json_patch_without_a_bad_field_is_a_failed_test(
    body: dict[str, Any], json_patch: bool, expected: type[KubeError]
) -> None:
    assert type(error_of(422, body, json_patch=json_patch)) is expected


def test_causes_name_the_fields() -> None:
    error = error_of(422, CAUSES)
    assert isinstance(error, Invalid)
    assert error.causes == (Cause("status.x", "bad"),)


def test_an_answer_without_a_body_still_says_what_it_was() -> None:
    assert str(error_of(503, {})) == "503: no explanation"


@pytest.mark.parametrize(
    ("header", "details", "expected"),
    [
        ("2", None, 2.0),
        ("", {"retryAfterSeconds": 3}, 3.0),
        ("2", {"retryAfterSeconds": 3}, 2.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None, 0.0),
        ("-1", None, 0.0),
        ("inf", None, 0.0),
        ("nan", None, 0.0),
        ("", {"retryAfterSeconds": "soon"}, 0.0),
        ("", {"retryAfterSeconds": [1]}, 0.0),
        ("", "nonsense", 0.0),
    ],
)
def test_how_long_the_server_asks_to_be_left_alone(
    header: str, details: Any, expected: float
) -> None:
    for status in (429, 503):
        error = error_of(status, {"details": details}, retry_after=header)
        assert isinstance(error, Unavailable)
        assert error.retry_after_s == expected
