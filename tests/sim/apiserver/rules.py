"""The definitions' rules in CEL, judged as the server judges them. (First: none.)"""

from collections.abc import Iterator
from typing import Any

from sim.apiserver.schema import Cause, Node


def broken_rules(kind: str, node: Node, new: Any, old: Any) -> Iterator[Cause]:
    return iter(())
