"""YAML in which every value remembers its line, so that a mistake can be shown where it is.

Called by ``scenario``.
"""

from dataclasses import dataclass
from typing import Any

import yaml


class BadScenario(Exception):
    """A file that cannot be played: what is wrong, and in which line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True)
class Located:
    """A value and its line. Mappings hold Located values, lists Located items."""

    value: Any
    line: int

    def fail(self, message: str) -> BadScenario:
        return BadScenario(self.line, message)

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.fail(f"{self.value!r} is not text")
        return self.value

    def seconds(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.fail(f"{self.value!r} is not a number of seconds")
        return float(self.value)

    def whole(self) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.fail(f"{self.value!r} is not a whole number")
        return self.value

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.fail(f"{self.value!r} is neither true nor false")
        return self.value

    def items(self) -> list["Located"]:
        if not isinstance(self.value, list):
            raise self.fail("a list belongs here")
        return self.value

    def fields(self, *known: str) -> dict[str, "Located"]:
        """The fields of a mapping, of which only these may be there."""
        if not isinstance(self.value, dict):
            raise self.fail(f"fields belong here, out of: {', '.join(known)}")
        for name, located in self.value.items():
            if name not in known:
                raise located.fail(f"there is no field {name!r} here; known: {', '.join(known)}")
        return self.value


def load(text: str) -> Located:
    """Raises: BadScenario."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadScenario(line, f"not YAML: {error.problem}") from error
    if node is None:
        raise BadScenario(1, "the file is empty")
    return _located(node)


def _located(node: yaml.Node) -> Located:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return Located({_key(key): _located(value) for key, value in node.value}, line)
    if isinstance(node, yaml.SequenceNode):
        return Located([_located(item) for item in node.value], line)
    constructor = yaml.SafeLoader("")
    return Located(constructor.construct_object(node, deep=True), line)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise BadScenario(node.start_mark.line + 1, "a field's name is plain text")
    return str(node.value)
