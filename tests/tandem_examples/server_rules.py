"""A stand-in for the API server's judgement of ``x-kubernetes-validations``.

It walks a definition's schema over an object, and over the object's earlier self where there is
one, and evaluates the rules with a CEL library. What it cannot tell: whether a real server would
find a rule too costly. Called by unit tests.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import cel

Schema = dict[str, Any]

_ABSENT: Any = object()


def broken_rules(schema: Schema, value: Any, old: Any = _ABSENT) -> Iterator[str]:
    """The messages of the rules that a value breaks. A rule about ``oldSelf`` needs an old one."""
    for rule in schema.get("x-kubernetes-validations", ()):
        about_change = "oldSelf" in rule["rule"]
        if about_change and old is _ABSENT:
            continue
        if not _evaluate(rule["rule"], schema, value, old):
            said = rule.get("messageExpression")
            yield _evaluate(said, schema, value, old) if said else rule["message"]
    for child_schema, child, old_child in _children(schema, value, old):
        yield from broken_rules(child_schema, child, old_child)


def broken_defaults(schema: Schema) -> Iterator[str]:
    """The rules that a default breaks, or cannot be judged on: a server refuses the definition.

    It judges a default as it is written, without the defaults of the fields within.
    """
    if "default" in schema:
        for rule in schema.get("x-kubernetes-validations", ()):
            try:
                holds = _judge(rule["rule"], {"self": schema["default"]})
            except (KeyError, RuntimeError, ValueError) as error:
                yield f"{rule['rule']}: {error}"
            else:
                if not holds:
                    yield rule["message"]
    for inner in (*schema.get("properties", {}).values(), schema.get("items")):
        if inner:
            yield from broken_defaults(inner)


def _children(schema: Schema, value: Any, old: Any) -> Iterator[tuple[Schema, Any, Any]]:
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if inner:
                yield inner, child, before.get(name, _ABSENT)
    elif isinstance(value, list):
        for child in value:
            yield schema["items"], child, _counterpart(schema, child, old)


def _counterpart(schema: Schema, child: Any, old: Any) -> Any:
    """The item of the old list that is the same thing: only lists with keys can tell."""
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if not keys or not isinstance(old, list):
        return _ABSENT
    same = (each for each in old if all(each[key] == child[key] for key in keys))
    return next(same, _ABSENT)


def _evaluate(expression: str, schema: Schema, value: Any, old: Any) -> Any:
    variables = {"self": _typed(schema, value)}
    if old is not _ABSENT:
        variables["oldSelf"] = _typed(schema, old)
    return _judge(expression, variables)


def _judge(expression: str, variables: dict[str, Any]) -> Any:
    context = cel.Context()
    context.add_function("isIP", _is_address)
    context.add_function("lowerAscii", lambda text: text.lower())
    context.add_function("find", lambda text, pattern: _found(pattern, text))
    for name, value in variables.items():
        context.add_variable(name, value)
    result = cel.evaluate(expression, context)
    assert isinstance(result, bool | str), f"{expression} gives {result!r}"
    return result


def _is_address(text: str) -> bool:
    try:
        return getattr(ip_address(text), "ipv4_mapped", None) is None
    except ValueError:
        return False


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _typed(schema: Schema, value: Any) -> Any:
    """The value with its defaults, and with numbers as the schema types them."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
        inner = schema.get("additionalProperties", {})
        return {
            name: _typed(properties.get(name, inner), child)
            for name, child in {**defaults, **value}.items()
        }
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), child) for child in value]
    return float(value) if schema.get("type") == "number" else value
