"""The string that is signed, written as `{id}.{timestamp}.{body}` and compiled to bytes once. Decides nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from forebay.errors import SpecError

# Keys of the fields that are no header; braces can not occur in a header's name, so the two never meet.
BODY = b"{body}"
TIMESTAMP = b"{timestamp}"
ID = b"{id}"
METHOD = b"{method}"
URL = b"{url}"  # the public one, as the provider knows it
DECODED_URL = b"{decoded_url}"  # the same, with the signs in clear that HubSpot decodes before it signs
FORM = b"{form}"  # names and values of a body that is a form, sorted; the body has to be nothing else
SECRET = b"{secret}"  # what the Secret holds, where that is no key but a name the provider signs
CRC32 = b"{crc32}"  # of the body, in decimal
SNS = b"{sns}"  # names and values of a message of Amazon SNS, each on a line

# What of a request is neither a header nor its body.
LINE = (METHOD, URL, DECODED_URL, FORM, CRC32, SNS)

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110 §5.6.2

_NAMED = {
    "body": BODY, "timestamp": TIMESTAMP, "id": ID, "method": METHOD, "url": URL, "form": FORM,
    "decoded_url": DECODED_URL,
    "secret": SECRET, "crc32": CRC32, "sns": SNS,
}  # fmt: skip
_KNOWN = "{body}, {timestamp}, {id} and {header:NAME}"
# Places in a body or a token; "json?" is a text or a whole number, and nothing where there is neither.
_PLACES = ("json", "json?", "jwt")


@dataclass(frozen=True, slots=True)
class Template:
    """A signed string, ready to be filled in."""

    parts: tuple[tuple[bool, bytes], ...]  # (True, key of a field) or (False, literal text), in order

    @property
    def fields(self) -> tuple[bytes, ...]:
        """The keys that `render` needs, in order, repetitions kept."""
        return tuple(text for is_field, text in self.parts if is_field)

    @property
    def headers(self) -> tuple[bytes, ...]:
        """The signed headers, in lower case."""
        return tuple(key for key in self.fields if not key.startswith(b"{"))

    def render(self, fields: Mapping[bytes, bytes]) -> list[bytes]:
        """The signed string in pieces, so that a large body is never copied. Raises KeyError for a missing field."""
        return [fields[text] if is_field else text for is_field, text in self.parts]


@lru_cache(maxsize=256)
def compile_template(text: str) -> Template:
    """The template of a text. Literal braces are doubled. Raises SpecError."""
    try:
        pieces = list(Formatter().parse(text))
        literals = [literal.encode() for literal, *_ in pieces]
    except ValueError as error:
        raise SpecError(f"signed string {text!r}: {error}") from error
    parts: list[tuple[bool, bytes]] = []
    for literal, (_, name, spec, conversion) in zip(literals, pieces, strict=True):
        if literal:
            parts.append((False, literal))
        if name is not None:
            parts.append((True, _key(text, name, spec or "", conversion)))
    return Template(tuple(parts))


def _key(text: str, name: str, spec: str, conversion: str | None) -> bytes:
    if conversion is None:
        if name == "header" and HEADER_NAME.fullmatch(spec):
            return spec.lower().encode()
        if name in _PLACES and spec:
            return f"{name}:{spec}".encode()
        if name in _NAMED and not spec:
            return _NAMED[name]
    raise SpecError(f"signed string {text!r}: {{{name}{':' if spec else ''}{spec}}} is not known; use {_KNOWN}")
