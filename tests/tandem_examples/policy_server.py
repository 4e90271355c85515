"""A stand-in for ValidatingAdmissionPolicies in an API server: a CEL library evaluates the rules.

It answers as the server does: the first validation that is not true refuses, with the sentence that
its message expression gives, and an expression that ends in an error refuses as well. What it
cannot tell: whether a real server compiles the rules. Called by tests.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import cel

from tandem_api.policies import POLICIES, Policy
from tandem_api.writers import CONTROLLER_USER, HOSTS_GROUP, Role, Writer

Raw = Mapping[str, Any]
BY_NAME: Mapping[str, Policy] = {policy.name: policy for policy in POLICIES}
PERSON = "ana"
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
    context = cel.Context()
    for function in (substring, split, join, least, dyn):
        context.add_function(NAMES.get(function.__name__, function.__name__), function)
    context.add_variable("request", {"userInfo": dict(user)})
    context.add_variable("object", new)
    context.add_variable("oldObject", old)
    for variable, expression in policy.variables.items():
        try:
            context.add_variable(f"variables_{variable}", _program(expression).execute(context))
        except ERRORS:
            continue  # As on a server: who uses it then ends in an error, too.
    for validation in policy.validations:
        if not _holds(validation.expression, context):
            return _sentence(validation.message, context)
    return ""


def status_refusal(kind: str, writer: Writer, old: Raw, new: Raw) -> str:
    """Of a write to a status."""
    return refusal(f"tandem-{kind.lower()}-status", user_of(writer), old, new)


def _holds(expression: str, context: cel.Context) -> bool:
    try:
        return _program(expression).execute(context) is True
    except ERRORS:
        return False


def _sentence(expression: str, context: cel.Context) -> str:
    try:
        return str(_program(expression).execute(context))
    except ERRORS as error:
        return f"{expression} ends in an error: {error}"


@cache
def _program(expression: str) -> Any:
    return cel.compile(expression.replace("variables.", "variables_"))


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
