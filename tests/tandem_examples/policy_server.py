"""A stand-in for ValidatingAdmissionPolicies in an API server: a CEL library evaluates the rules.

It answers as the server does: the first validation that is not true refuses, with the sentence that
its message expression gives, and an expression that ends in an error refuses as well. What it
cannot tell: whether a real server compiles the rules. Called by tests.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import cel

from tandem_api.policies import POLICIES, Policy
from tandem_api.writers import CONTROLLER_USER, HOSTS_GROUP, Role, Writer

Raw = Mapping[str, Any]
BY_NAME: Mapping[str, Policy] = {policy.name: policy for policy in POLICIES}
PERSON = "ana"
VARIABLE = re.compile(r"variables\.(\w+)")
CONDITION = re.compile(r"!variables\.(\w+) \|\| ")
ERRORS = (KeyError, ValueError, TypeError, RuntimeError)


def user_of(writer: Writer) -> dict[str, Any]:
    """Who the API server says is asking."""
    if writer.role is Role.HOST:
        name = f"tandem:host:{writer.host}" if writer.host else "somebody"
        return {"username": name, "groups": [HOSTS_GROUP, "system:authenticated"]}
    name = CONTROLLER_USER if writer.role is Role.CONTROLLER else PERSON
    return {"username": name, "groups": ["system:authenticated"]}


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
