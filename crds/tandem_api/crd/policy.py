"""A policy of the API server as a value: what it looks at, and what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem_api.meta import GROUP, VERSION

NOTHING = "''"
USER = "request.userInfo.username"
FIELD = "status.authority"


@dataclass(frozen=True)
class Validation:
    """A CEL expression that must be true, and one that gives what a person reads if it is not."""

    expression: str
    message: str


@dataclass(frozen=True)
class Policy:
    """One policy. ``variables`` are named expressions, each of which may use those before it."""

    name: str
    about: str
    resource: str
    operations: tuple[str, ...]
    validations: tuple[Validation, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    group: str = GROUP
    version: str = VERSION
    scope: str = "Namespaced"
    namespace: str = ""
