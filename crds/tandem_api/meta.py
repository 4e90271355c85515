"""Building blocks of the kinds: the base model, metadata, conditions and quantities.

Called by the modules that define a kind. Nothing here knows a particular kind.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

GROUP = "tandem.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/stop-before-delete"

# DNS-1123 label: what Kubernetes accepts as the name of a thing that other names are built from.
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]

# The subset of Kubernetes quantities that makes sense for memory and disks: whole numbers.
# None is so large that its bytes do not fit into 63 bits: an API server could not compare them.
QUANTITY_PATTERN = (
    r"^[1-9]([0-9]{0,17}|[0-9]{0,14}(Ki|k)|[0-9]{0,11}(Mi|M)|[0-9]{0,8}(Gi|G)|[0-9]{0,5}(Ti|T))$"
)

_UNIT_BYTES: Mapping[str, int] = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "": 1,
}


@lru_cache(maxsize=1024)
def _bytes(text: str) -> int:
    """Few are written, and these are read with each version of an object."""
    if not re.fullmatch(QUANTITY_PATTERN, text):
        raise ValueError(f"{text} is no quantity; write one such as 8Gi")
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * _UNIT_BYTES[unit]


class Quantity(str):
    """A number of bytes as a person writes it, such as ``8Gi``, and read once.

    It is written and compared as text: ``1Gi`` and ``1024Mi`` are not equal, their bytes are.

    Raises:
        ValueError: it does not match QUANTITY_PATTERN.
    """

    bytes: int

    def __new__(cls, text: str) -> Self:
        found = super().__new__(cls, text)
        found.bytes = _bytes(text)
        return found

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        text = core_schema.str_schema(pattern=QUANTITY_PATTERN, max_length=20)
        written = core_schema.plain_serializer_function_ser_schema(
            str.__str__, return_schema=core_schema.str_schema()
        )
        return core_schema.no_info_after_validator_function(cls, text, serialization=written)


class Model(BaseModel):  # noqa: PLW1641 - pydantic gives what is frozen a __hash__
    """A frozen value, camelCase on the wire. Unknown fields are ignored, as a server prunes them.

    What a user wrote but no type knows is caught by the server's schema (or reported by the
    controller, which sees the raw object); a type that refused unknown fields could not read an
    object that a newer version wrote.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )

    def __eq__(self, other: object) -> bool:
        """Values of one type with the same fields; much quicker than pydantic's own, which has to
        reckon with private and with extra fields.
        """
        if self is other:
            return True
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's: nothing is validated. Several times as quick, since it need not reckon
        with private and with extra fields either.
        """
        if deep or not update:
            return super().model_copy(update=update, deep=deep)
        copy = object.__new__(type(self))
        object.__setattr__(copy, "__dict__", {**self.__dict__, **update})
        object.__setattr__(copy, "__pydantic_fields_set__", self.model_fields_set | update.keys())
        object.__setattr__(copy, "__pydantic_extra__", None)
        object.__setattr__(copy, "__pydantic_private__", None)
        return copy

    def wire(self) -> dict[str, object]:
        """The value as the API stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Problem(NamedTuple):
    """One thing that is wrong with an object: where, and what to do about it.

    ``field`` is a camelCase path as a person writes it, such as ``spec.replicas[0].host``.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidFields(ValueError):
    """Raised by a type's own checks. The fields of its problems are relative to that type."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ObjectMeta(Model):
    """The part of Kubernetes metadata that Tandem reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    # Made by a factory, in a fraction of the time in which pydantic copies a default.
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None

    @property
    def revision(self) -> int:
        """resourceVersion as a number, to tell newer from older copies; 0 if it is none.

        Kubernetes calls it opaque; it is etcd's revision, and since 1.35 comparable by contract.
        """
        return int(self.resource_version) if self.resource_version.isdigit() else 0


class ObjectKey(NamedTuple):
    """Names one object of a kind. Cluster-scoped objects have an empty namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Condition(Model):
    """One Kubernetes condition. In Tandem, True is always the good state."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str | None = None


class Resource(Model):
    """What all kinds have in common: their metadata."""

    metadata: ObjectMeta

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> Self:
        """Read an object as the API gives it.

        Raises:
            pydantic.ValidationError: a field is missing or wrong; it names the field.
        """
        return cls.model_validate(raw)


def repeated(values: Sequence[str]) -> list[str]:
    """The values that are there more than once, each named once, sorted."""
    return sorted({value for value in values if values.count(value) > 1})


def condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of that type is there, and True."""
    found = condition(conditions, kind)
    return found is not None and found.status == "True"


def moment(text: str | None) -> datetime | None:
    """A moment with its time zone, or None for anything else: anybody may have written it."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def by_the_wall_s(since: str | None, until: str) -> float:
    """Between two RFC 3339 moments, less than nothing if they are the other way round. Wall clocks
    are set, and differ: nothing is to wait for this alone.

    Nothing if one cannot be read.
    """
    begun, now = moment(since), moment(until)
    return (now - begun).total_seconds() if begun is not None and now is not None else 0.0


def sentence(problems: tuple[object, ...]) -> str:
    return "; ".join(str(problem) for problem in problems)
