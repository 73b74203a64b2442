"""The path and query of each request where the destination's URL depends on the webhook. Pure.

Whatever a stranger sent, host and number of path segments stay what the manifest says (but for {path}, which brings its own): a
value is percent-encoded whole, and one that a server could take for a step up the path is refused.
"""

from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote, urlsplit

from forebay.envelope import Envelope
from forebay.errors import SpecError
from forebay.placeholders import PLACEHOLDER, header_of, misplaced

PATH_SAFE, QUERY_SAFE = "/%!$&'()*+,;=:@~-._", "/%!$&'()*+,;=:@~-._?"
# Characters of a request's path and query: servers take 8 KiB for the whole line.
LONGEST = 7000

Value = Callable[[Envelope], str]


class Unfit(Exception):
    """A webhook for which there is no URL; the text says why."""


class Target:
    """Makes the path and query for a webhook. Raises SpecError for a URL with a placeholder in the wrong place."""

    def __init__(self, url: str, source_path: str) -> None:
        for message, remedy in misplaced(url):
            raise SpecError(f"destination.url: {message}; {remedy}")
        parts = urlsplit(url)
        self._source_path = source_path.rstrip("/")
        self._path = self._pieces(parts.path or "/", PATH_SAFE)
        self._query = self._pieces(parts.query, QUERY_SAFE)

    def of(self, envelope: Envelope) -> str:
        """Raises Unfit."""
        path, query = _joined(self._path, envelope), _joined(self._query, envelope)
        target = f"{path}?{query}" if query else path
        if len(target) > LONGEST:
            raise Unfit(f"the URL would have {len(target)} characters after the host, and {LONGEST} is the most")
        return target

    def _pieces(self, text: str, safe: str) -> tuple[Value, ...]:
        """Literals and placeholders in turn."""
        parts = PLACEHOLDER.split(text)
        return tuple(
            self._value(part) if index % 2 else _literal(quote(part, safe=safe)) for index, part in enumerate(parts)
        )

    def _value(self, name: str) -> Value:
        header = header_of(name)
        if header is not None:
            return lambda envelope: _whole(name, _header(envelope, header), "latin-1")
        match name:
            case "path":
                return lambda envelope: _rest(envelope.target.partition("?")[0], self._source_path)
            case "query":
                return lambda envelope: quote(envelope.target.partition("?")[2], safe=QUERY_SAFE, encoding="latin-1")
            case "eventType":
                return lambda envelope: _whole(name, envelope.event_type, "utf-8")
            case _:
                return lambda envelope: _whole(name, envelope.id, "utf-8")


def _joined(pieces: Iterable[Value], envelope: Envelope) -> str:
    return "".join([piece(envelope) for piece in pieces])


def _literal(text: str) -> Value:
    return lambda _: text


def _header(envelope: Envelope, wanted: str) -> str | None:
    return next((value for name, value in envelope.headers if name.lower() == wanted.lower()), None)


def _whole(name: str, value: str | None, encoding: str) -> str:
    """A value as one piece of a path or query."""
    if not value:
        raise Unfit(f"destination.url asks for {{{name}}}, and the webhook has none")
    if not value.strip("."):
        raise Unfit(f"its {name} is {value[:40]!r}, which would be a step up the path of destination.url")
    return quote(value, safe="", encoding=encoding, errors="replace")


def _rest(path: str, source_path: str) -> str:
    """What the webhook's path has after the source's own, without the slash in between."""
    rest = path.removeprefix(source_path).lstrip("/") if path.startswith(f"{source_path}/") else ""
    for segment in rest.replace("\\", "/").split("/"):
        plain = unquote(unquote(segment))
        if (plain and not plain.strip(".")) or "/" in plain or "\\" in plain:
            raise Unfit(f"its path has a segment {segment[:40]!r}, which could lead out of the path of destination.url")
    return quote(rest, safe=PATH_SAFE, encoding="latin-1")
