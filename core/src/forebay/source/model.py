"""What every part of a source has in common: frozen, strict, camelCase, and faults that say what to write instead.

What is wrong with fields together, each by itself being right, a part says in `faults()`; the source as a whole refuses
what any of its parts says, so that everything is said at once. A field that the surface promises and the code does not keep yet is marked
with `Later`; whoever sets it is told so. Enabling it is taking the mark away.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Problem(NamedTuple):
    """One thing that is wrong with a part: where below it, what, and what to write instead."""

    path: tuple[str | int, ...]
    message: str
    remedy: str


class Part(BaseModel):
    """A part of a source: an object of the manifest with known fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)

    def faults(self) -> Iterator[Problem]:
        """What is wrong with these fields together, each by itself being right."""
        yield from ()

    @model_validator(mode="before")
    @classmethod
    def _as_given(cls, data: Any) -> Any:
        """Null means not given, as on the API server; JSON's lists are the tuples of a frozen value."""
        if not isinstance(data, Mapping):
            return data
        return {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if value is not None
        }


def contradictions(part: Part) -> Iterator[Problem]:
    """What `faults` finds in a part and in all parts of it."""
    yield from part.faults()
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        for step, below in _parts(value):
            for problem in contradictions(below):
                yield problem._replace(path=(field.alias or name, *step, *problem.path))


def _parts(value: Any) -> Iterator[tuple[tuple[int, ...], Part]]:
    if isinstance(value, Part):
        yield (), value
    if isinstance(value, tuple):
        yield from (((index,), item) for index, item in enumerate(value) if isinstance(item, Part))


def several(problems: Iterable[Problem]) -> PydanticCustomError:
    """The error of problems found together."""
    return PydanticCustomError("forebay", "{problems}", {"problems": tuple(problems)})


def wrong(message: str, remedy: str) -> PydanticCustomError:
    """The error of a single value."""
    return several([Problem((), message, remedy)])


@dataclass(frozen=True, slots=True)
class Later:
    """Marks a field whose behavior is not built yet; the text says what to do until then."""

    until_then: str = ""

    @property
    def remedy(self) -> str:
        return f"leave it out; {self.until_then}" if self.until_then else "leave it out"

    def _refuse(self, value: Any) -> Any:
        if value is None:
            return None
        raise wrong("not supported yet", self.remedy)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._refuse, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), LATER_KEY: self.remedy}


# How the JSON schema carries the mark to the CRD and the reference.
LATER_KEY = "x-forebay-later"


def cel(*rules: tuple[str, str]) -> JsonDict:
    """CEL rules of a part for the API server, as (rule, message): the twins of what `faults` says in Python."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(key: str) -> JsonDict:
    """Marks a list whose items are told apart by one of their fields, so that several people can each apply theirs."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
