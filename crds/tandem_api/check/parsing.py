"""What is wrong with one object on its own, in sentences that name the field and the fix.

Turns pydantic's errors, and fields that no type knows, into problems. Never looks at another
object: ``validation`` does. Called by ``validation``, which is what programs import.
"""

import difflib
import itertools
import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tandem_api.kinds.domain import MAC_PATTERN
from tandem_api.kinds.host import ADDRESS_PATTERN
from tandem_api.kinds.mirror import DEVICE_PATTERN
from tandem_api.meta import (
    NAME_PATTERN,
    QUANTITY_PATTERN,
    InvalidFields,
    Problem,
    Resource,
)

MANY = 20
"""Problems told of one object. A status must hold them, and a person read them."""
LONG = 80
"""Characters shown of what somebody wrote."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_PATTERN_FIXES: Mapping[str, str] = {
    NAME_PATTERN: "is no name; use lower-case letters, digits and -, such as burjassot-1",
    QUANTITY_PATTERN: "is no amount; write a whole number and Ki, Mi, Gi or Ti, such as 8Gi",
    MAC_PATTERN: "is no card's address; write one such as 52:54:00:0b:a2:03 (the second digit even)"
    ", in quotes",
    ADDRESS_PATTERN: "is no IP address; write one such as 198.51.100.11",
    DEVICE_PATTERN: "is no device; write a path such as /dev/vg0/bancuv3-root",
}


def parse_problems(kind: type[Resource], raw: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with an object as the API or a file gives it; empty if it parses.

    Fields that no type knows are told too. The server prunes them before anyone sees them, so
    those that ``kubectl apply`` noted down are looked at as well.
    """
    try:
        kind.model_validate(raw)
        found = []
    except ValidationError as error:
        found = [problem for details in _plain(error.errors()) for problem in _problems(details)]
    known = {str(problem.field) for problem in found}
    applied = _last_applied(raw)
    for problem in [*unknown_fields(kind, raw), *unknown_fields(kind, applied)]:
        if problem.field not in known:
            known.add(problem.field)
            found.append(problem)
    return found[:MANY]


def _plain(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without the "too short" that pydantic adds for a list of which an item is wrong."""
    places = [details["loc"] for details in errors]
    return [
        details
        for details in errors
        if details["type"] != "too_short" or not _any_below(details["loc"], places)
    ]


def _any_below(place: tuple[int | str, ...], places: Sequence[tuple[int | str, ...]]) -> bool:
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _last_applied(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    annotations = (raw.get("metadata") or {}).get("annotations") or {}
    try:
        applied = json.loads(annotations.get(LAST_APPLIED, "{}"))
    except (ValueError, RecursionError):
        return {}  # Anybody can write there, also a hundred thousand brackets.
    return applied if isinstance(applied, Mapping) else {}


def _problems(details: ErrorDetails) -> list[Problem]:
    path = dotted(details["loc"])
    error = details.get("ctx", {}).get("error")
    if isinstance(error, InvalidFields):
        return [Problem(_join(path, each.field), each.message) for each in error.problems]
    return [Problem(path, _message(details))]


def dotted(location: Sequence[str | int]) -> str:
    """A path as a person writes it: ``("spec", "disks", 0)`` is ``spec.disks[0]``."""
    text = ""
    for part in location:
        text = f"{text}[{part}]" if isinstance(part, int) else _join(text, _cut(part))
    return text


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field else path or field


def _message(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    given = details["input"]
    if given is None and details["type"] != "missing":
        return "is empty; give it a value, or remove it"
    write = _MESSAGES.get(details["type"])
    return write(given, context) if write else f"is wrong: {details['msg']}"


def _pattern_message(given: Any, context: Mapping[str, Any]) -> str:
    fix = _PATTERN_FIXES.get(context["pattern"], f"does not match {context['pattern']}; correct it")
    return f"{_shown(given)} {fix}"


def _not_a(what: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda given, _: f"{_shown(given)} is not {what}; correct it"


def _bound(words: str, key: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda given, context: f"is {_cut(str(given))}; must be {words} {context[key]:g}"


def _count(words: str, key: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda _, context: (
        f"has {context['actual_length']} items; must have {words} {context[key]}"
    )


def _shown(given: Any) -> str:
    if isinstance(given, Mapping):
        return "a group of fields"
    return "a list" if isinstance(given, list | tuple) else _cut(repr(given))


def _cut(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]}…"


_NUMBER = _not_a("a number")
_WHOLE = _not_a("a whole number")
_TRUTH = _not_a("true or false")
_MESSAGES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "missing": lambda _, __: "is missing; add it",
    "enum": lambda given, context: f"is {_shown(given)}; choose {context['expected']}",
    "literal_error": lambda given, context: f"is {_shown(given)}; choose {context['expected']}",
    "string_pattern_mismatch": _pattern_message,
    "string_type": lambda given, _: f"{_shown(given)} is not text; put it in quotes",
    "string_too_short": lambda _, __: "is empty; give it a value",
    "string_too_long": lambda _, context: (
        f"is too long; use {context['max_length']} characters at most"
    ),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "too_short": _count("at least", "min_length"),
    "too_long": _count("at most", "max_length"),
    "tuple_type": _not_a("a list"),
    "dict_type": _not_a("a group of fields"),
    "model_type": _not_a("a group of fields"),
    "value_error": lambda _, context: str(context["error"]),
}


def unknown_fields(kind: type[Resource], raw: Mapping[str, Any]) -> list[Problem]:
    """Fields of a person's part of the object (all but metadata and status) that no type knows."""
    person = {key: value for key, value in raw.items() if key not in _SERVERS}
    return list(itertools.islice(_unknown("", kind, person), MANY))


_SERVERS = ("apiVersion", "kind", "metadata", "status")


def _unknown(path: str, model: type[BaseModel], raw: Mapping[str, Any]) -> Iterator[Problem]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in raw.items():
        here = _join(path, _cut(key))
        field = fields.get(key)
        if field is None:
            yield Problem(here, f"there is no such field; {_suggestion(key, fields)}")
        else:
            yield from _unknown_within(here, field.annotation, value)


def _suggestion(key: str, fields: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(key, fields, n=1)
    return f"did you mean {close[0]}?" if close else "remove it"


def _unknown_within(path: str, annotation: Any, value: Any) -> Iterator[Problem]:
    """Unknown fields of a value of the type annotated: a model, an optional one, or many."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if isinstance(value, Mapping):
            yield from _unknown(path, annotation, value)
        return
    inner = [each for each in get_args(annotation) if each not in (type(None), Ellipsis)]
    if not inner:
        return
    if get_origin(annotation) in (dict, Mapping):
        items = value.items() if isinstance(value, Mapping) else ()
        for key, each in items:
            yield from _unknown_within(_join(path, _cut(str(key))), inner[-1], each)
    elif get_origin(annotation) is types.UnionType:
        yield from _unknown_within(path, inner[0], value)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _unknown_within(f"{path}[{index}]", inner[0], each)
