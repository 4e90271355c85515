"""A server's judgement of ``x-kubernetes-validations``, as the simulated one gives it.

What it cannot tell: whether a real server would find a rule too costly. Called by unit tests.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

from sim.apiserver.rules import ERRORS, evaluate
from sim.apiserver.rules import broken_rules as broken
from sim.apiserver.schema import ABSENT, Node

Schema = dict[str, Any]
_BEFORE = re.compile(r'^Invalid value: ("([^"\\]|\\.)*": )?', re.DOTALL)


def broken_rules(schema: Schema, value: Any, old: Any = ABSENT) -> Iterator[str]:
    """The messages of the rules that a value breaks. A rule about ``oldSelf`` needs an old one."""
    node = Node(schema)
    before = old if old is ABSENT else node.shaped(copy.deepcopy(old))
    for found in broken(node, node.shaped(value), before):
        yield _BEFORE.sub("", found["message"], count=1)


def broken_defaults(schema: Schema) -> Iterator[str]:
    """The rules that a default breaks, or cannot be judged on: a server refuses the definition.

    It judges a default as it is written, without the defaults of the fields within.
    """
    if "default" in schema:
        for rule in schema.get("x-kubernetes-validations", ()):
            try:
                holds = evaluate(rule["rule"], {"self": schema["default"]})
            except ERRORS as error:
                yield f"{rule['rule']}: {error}"
            else:
                if not holds:
                    yield rule["message"]
    for inner in (*schema.get("properties", {}).values(), schema.get("items")):
        if inner:
            yield from broken_defaults(inner)
