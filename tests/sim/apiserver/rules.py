"""The definitions' rules in CEL, judged by a CEL library as the server judges them.

A rule is judged where the value that it stands at has changed, on the value with its defaults; one
about ``oldSelf`` where there was one before, and in a list where keys tell which it was. A rule at
the root of a kind is judged at every write, so what it has said of the same fields before is
remembered. What this cannot tell: whether a real server would find a rule too costly.

Called by ``handler``, and by tests that hold the rules against the types (``tandem_examples``).
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from typing import Any

import cel

from sim.apiserver.failures import cause
from sim.apiserver.schema import ABSENT, Cause, Node

ERRORS = (KeyError, ValueError, TypeError, RuntimeError)
_SCALARS = (str, int, float, bool, type(None))


def broken_rules(node: Node, value: Any, old: Any = ABSENT, path: str = "") -> Iterator[Cause]:
    """What the rules say against a value that is shaped and fits its schema."""
    if value is old or value is None:
        return
    for rule in node.rules:
        found = _broken(rule, node, value, old)
        if found is not None:
            shown = f'"{value}": ' if isinstance(value, str) else ""
            field = path + _said(node, rule.get("fieldPath", ""))
            yield cause(field.lstrip("."), f"Invalid value: {shown}{found}")
    if node.has_rules_within:
        for inner, child, before, below in _children(node, value, old, path):
            yield from broken_rules(inner, child, before, below)


def _said(node: Node, path: str) -> str:
    """How the server writes a path: a map's keys in brackets."""
    said, at = "", node
    for name in path.split(".")[1:]:
        said += f".{name}" if at.additional is None else f"[{name}]"
        at = at.child(name) or at
    return said


def _children(node: Node, value: Any, old: Any, path: str) -> Iterator[tuple[Node, Any, Any, str]]:
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, child in value.items():
            inner = node.child(name)
            if inner is not None:
                below = path + _said(node, f".{name}") if path else name
                yield inner, child, before.get(name, ABSENT), below
    elif isinstance(value, list) and node.items is not None:
        for n, child in enumerate(value):
            yield node.items, child, node.counterpart(child, old), f"{path}[{n}]"


def _broken(rule: Mapping[str, str], node: Node, value: Any, old: Any) -> str | None:
    """What the server says, if it says something."""
    expression = rule["rule"]
    if "oldSelf" in expression and old is ABSENT:
        return None
    words = words_of(expression, value, old)
    holds = _HELD.get((expression, words))
    if holds is None:
        holds = _holds(expression, node, value, old)
        if len(_HELD) < REMEMBERED:
            _HELD[expression, words] = holds
    if holds:
        return None
    said = rule.get("messageExpression")
    try:
        return str(evaluate(said, _variables(node, value, old))) if said else rule["message"]
    except ERRORS:
        return rule["message"]


def _holds(expression: str, node: Node, value: Any, old: Any) -> bool:
    """A rule that ends in an error does not hold."""
    try:
        return evaluate(expression, _variables(node, value, old)) is True
    except ERRORS:
        return False


# -- what a rule is about

REMEMBERED = 10_000
Words = tuple[Any, ...]
_HELD: dict[tuple[str, Words], bool] = {}
"""A rule says the same of the same words, so this is no state: it only spares work."""


def words_of(expression: str, value: Any, old: Any) -> Words:
    """Everything in the value that the rule looks at."""
    return words_at(expression, {"self": value, "oldSelf": old})


def words_at(expression: str, roots: Mapping[str, Any]) -> Words:
    """Everything below the roots that it looks at; lists and objects as their JSON."""
    presences, paths = _looks_at(expression, tuple(roots))
    words: list[Any] = [_at(roots[root], steps) is not ABSENT for root, steps in presences]
    for root, steps in paths:
        word = _at(roots[root], steps)
        plain = word is ABSENT or isinstance(word, _SCALARS)
        words.append((type(word).__name__, word if plain else json.dumps(word)))
    return tuple(words)


@cache
def _looks_at(expression: str, roots: tuple[str, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    root = f"({'|'.join(roots)})"
    has = re.compile(rf"has\({root}((?:\.\w+)*)\)")
    words = re.compile(rf"(?<![\w.]){root}\b((?:\.\w+\b(?!\())*)")
    presences = {(name, tuple(rest.split(".")[1:])) for name, rest in has.findall(expression)}
    bare = has.sub("", expression)
    paths = {(name, tuple(rest.split(".")[1:])) for name, rest in words.findall(bare)}
    return tuple(sorted(presences)), tuple(sorted(paths))


def _at(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        value = value.get(step, ABSENT) if isinstance(value, dict) else ABSENT
    return value


# -- CEL


def _variables(node: Node, value: Any, old: Any) -> dict[str, Any]:
    variables = {"self": _typed(node, value)}
    if old is not ABSENT:
        variables["oldSelf"] = _typed(node, old)
    return variables


def _typed(node: Node | None, value: Any) -> Any:
    """The value, with numbers as the schema types them."""
    if node is None or not node.has_numbers_within:
        return value
    if isinstance(value, dict):
        return {name: _typed(node.child(name), child) for name, child in value.items()}
    if isinstance(value, list):
        return [_typed(node.items, child) for child in value]
    return float(value) if node.type == "number" else value


def evaluate(expression: str, variables: Mapping[str, Any]) -> bool | str:
    """Raises: one of ERRORS."""
    context = cel.Context()
    context.add_function("isIP", _is_address)
    context.add_function("lowerAscii", lambda text: text.lower())
    context.add_function("find", lambda text, pattern: _found(pattern, text))
    for name, value in variables.items():
        context.add_variable(name, value)
    result = _program(expression).execute(context)
    assert isinstance(result, bool | str), f"{expression} gives {result!r}"
    return result


@cache
def _program(expression: str) -> Any:
    return cel.compile(expression)


def _is_address(text: str) -> bool:
    try:
        return getattr(ip_address(text), "ipv4_mapped", None) is None
    except ValueError:
        return False


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""
