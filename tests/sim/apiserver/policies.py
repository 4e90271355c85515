"""The ValidatingAdmissionPolicies, judged as the server judges them: a CEL library evaluates them.

The first validation that is not true refuses, with the sentence that its message expression gives,
and an expression that ends in an error refuses as well. A request is held against each policy that
is about it, a status's too, in a server's words. What one has said of the same words, and of a
status of the same ``essence``, is remembered. What this cannot tell: whether a real server compiles
the expressions.

Called by ``server``, and by tests that hold the policies against ``writers``.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import cel

from sim.apiserver.essence import essence
from sim.apiserver.kinds import Served
from sim.apiserver.rules import REMEMBERED, Words, words_at
from tandem_api.check.writers import CONTROLLER_USER, HOSTS_GROUP, Party, Writer
from tandem_api.crd.policies import POLICIES
from tandem_api.crd.policy import Policy

Raw = Mapping[str, Any]
BY_NAME: Mapping[str, Policy] = {policy.name: policy for policy in POLICIES}
PERSON = "a person"
"""By this name the server knows whoever edits something in a scenario."""
VARIABLE = re.compile(r"variables\.(\w+)")
CONDITION = re.compile(r"!variables\.(\w+) \|\| ")
ERRORS = (KeyError, ValueError, TypeError, RuntimeError)
_THERE = re.compile(r"\b(object|oldObject) != null")


def user_of(writer: Writer) -> dict[str, Any]:
    """Who the API server says is asking."""
    if writer.party is Party.HOST:
        name = f"tandem:host:{writer.host}" if writer.host else "somebody"
        return {"username": name, "groups": [HOSTS_GROUP, "system:authenticated"]}
    return person(CONTROLLER_USER if writer.party is Party.CONTROLLER else PERSON)


def person(name: str) -> dict[str, Any]:
    return {"username": name, "groups": ["system:authenticated"]}


def denied(
    served: Served, subresource: str, user: Mapping[str, Any], old: Raw | None, new: Raw | None
) -> str:
    """Why a server with the policies refuses this write, in its words; empty if it does not.

    None: there was nothing, or there shall be nothing.
    """
    operation = "CREATE" if old is None else "DELETE" if new is None else "UPDATE"
    where = f"{served.kind.plural}/{subresource}" if subresource else served.kind.plural
    policies = _about(served.kind.group, where, operation)
    if not policies:
        return ""
    namespace = ((new or old or {}).get("metadata") or {}).get("namespace", "")
    for policy in policies:
        if policy.namespace in ("", namespace):
            said = _remembered(policy, user, old, new)
            if said:
                name = f"'{policy.name}'"
                return (
                    f"ValidatingAdmissionPolicy {name} with binding {name} denied request: {said}"
                )
    return ""


@cache
def _about(group: str, where: str, operation: str) -> tuple[Policy, ...]:
    """Those that match. ``where``: the plural of the kind, or ``mirrors/status``."""
    return tuple(
        policy
        for policy in POLICIES
        if (policy.group, policy.resource) == (group, where) and operation in policy.operations
    )


_SAID: dict[tuple[str, str, tuple[str, ...], bool, bool, Words], str] = {}
"""A policy says the same of the same words to the same user: no state, it only spares work."""


def _remembered(policy: Policy, user: Mapping[str, Any], old: Raw | None, new: Raw | None) -> str:
    text = _text(policy.name)
    words: Words
    if "/" in policy.resource and old is not None and new is not None:
        old, new = essence(policy, text, old, new)
        words = (json.dumps((old, new), sort_keys=True),)
    else:
        words = words_at(text, {"object": new, "oldObject": old})
    asked = user["username"], tuple(user["groups"])
    place = (policy.name, *asked, old is None, new is None, words)
    said = _SAID.get(place)
    if said is None:
        said = refusal(policy.name, user, old, new)
        if len(_SAID) < REMEMBERED:
            _SAID[place] = said
    return said


@cache
def _text(name: str) -> str:
    """All its expressions, but for whether there is an object at all."""
    policy = BY_NAME[name]
    told = (text for each in policy.validations for text in (each.expression, each.message))
    return _THERE.sub("", " ".join((*policy.variables.values(), *told)))


def refusal(name: str, user: Mapping[str, Any], old: Raw | None, new: Raw | None) -> str:
    """The sentence with which the policy of that name refuses; empty if it does not."""
    policy = BY_NAME[name]
    scope = _Scope(policy, user, old, new)
    for validation in policy.validations:
        if not scope.holds(validation.expression):
            return scope.sentence(validation.message)
    return ""


class _Scope:
    """What the expressions of one policy see of one request. As on a server, a variable is worked
    out when it is first used, and whoever uses one that ends in an error does, too.
    """

    def __init__(
        self, policy: Policy, user: Mapping[str, Any], old: Raw | None, new: Raw | None
    ) -> None:
        self._policy, self._known = policy, dict[str, Any]()
        self._context = cel.Context()
        for function in (substring, split, join, least, dyn):
            self._context.add_function(NAMES.get(function.__name__, function.__name__), function)
        self._context.add_variable("request", {"userInfo": dict(user)})
        self._context.add_variable("object", new)
        self._context.add_variable("oldObject", old)

    def holds(self, expression: str) -> bool:
        condition = CONDITION.match(expression)
        try:
            if condition and self._variable(condition[1]) is False:
                return True  # not only quicker: what follows may be an error, and does not count
            return self._value(expression) is True
        except ERRORS:
            return False

    def sentence(self, expression: str) -> str:
        try:
            return str(self._value(expression))
        except ERRORS as error:
            return f"{expression} ends in an error: {error}"

    def _value(self, expression: str) -> Any:
        program, variables = _program(expression)
        for name in variables:
            try:
                self._variable(name)
            except ERRORS:
                continue  # It counts where it is used, if it is.
        return program.execute(self._context)

    def _variable(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._value(self._policy.variables[name])
            self._context.add_variable(f"variables_{name}", self._known[name])
        return self._known[name]


def status_refusal(kind: str, writer: Writer, old: Raw, new: Raw) -> str:
    """Of a write to a status."""
    return refusal(f"tandem-{kind.lower()}-status", user_of(writer), old, new)


@cache
def _program(expression: str) -> tuple[Any, tuple[str, ...]]:
    """The expression, and the variables in it."""
    text = expression.replace("variables.", "variables_")
    return cel.compile(text), tuple(dict.fromkeys(VARIABLE.findall(expression)))


# -- Kubernetes' own functions


def substring(text: str, begin: int) -> str:
    return text[begin:]


def split(text: str, separator: str) -> list[str]:
    return text.split(separator)


def join(parts: Iterable[str], separator: str) -> str:
    return separator.join(parts)


def least(values: Iterable[str]) -> str:
    return min(values)


def dyn(value: Any) -> Any:
    return value


NAMES = {"least": "min"}
