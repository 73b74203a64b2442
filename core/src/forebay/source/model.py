"""What every part of a source has in common: frozen, strict, camelCase, and faults that say what to write instead.

What is wrong with fields together, each by itself being right, a part says in `faults()`; the source as a whole refuses
what any of its parts says, so that everything is said at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError


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


def cel(*rules: tuple[str, str]) -> JsonDict:
    """CEL rules of a part for the API server, as (rule, message): the twins of what `faults` says in Python."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(key: str) -> JsonDict:
    """Marks a list whose items are told apart by one of their fields, so that several people can each apply theirs."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
