"""A definition's structural schema: unknown fields pruned, defaults filled in, the rest judged.

Only what changed is looked at: a value that is the very same object as before (``patches`` keeps
it so) was shaped and judged when it came in, and a real server spares it, too. Shaping gives back
the value itself where there is nothing to do. Called by ``handler``; rules in CEL are in ``rules``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sim.apiserver.failures import cause

Cause = dict[str, str]
ROOT = ("apiVersion", "kind", "metadata")
_ABSENT: Any = object()
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


class Node:
    """One place of a schema. ``rules`` are its x-kubernetes-validations, as they are written."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.type: str = schema.get("type", "")
        self._python = _TYPES.get(self.type, (object,))
        self.nullable = bool(schema.get("nullable"))
        self.rules: tuple[Mapping[str, str], ...] = tuple(
            schema.get("x-kubernetes-validations", ())
        )
        self.properties = {n: Node(s) for n, s in schema.get("properties", {}).items()}
        inner = schema.get("additionalProperties")
        self.additional = Node(inner) if isinstance(inner, Mapping) else None
        self.items = Node(schema["items"]) if "items" in schema else None
        within = [*self.properties.values(), *(n for n in (self.additional, self.items) if n)]
        self.has_rules_within: bool = any(n.rules or n.has_rules_within for n in within)
        self.has_numbers_within: bool = self.type == "number" or any(
            n.has_numbers_within for n in within
        )
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))
        self.list_keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        self.default = schema.get("default", _ABSENT)
        self._preserves = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        self._defaults = {
            name: child.default
            for name, child in self.properties.items()
            if child.default is not _ABSENT
        }
        self._limits = {name: schema[name] for name in _LIMITS if name in schema}
        self._enum = schema.get("enum")
        self._pattern = schema.get("pattern", "")
        # Go's $ is the very end of a text, Python's may be before a last newline.
        self._regex = re.compile(re.sub(r"\$$", r"\\Z", self._pattern)) if self._pattern else None

    def child(self, name: str) -> "Node | None":
        return self.properties.get(name) or self.additional

    # -- shaping

    def shaped(self, value: Any, old: Any = _ABSENT) -> Any:
        """Without what the schema does not know, and with defaults."""
        if value is old:
            return value
        if isinstance(value, dict) and self.type == "object":
            return self._shaped_object(value, old if isinstance(old, dict) else {})
        if isinstance(value, list) and self.items is not None:
            made = [
                self.items.shaped(item, before)
                for item, before in zip(value, self._counterparts(value, old), strict=True)
            ]
            return value if all(a is b for a, b in zip(made, value, strict=True)) else made
        return value

    def _shaped_object(self, value: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        same = True
        for name, inner in value.items():
            if inner is old.get(name, _ABSENT):  # by far the most
                made[name] = inner
                continue
            node = self.child(name)
            if node is None:
                if self._preserves:
                    made[name] = inner
                else:
                    same = False
            elif inner is None and not node.nullable and node.default is not _ABSENT:
                same = False  # a null where none may be is taken for absent
            else:
                made[name] = node.shaped(inner, old.get(name, _ABSENT))
                same = same and made[name] is inner
        for name, default in self._defaults.items():
            if name not in made:
                made[name] = self.properties[name].shaped(default)
                same = False
        return value if same else made

    def shaped_root(self, value: dict[str, Any], old: Any) -> dict[str, Any]:
        """A whole object: what every object has stands apart from the schema."""
        before = old if isinstance(old, dict) else {}
        parts = _without(value, ROOT)
        shaped = self._shaped_object(parts, before)
        return value if shaped is parts else {**{k: value[k] for k in ROOT if k in value}, **shaped}

    # -- judging

    def problems(self, value: Any, old: Any, path: str) -> Iterator[Cause]:
        """What is wrong with a shaped value."""
        if value is old:
            return
        if value is None:
            if not self.nullable:
                yield _type_problem(path, self.type, "null")
            return
        if not isinstance(value, self._python) or (
            isinstance(value, bool) and self.type in ("integer", "number")
        ):
            yield _type_problem(path, self.type, _type_name(value))
            return
        yield from self._own_problems(value, path)
        if isinstance(value, dict):
            yield from self._of_object(value, old if isinstance(old, dict) else {}, path)
        elif isinstance(value, list) and self.items is not None:
            for n, before in enumerate(self._counterparts(value, old)):
                yield from self.items.problems(value[n], before, f"{path}[{n}]")

    def problems_of_root(self, value: dict[str, Any], old: Any) -> Iterator[Cause]:
        """Of a whole object. Its metadata are judged with its first version."""
        before = old if isinstance(old, dict) else {}
        if old is _ABSENT and "metadata" in self.properties:
            yield from self.properties["metadata"].problems(value["metadata"], None, "metadata")
        yield from self._of_object(_without(value, ROOT), before, "")

    def _of_object(
        self, value: dict[str, Any], old: Mapping[str, Any], path: str
    ) -> Iterator[Cause]:
        for name in self.required:
            if name not in value:
                yield cause(_below(path, name), "Required value", "FieldValueRequired")
        for name, inner in value.items():
            before = old.get(name, _ABSENT)
            node = None if inner is before else self.child(name)
            if node is not None:
                yield from node.problems(inner, before, _below(path, name))

    def _own_problems(self, value: Any, path: str) -> Iterator[Cause]:
        shown = f'"{value}"' if isinstance(value, str) else value
        if self._enum is not None and value not in self._enum:
            known = ", ".join(f'"{each}"' for each in self._enum)
            said = f"Unsupported value: {shown}: supported values: {known}"
            yield cause(path, said, "FieldValueNotSupported")
        if self._regex is not None and not self._regex.search(value):
            yield cause(
                path, f"Invalid value: {shown}: {path} in body should match '{self._pattern}'"
            )
        for name, limit in self._limits.items():
            if self._over(name, limit, value):
                said = f"Invalid value: {shown}: {_LIMITS[name].format(limit)}"
                yield cause(path, said, _REASONS.get(name, "FieldValueInvalid"))
        if self.list_keys and isinstance(value, list):
            yield from self._doubles(value, path)

    def _over(self, name: str, limit: Any, value: Any) -> bool:
        match name:
            case "minimum":
                exclusive = self._limits.get("exclusiveMinimum")
                return bool(value < limit or (exclusive and value == limit))
            case "maximum":
                exclusive = self._limits.get("exclusiveMaximum")
                return bool(value > limit or (exclusive and value == limit))
            case "minLength" | "minItems" | "minProperties":
                return bool(len(value) < limit)
            case "maxLength" | "maxItems" | "maxProperties":
                return bool(len(value) > limit)
        return False

    def _doubles(self, value: list[Any], path: str) -> Iterator[Cause]:
        seen = set()
        for n, item in enumerate(value):
            if not isinstance(item, dict):
                continue
            key = tuple(item.get(name) for name in self.list_keys)
            if key in seen:
                shown = json.dumps(
                    dict(zip(self.list_keys, key, strict=True)), separators=(",", ":")
                )
                yield cause(f"{path}[{n}]", f"Duplicate value: {shown}", "FieldValueDuplicate")
            seen.add(key)

    # -- lists

    def _counterparts(self, value: list[Any], old: Any) -> list[Any]:
        """For each item the old one that is the same thing: only lists with keys can tell."""
        if not isinstance(old, list):
            return [_ABSENT] * len(value)
        same = {id(item): item for item in old}
        return [same.get(id(item), _ABSENT) for item in value]

    def counterpart(self, item: Any, old: Any) -> Any:
        """The item of the old list with the same keys, for rules about a change."""
        if not self.list_keys or not isinstance(old, list) or not isinstance(item, dict):
            return _ABSENT
        keys = [item.get(name) for name in self.list_keys]
        found = (each for each in old if [each.get(name) for name in self.list_keys] == keys)
        return next(found, _ABSENT)


_LIMITS: Mapping[str, str] = {
    "minimum": "should be greater than or equal to {}",
    "exclusiveMinimum": "{}",
    "maximum": "should be less than or equal to {}",
    "exclusiveMaximum": "{}",
    "minLength": "should be at least {} chars long",
    "maxLength": "may not be more than {} bytes",
    "minItems": "should have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "should have at least {} properties",
    "maxProperties": "must have at most {} items",
}


def _without(value: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if k not in names}


_REASONS: Mapping[str, str] = {
    "maxLength": "FieldValueTooLong",
    "maxItems": "FieldValueTooMany",
    "maxProperties": "FieldValueTooMany",
}


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _type_name(value: Any) -> str:
    for name, types in (("boolean", (bool,)), *_TYPES.items()):
        if isinstance(value, types):
            return name
    return "null"


def _type_problem(path: str, wanted: str, found: str) -> Cause:
    said = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return cause(path, said, "FieldValueTypeInvalid")


ABSENT = _ABSENT
