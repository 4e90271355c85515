"""The API servers and Tandem's own judge give one verdict on an object that stands alone.

Every field of every good example is broken in every way that its schema knows, one at a time, and
the server is asked (as a dry run) what the judge is asked. And the largest objects that the
definitions allow are stored: a rule that might be too costly is refused with the definition, one
that is too costly with the object.
"""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem_api.check.validation import parse_problems
from tandem_api.crd.crdgen import schema_of
from tandem_api.kinds.tandem import Tandem
from tandem_api.meta import ObjectKey
from tandem_api.registry import KINDS
from tandem_examples import (
    BY_RULE,
    BY_SCHEMA,
    PRODUCTION,
    TYPES,
    Bad,
    Raw,
    bad_files,
    documents,
    earlier,
    good_files,
)
from tandem_kube import MIRRORS, OWN, Cause, Invalid, KubeClient

SCHEMAS = {info.kind: schema_of(info) for info in KINDS}
PATIENCE_S = 30.0
Step = str | int


def broken(value: Any, schema: dict[str, Any], at: tuple[Step, ...] = ()) -> Iterator[Any]:
    """Pairs of a place and what to put there (None: take it away), none of which is right."""
    if schema.get("x-kubernetes-int-or-string"):
        return
    for wrong in _wrong(value, schema):
        yield at, wrong
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if "default" not in schema["properties"][name]:
                yield (*at, name), None
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if inner:
                yield from broken(child, inner, (*at, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from broken(child, schema["items"], (*at, index))


def _wrong(value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """Values that the words of the schema for one field refuse."""
    yield {"string": 7, "object": "text", "array": "text"}.get(schema.get("type", ""), "text")
    if "enum" in schema:
        yield "Nonsense"
    if "maxLength" in schema:
        yield "1" * (schema["maxLength"] + 1)
    if "pattern" in schema:
        yield "§"
        yield f"{value}\n"
    if "minimum" in schema:
        yield schema["minimum"] - (0 if schema.get("exclusiveMinimum") else 1)
    if "maximum" in schema:
        yield schema["maximum"] + (0 if schema.get("exclusiveMaximum") else 1)
    if schema.get("type") == "array":
        if schema.get("minItems"):
            yield []
        if value:
            yield [*value, value[0]]
            yield value * (schema["maxItems"] + 1)


def changed(raw: Raw, at: tuple[Step, ...], wrong: Any) -> Raw:
    made = copy.deepcopy(raw)
    place: Any = made
    for step in at[:-1]:
        place = place[step]
    if wrong is None:
        del place[at[-1]]
    else:
        place[at[-1]] = wrong
    return made


async def refusal(client: KubeClient, raw: Raw) -> str:
    """What the server says against the object; it stores nothing."""
    kind, metadata = OWN[raw["kind"]], raw["metadata"]
    path = kind.path("default" if kind.namespaced else "")
    query = {"dryRun": "All", "fieldValidation": "Ignore"}
    body = {**raw, "metadata": {"name": metadata["name"]}}
    try:
        await client._transport.call("POST", path, query=query, body=body, timeout_s=PATIENCE_S)
    except Invalid as error:
        return str(error)
    return ""


def alone(path: Path) -> list[Raw]:
    """Its objects, with one name each that nothing on the server has. There is but one Tandem."""
    return [
        {**raw, "metadata": {**raw["metadata"], "name": f"verdict-{number}"}}
        if raw["kind"] != Tandem.__name__
        else raw
        for number, raw in enumerate(documents(path))
    ]


LEAST_TRIED = {"move": 14}
"""One small object."""


@pytest.mark.parametrize("path", good_files(), ids=lambda path: path.stem)
async def test_what_one_refuses_the_other_refuses(client: KubeClient, path: Path) -> None:
    differing: list[str] = []
    tried = 0
    for raw in alone(path):
        assert await refusal(client, raw) == ""
        assert parse_problems(TYPES[raw["kind"]], raw) == []
        spec = SCHEMAS[raw["kind"]]["properties"]["spec"]
        for at, wrong in broken(raw["spec"], spec, ("spec",)):
            tried += 1
            bad = changed(raw, at, wrong)
            said = await refusal(client, bad)
            problems = parse_problems(TYPES[raw["kind"]], bad)
            if bool(said) is not bool(problems):
                differing.append(f"{raw['kind']} {at} = {wrong!r}: {said!r} but {problems}")
    print(f"{path.stem}: {tried} broken objects")
    assert tried > LEAST_TRIED.get(path.stem, 20)
    assert differing == []


ADDRESSES = (
    "198.51.100.300",
    "198.51.100.01",
    "::ffff:c633:640b",
    "fd00::1",
    "FD00::0001",
    "::1::2",
)
SIZES = ("1", "0", "01", "9" * 18, "9" * 19, "999999Ti", "9999999Ti", "9" * 15 + "k", "1m", "1.5Gi")


@pytest.mark.parametrize(
    ("kind", "at", "value"),
    [
        *(("Host", ("spec", "replicationAddress"), address) for address in ADDRESSES),
        *(("Mirror", ("spec", "volumes", 0, "size"), size) for size in SIZES),
        *(("Guest", ("spec", "domain", "memory"), size) for size in SIZES),
    ],
)
async def test_odd_values_get_one_verdict(
    client: KubeClient, kind: str, at: tuple[Step, ...], value: str
) -> None:
    raw = next(raw for raw in alone(PRODUCTION) if raw["kind"] == kind)
    bad = changed(raw, at, value)
    said, problems = await refusal(client, bad), parse_problems(TYPES[kind], bad)
    assert bool(said) is bool(problems), (said, problems)


# -- the examples that are wrong


def said_by(cause: Cause) -> str:
    """The rule's words, without the value that a server puts before them."""
    return re.sub(r'^Invalid value: ("([^"\\]|\\.)*": )?', "", cause.message)


async def put(client: KubeClient, raw: Raw) -> Raw:
    """In place of the object of that name, its status first."""
    kind, key = OWN[raw["kind"]], key_of(raw)
    found: Raw = await client.get(kind, key)
    if raw.get("status"):
        found = await client.merge_patch_status(kind, key, raw["status"])
    body = {**found, "spec": raw["spec"]}
    path = kind.path(key.namespace, key.name)
    return await client._transport.call("PUT", path, body=body, timeout_s=PATIENCE_S)


def key_of(raw: Raw) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(namespace=metadata.get("namespace", ""), name=metadata["name"])


def moved(raw: Raw, namespace: str) -> Raw:
    """To where the test is, under a name that nothing else has."""
    metadata = {"name": f"{raw['metadata']['name']}-{namespace}"[:63].rstrip("-")}
    if OWN[raw["kind"]].namespaced:
        metadata = {"name": raw["metadata"]["name"], "namespace": namespace}
    return {**raw, "metadata": metadata}


@pytest.mark.parametrize(
    "bad",
    [bad for bad in bad_files() if bad.noticed_by in (BY_SCHEMA, BY_RULE)],
    ids=lambda bad: bad.path.stem,
)
async def test_a_bad_example_is_refused(client: KubeClient, namespace: str, bad: Bad) -> None:
    """For the one thing that is wrong with it, by a rule in the words of Tandem."""
    refused: list[Cause] = []
    for raw in bad.objects:
        old, kind = earlier(raw), OWN[raw["kind"]]
        try:
            await client.create(kind, moved(old or raw, namespace), timeout_s=PATIENCE_S)
            if old is not None:
                await put(client, moved(old, namespace))
                await put(client, moved(raw, namespace))
        except Invalid as error:
            refused += error.causes
    _, field, _ = bad.problem.split(": ", maxsplit=2)
    # A list with keys says by itself that two are the same, beside the rule.
    refused = [each for each in refused if not each.message.startswith("Duplicate value")]
    assert len(refused) == 1, refused
    if bad.noticed_by == BY_RULE:
        assert bad.is_said_as(said_by(refused[0]))
        assert field.startswith(refused[0].field)


# -- the largest objects


def name(number: int) -> str:
    """As long as a name can be, and different from the others at its very end."""
    return f"n{'x' * 59}{number:03}"


def path_of(number: int) -> str:
    longest = schema_at("Mirror", "spec", "replicas", "devices")["maxLength"]
    start = "/dev/mapper/"
    return f"{start}{'x' * (longest - len(start) - 3)}{number:03}"


def schema_at(kind: str, *steps: str) -> dict[str, Any]:
    node = SCHEMAS[kind]
    for step in steps:
        node = node["properties"][step]
        node = node.get("items") or node.get("additionalProperties") or node
    return node


def largest_mirror(digit: str) -> Raw:
    """Every list and map full, every name and path as long as it can be."""
    count = SCHEMAS["Mirror"]["properties"]["spec"]["properties"]["volumes"]["maxItems"]
    devices = {name(n): path_of(n) for n in range(count)}
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Mirror",
        "metadata": {"namespace": "default", "name": "l" * 63},
        "spec": {
            "volumes": [{"name": name(n), "size": digit * 15 + "Ki"} for n in range(count)],
            "replicas": [{"host": name(900 + n), "devices": devices} for n in range(2)],
        },
    }


def largest_guest(bus: str) -> Raw:
    domain = SCHEMAS["Guest"]["properties"]["spec"]["properties"]["domain"]["properties"]
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Guest",
        "metadata": {"namespace": "default", "name": "l" * 63},
        "spec": {
            "mirror": name(1),
            "domain": {
                "cpus": 512,
                "memory": "9" * 15 + "Ki",
                "firmware": "UEFI",
                "disks": [
                    {"volume": name(n), "boot": n + 1, "bus": bus}
                    for n in range(domain["disks"]["maxItems"])
                ],
                "cdroms": [
                    {"source": path_of(n), "bus": bus if bus != "virtio" else "scsi"}
                    for n in range(domain["cdroms"]["maxItems"])
                ],
                "networks": [
                    {"bridge": "b" * 15, "mac": f"52:54:00:0B:A2:{n:02X}", "model": "m" * 40}
                    for n in range(domain["networks"]["maxItems"])
                ],
                "template": f"<domain>{' ' * (domain['template']['maxLength'] - 17)}</domain>",
            },
        },
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (largest_mirror("8"), largest_mirror("9")),
        (largest_guest("sata"), largest_guest("virtio")),
    ],
    ids=["Mirror", "Guest"],
)
async def test_the_largest_object_is_stored_and_changed(
    client: KubeClient, old: Raw, new: Raw
) -> None:
    """Rules about a change are judged on the old one beside the new, in every changed item."""
    kind = OWN[old["kind"]]
    key = ObjectKey(namespace="default", name=old["metadata"]["name"])
    assert parse_problems(TYPES[old["kind"]], old) == []
    await client.create(kind, old, timeout_s=PATIENCE_S)
    try:
        await client.merge_patch(kind, key, {"spec": new["spec"]}, timeout_s=PATIENCE_S)
        stored = await client.get(kind, key)
        assert len(str(stored["spec"])) >= len(str(new["spec"]))
    finally:
        await client.delete(kind, key, timeout_s=PATIENCE_S)


async def test_a_largest_mirror_that_shrinks_is_refused_by_its_rule(client: KubeClient) -> None:
    """And not for its cost."""
    old, new = largest_mirror("9"), largest_mirror("8")
    key = ObjectKey(namespace="default", name=old["metadata"]["name"])
    await client.create(MIRRORS, old, timeout_s=PATIENCE_S)
    try:
        with pytest.raises(Invalid) as refused:
            await client.merge_patch(MIRRORS, key, {"spec": new["spec"]}, timeout_s=PATIENCE_S)
    finally:
        await client.delete(MIRRORS, key, timeout_s=PATIENCE_S)
    assert {cause.field for cause in refused.value.causes} == {
        f"spec.volumes[{n}].size" for n in range(len(new["spec"]["volumes"]))
    }
    assert all("cannot shrink from" in cause.message for cause in refused.value.causes)
