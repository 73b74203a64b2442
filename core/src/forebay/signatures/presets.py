"""The schemes of known providers, one TOML file each in `providers/`, read once and checked as they are read."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from forebay.errors import SpecError
from forebay.signatures.confidence import Confidence
from forebay.signatures.handshake import Handshake
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Published, Scheme, Timestamp, Unit
from forebay.signatures.senders import Senders


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A request that the provider publishes as an example, or expects in the tests of a library of its own."""

    source: str
    secret: str
    headers: tuple[str, ...] = ()  # "Name: value"
    body: str = ""
    now: float = 0.0  # the time it was signed at, in seconds since 1970
    method: str = "POST"
    url: str = ""  # for schemes that sign it

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The headers' names and values."""
        return [(name, value) for name, _, value in (header.partition(": ") for header in self.headers)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is known of a provider's webhooks, and where from."""

    name: str  # as it is written in a manifest; found in any case
    scheme: Scheme
    sources: tuple[str, ...]  # where the scheme is published
    checked: date  # when these were last read
    confidence: Confidence
    setup: str  # where a person finds the secret at the provider, in a sentence or two
    handshakes: tuple[Handshake, ...] = ()  # what it asks the endpoint beside its webhooks
    senders: Senders | None = None  # the addresses it sends from, where it publishes them
    vectors: tuple[Vector, ...] = ()


def preset(name: str) -> Preset:
    """The preset of a provider, whatever the case of its name. Raises SpecError, which names those that are known."""
    for known in presets().values():
        if known.name.lower() == name.lower():
            return known
    raise SpecError(f"provider {name!r} is not known; use one of {', '.join(presets())}")


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by their name, in alphabetical order."""
    files = (resources.files(__package__) / "providers").iterdir()
    known = [parse_preset(file.read_text("utf-8")) for file in files if file.name.endswith(".toml")]
    return {item.name: item for item in sorted(known, key=lambda item: item.name.lower())}


def parse_preset(text: str) -> Preset:
    """The preset a TOML text describes. Raises SpecError with what is wrong in it."""
    try:
        document = tomllib.loads(text)
        known = Preset(
            name=_value("name", document["name"]),
            scheme=_scheme(_value("scheme", document["scheme"])),
            sources=_value("sources", document["sources"]),
            checked=_value("checked", document["checked"]),
            confidence=_value("confidence", document["confidence"]),
            setup=_value("setup", document["setup"]),
            handshakes=tuple(_handshake(table) for table in document.get("handshake", ())),
            senders=_senders(document["senders"]) if "senders" in document else None,
            vectors=tuple(_vector(table) for table in document.get("vector", ())),
        )
    except KeyError as error:
        raise SpecError(f"a preset needs {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise SpecError(f"the preset can not be read: {error}") from error
    if unknown := document.keys() - _TOP:
        raise SpecError(f"the preset can not be read: {', '.join(sorted(unknown))} is none of {', '.join(_TOP)}")
    return known


def _scheme(table: dict[str, Any]) -> Scheme:
    values = {key: _value(key, value) for key, value in table.items()}
    for name, kind in (("timestamp", Timestamp), ("published", Published)):
        if name in values:
            values[name] = kind(**{key: _value(key, value) for key, value in values[name].items()})
    return Scheme(**values)


def _handshake(table: dict[str, Any]) -> Handshake:
    return Handshake(**{key: _value(key, value) for key, value in table.items()})


def _senders(table: dict[str, Any]) -> Senders:
    return Senders(**{key: _value(key, value) for key, value in table.items()})


def _vector(table: dict[str, Any]) -> Vector:
    return Vector(**{key: _value(key, value) for key, value in table.items()})


_TOP = ("name", "sources", "checked", "confidence", "setup", "scheme", "handshake", "senders", "vector")
_ENUMS = {
    "confidence": Confidence,
    "algorithm": Algorithm,
    "encoding": Encoding,
    "key_encoding": KeyEncoding,
    "unit": Unit,
}
_LISTS = ("sources", "when", "hosts", "hashes", "issuers", "claims", "fixed", "networks")
_KINDS = {
    "scheme": dict, "timestamp": dict, "published": dict, "checked": date, "tolerance": int | float, "verified": bool, "longest": int, "body_is_free": bool, "status": int, "now": int | float,
}  # fmt: skip  # all others are texts


def _value(key: str, value: Any) -> Any:
    """A value as the dataclasses hold it; they check what it says, this only what kind of thing it is."""
    if key in _ENUMS:
        return _ENUMS[key](value)
    if key in _LISTS or key.endswith("headers"):
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise TypeError(f"{key} is not a list of texts")
        return tuple(value)
    kind = _KINDS.get(key, str)
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {value!r}, not {getattr(kind, '__name__', 'number')}")
    return value
