"""The scalars of a manifest: durations, quantities, numbers and text of a known shape. Reads nothing, changes nothing.

Each is an annotation that validates, says in a sentence what it takes, and describes itself to the CRD.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from forebay.source.model import cel, wrong

# As Gateway API writes them (GEP-2257), and days, because retries and retention take days.
DURATION = r"([0-9]{1,5}(ms|s|m|h|d)){1,4}"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

QUANTITY = r"[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?"
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

_SHOWN = 60  # characters of a wrong value that a message repeats


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) else repr(value)
    quoted = repr(text) if isinstance(value, str) else text
    return quoted if len(quoted) <= _SHOWN else f"{quoted[:_SHOWN]}…"


def seconds(text: str) -> float:
    """The seconds of "1h30m". Raises ValueError."""
    if not re.fullmatch(DURATION, text):
        raise ValueError(text)
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h|d)", text))


def duration(value: float) -> str:
    """The text of so many seconds: 5400 is "1h30m"."""
    left, parts = round(value * 1000), []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(_UNITS[unit] * 1000))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def size(value: Any) -> int:
    """The bytes of "1Mi" or 1048576. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,15})(k|M|G|T|Ki|Mi|Gi|Ti)?", str(value))
    if found is None or not isinstance(value, (str, int)):
        raise ValueError(value)
    return int(found[1]) * _FACTORS[found[2] or ""]


def quantity(value: int) -> str:
    """The text of so many bytes, in the largest binary unit that divides it: 1048576 is "1Mi"."""
    unit = next((u for u in ("Ti", "Gi", "Mi", "Ki") if value and value % _FACTORS[u] == 0), "")
    return f"{value // _FACTORS[unit]}{unit}"


_INT_OR_STRING: JsonSchemaValue = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}


@dataclass(frozen=True, slots=True)
class Span:
    """A duration between two others, both allowed; the value is its seconds."""

    shortest: str
    longest: str

    def read(self, value: Any) -> float:
        remedy = f"write a duration such as 30s, 5m, 1h30m or 3d, from {self.shortest} to {self.longest}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise wrong(f"{value} has no unit", remedy)
        try:
            result = seconds(value)
        except (ValueError, TypeError):
            raise wrong(f"{shown(value)} is not a duration", remedy) from None
        if not seconds(self.shortest) <= result <= seconds(self.longest):
            raise wrong(f"{value} is too {'short' if result < seconds(self.shortest) else 'long'}", remedy)
        return result

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.plain_serializer_function_ser_schema(duration)
        return core_schema.no_info_plain_validator_function(self.read, serialization=text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        limits = f"{self.shortest} to {self.longest}"
        return {"type": "string", "pattern": f"^{DURATION}$", "maxLength": 32, LIMITS_KEY: limits}


_AS_QUANTITY = "quantity(string(self))"


@dataclass(frozen=True, slots=True)
class Bytes:
    """A quantity of bytes between two others, both allowed; the value is a number of bytes."""

    least: str
    most: str

    def read(self, value: Any) -> int:
        remedy = f"write bytes such as 512Ki, 1Mi or 1048576, from {self.least} to {self.most}"
        try:
            result = size(value)
        except ValueError:
            raise wrong(f"{shown(value)} is not a quantity of bytes", remedy) from None
        if not size(self.least) <= result <= size(self.most):
            raise wrong(f"{value} is too {'little' if result < size(self.least) else 'much'}", remedy)
        return result

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.plain_serializer_function_ser_schema(quantity)
        return core_schema.no_info_plain_validator_function(self.read, serialization=text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            **_INT_OR_STRING,
            "pattern": f"^{QUANTITY}$",
            "maxLength": 18,
            LIMITS_KEY: f"{self.least} to {self.most}",
            **cel(
                (f"{_AS_QUANTITY}.compareTo(quantity('{self.least}')) >= 0", f"less than {self.least}"),
                (f"{_AS_QUANTITY}.compareTo(quantity('{self.most}')) <= 0", f"more than {self.most}"),
            ),
        }


@dataclass(frozen=True, slots=True)
class Factor:
    """A number from one to a hundred, written as 2 or "1.5": Kubernetes' API has no floats."""

    def read(self, value: Any) -> float:
        remedy = 'write a whole number or a quoted fraction such as "1.5", from 1 to 100'
        if isinstance(value, float):
            raise wrong(f"{value} is a bare fraction, which Kubernetes' API does not take", remedy)
        if isinstance(value, bool) or not re.fullmatch(FACTOR, str(value)):
            raise wrong(f"{shown(value)} is not a factor", remedy)
        if not 1 <= float(value) <= 100:
            raise wrong(f"{value} is out of range", remedy)
        return float(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.plain_serializer_function_ser_schema("{:g}".format)
        return core_schema.no_info_plain_validator_function(self.read, serialization=text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            **_INT_OR_STRING,
            "pattern": f"^{FACTOR}$",
            "maxLength": 8,
            LIMITS_KEY: "1 to 100",
        }


FACTOR = r"[0-9]{1,3}(\.[0-9]{1,3})?"


@dataclass(frozen=True, slots=True)
class Shape:
    """Text that matches a pattern (of RE2, for the API server) from its first character to its last."""

    pattern: str
    says: str  # what it is, for a person: "a path such as /github"
    longest: int
    shortest: int = 1
    or_number: bool = False  # a whole number is taken for its digits

    def read(self, value: Any) -> str:
        if self.or_number and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            quoted = (
                f'write "{shown(value)}", in quotes' if isinstance(value, (bool, int, float)) else f"write {self.says}"
            )
            raise wrong(f"{shown(value)} is {kind(value)}, not text", quoted)
        if len(value) > self.longest:
            raise wrong(f"{len(value)} characters are too many", f"write {self.says} of at most {self.longest}")
        if len(value) < self.shortest or not re.fullmatch(self.pattern, value, re.DOTALL):
            raise wrong(f"{shown(value)} does not fit here", f"write {self.says}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        minimum = {"minLength": self.shortest} if self.shortest else {}
        sort = _INT_OR_STRING if self.or_number else {"type": "string"}
        return {**sort, "pattern": f"^{self.pattern}$", "maxLength": self.longest, **minimum}


# How the JSON schema carries the bounds of durations and quantities to the reference.
LIMITS_KEY = "x-forebay-limits"

_KINDS = {
    bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", tuple: "a list", dict: "an object",
}  # fmt: skip


def kind(value: Any) -> str:
    """The sort of a value in a manifest's words."""
    return _KINDS.get(type(value), "null" if value is None else type(value).__name__)


_ALPHANUMERIC = "lower-case letters, digits and -"

SourceName = Annotated[
    str, Shape(r"[a-z]([-a-z0-9]*[a-z0-9])?", f"a name of {_ALPHANUMERIC} that starts with a letter", 40)
]
Namespace = Annotated[str, Shape(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", f"a namespace: {_ALPHANUMERIC}", 63)]
QueueName = Annotated[str, Shape(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", f"a short name of {_ALPHANUMERIC}", 15)]
ObjectName = Annotated[
    str,
    Shape(
        r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        "an object's name: lower-case letters, digits, - and dots",
        253,
    ),
]
DataKey = Annotated[str, Shape(r"[-._a-zA-Z0-9]+", "a key of the Secret: letters, digits, -, _ and dots", 253)]
HeaderName = Annotated[
    str, Shape(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a header's name such as X-Event-Type, without the colon", 128)
]
HeaderValue = Annotated[str, Shape(r"[ -~]*", "printable ASCII text on one line", 4096, shortest=0)]
Line = Annotated[str, Shape(r"[^\x00-\x1f\x7f]+", "text on one line", 256)]
Text = Annotated[str, Shape(r"(.|\n)*", "text", 16384, shortest=0)]
JsonPath = Annotated[
    str,
    Shape(r"[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*", "a dotted path into the JSON body such as data.object.type", 256),
]
