"""Writes the CustomResourceDefinitions from the types: ``python -m tandem_api.crd.crdgen [DIR]``.

It turns pydantic's JSON schema into the structural schema that Kubernetes asks for (see "Extend
the Kubernetes API with CustomResourceDefinitions"), and adds names, columns and rules. It never
decides what a field may hold: the types and ``rules`` do. Called by people after they changed a
type, and with ``--check`` by the tests.
"""

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem_api.crd import generated
from tandem_api.crd.columns import Column
from tandem_api.crd.rules import Rule
from tandem_api.meta import GROUP, NAME_PATTERN, VERSION
from tandem_api.reasons import MAX_LENGTH, PATTERN, Reason
from tandem_api.registry import CATEGORY, KINDS, KindInfo

Schema = dict[str, Any]

HEADER = "# Written by `make crds` from the types in crds/tandem_api. Do not edit.\n"
DEFAULT_DIRECTORY = Path(__file__).parents[2]

# What a structural schema may hold of what pydantic writes, in the order in which it is written.
_KEPT = (
    "description",
    "type",
    "format",
    "nullable",
    "enum",
    "default",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-kubernetes-list-type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
)
# For a reader of pydantic's schema: these are known, and rightly left out.
_DROPPED = {"title", "$ref", "$defs", "anyOf", "const", "uniqueItems"}
_FORMATS = {"integer": "int64", "number": "double"}


# A reason is an open set to the server: a program with a new one must be able to report, and to
# change authority, while the definitions are still the old ones.
_OPEN_REASON = {
    "description": "Why, in one CamelCase word.",
    "type": "string",
    "pattern": PATTERN,
    "maxLength": MAX_LENGTH,
}


class UnsupportedSchema(Exception):
    """A type uses something that a Kubernetes schema cannot say."""


def structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """One node of pydantic's JSON schema as a structural schema, references written out.

    Raises:
        UnsupportedSchema: the node says something that would be lost.
    """
    found = _inlined(node, definitions)
    unknown = set(found) - set(_KEPT) - _DROPPED
    if unknown:
        raise UnsupportedSchema(f"{sorted(unknown)} in {found}")
    _bounds(found)
    _typed(found)
    _children(found, definitions)
    _tidy_default(found)
    return {key: found[key] for key in _KEPT if key in found}


def _inlined(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """The node with its reference or its "or null" resolved; its own words win."""
    own = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        name = str(node["$ref"]).removeprefix("#/$defs/")
        return {**_inlined(definitions[name], definitions), **own}
    if "anyOf" in node:
        return {**_union([dict(option) for option in node["anyOf"]], definitions), **own}
    return own


def _union(options: Sequence[Schema], definitions: Mapping[str, Any]) -> Schema:
    values = [option for option in options if option.get("type") != "null"]
    nullable = len(values) < len(options)
    if len(values) == 1:
        found = _inlined(values[0], definitions)
    elif {value.get("type") for value in values} == {"integer", "string"}:
        found = {"x-kubernetes-int-or-string": True}
    else:
        raise UnsupportedSchema(f"a union of {values}")
    # A nullable enum could not hold null without listing it, so an absent one is simply absent.
    return {**found, "nullable": True} if nullable and "enum" not in found else found


def _bounds(found: Schema) -> None:
    """Kubernetes keeps draft 4's form: the bound, and a flag that it is exclusive."""
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in found:
            found[plain] = found[exclusive]
            found[exclusive] = True


def _typed(found: Schema) -> None:
    if "const" in found:
        found["enum"] = [found["const"]]
    if "enum" in found:
        found.setdefault("type", "string")
    if found.get("uniqueItems"):
        found["x-kubernetes-list-type"] = "set"
    if found.get("type") in _FORMATS:
        found.setdefault("format", _FORMATS[found["type"]])
    if "type" not in found and "x-kubernetes-int-or-string" not in found:
        found["x-kubernetes-preserve-unknown-fields"] = True
    if "description" in found:
        found["description"] = inspect.cleandoc(found["description"])


def _children(found: Schema, definitions: Mapping[str, Any]) -> None:
    if "properties" in found:
        found["properties"] = {
            name: structural(child, definitions) for name, child in found["properties"].items()
        }
        found.pop("additionalProperties", None)
    elif isinstance(found.get("additionalProperties"), Mapping):
        found["additionalProperties"] = structural(found["additionalProperties"], definitions)
    elif found.get("type") == "object":
        found.pop("additionalProperties", None)
        found["x-kubernetes-preserve-unknown-fields"] = True
    if found.get("type") == "array":
        found["items"] = structural(found.get("items", {}), definitions)


def _tidy_default(found: Schema) -> None:
    """No null defaults; an object's default is empty, since its own fields have theirs."""
    if found.get("default", ...) is None:
        del found["default"]
    elif "default" in found and "properties" in found:
        found["default"] = {}


def without_defaults(node: Schema) -> Schema:
    """The schema without any default: what a status lacks was not reported, so nothing fills it."""
    return {key: _without_defaults(key, value) for key, value in node.items() if key != "default"}


def _without_defaults(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: without_defaults(child) for name, child in value.items()}
    if key in ("items", "additionalProperties"):
        return without_defaults(value)
    return value


def node_at(schema: Schema, path: str) -> Schema:
    """The node at a path such as ``spec.volumes[].size``; "" is the schema itself.

    Raises:
        UnsupportedSchema: there is none.
    """
    for part in path.replace("[]", ".[]").split(".") if path else ():
        child = schema.get("items") if part == "[]" else schema.get("properties", {}).get(part)
        if child is None:
            raise UnsupportedSchema(f"{path} names nothing")
        schema = child
    return schema


def _add_rules(schema: Schema, info: KindInfo[Any]) -> None:
    for path, key in info.list_keys.items():
        node = node_at(schema, path)
        node["x-kubernetes-list-type"] = "map"
        node["x-kubernetes-list-map-keys"] = [key]
    for path, rules in info.rules.items():
        node_at(schema, path)["x-kubernetes-validations"] = [_rule(rule) for rule in rules]


def _rule(rule: Rule) -> Schema:
    found = {"rule": rule.expression, "message": rule.message}
    if rule.said:
        found["messageExpression"] = rule.said
    if rule.field:
        found["fieldPath"] = rule.field
    return found


def schema_of(info: KindInfo[Any]) -> Schema:
    """The structural schema of a kind."""
    whole = info.type.model_json_schema(by_alias=True)
    definitions = {**whole.get("$defs", {}), Reason.__name__: _OPEN_REASON}
    parts = whole["properties"]
    schema: Schema = {
        "description": inspect.cleandoc(whole["description"]),
        "type": "object",
        "required": [name for name in whole["required"] if name != "metadata"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": _metadata_schema(),
            "spec": structural(parts["spec"], definitions),
            "status": without_defaults(structural(parts["status"], definitions)),
        },
    }
    if not schema["required"]:
        del schema["required"]
    _add_rules(schema, info)
    return schema


def _metadata_schema() -> Schema:
    """Names become DRBD resources, Leases and labels: all of them hold a DNS label."""
    name = {"type": "string", "pattern": NAME_PATTERN, "maxLength": 63}
    return {"type": "object", "properties": {"name": name}}


def _column(column: Column) -> Schema:
    found: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**found, "priority": 1} if column.wide else found


def definition(info: KindInfo[Any]) -> Schema:
    """The CustomResourceDefinition of a kind."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in info.columns],
        "schema": {"openAPIV3Schema": schema_of(info)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": info.scope,
            "names": {
                "kind": info.kind,
                "listKind": f"{info.kind}List",
                "plural": info.plural,
                "singular": info.plural.removesuffix("s"),
                "shortNames": [info.short],
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def render(kinds: Iterable[KindInfo[Any]] = KINDS) -> dict[str, str]:
    """Every file's text by its name; the kustomization makes the folder a base for others.

    Without an ending, which kustomize knows as well: `kubectl apply -f crds/` reads every *.yaml.
    """
    files = {f"{GROUP}_{info.plural}.yaml": _yaml(definition(info)) for info in kinds}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    return {**files, "Kustomization": _yaml(kustomization)}


def _yaml(value: Schema) -> str:
    return HEADER + generated.dump(value)


def differences(directory: Path) -> list[str]:
    """Lines of a unified diff from the files in a folder to what the types say; empty if equal."""
    return generated.differences(directory, render())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` say how they differ and return 1 if they do."""
    prog = "python -m tandem_api.crd.crdgen"
    return generated.main(arguments, prog, __doc__, DEFAULT_DIRECTORY, render())


if __name__ == "__main__":
    sys.exit(main())
