"""What aiohttp's parser tells of a request's head (its RawRequestMessage), read for our purposes. Changes nothing."""

from typing import Any

from aiohttp import hdrs
from aiohttp.http_exceptions import LineTooLong

from forebay_ingest.answers import BAD_REQUEST, HEADERS_TOO_LARGE, Refusal


def target_of(head: Any) -> str:
    """Path and query exactly as requested, also of a request in absolute form (RFC 9112 §3.2.2)."""
    path: str = head.path
    return path if path.startswith("/") else str(head.url.raw_path_qs)


def media_type(headers: Any) -> str:
    """The content type without parameters, in lower case."""
    value: str = headers.get(hdrs.CONTENT_TYPE, "")
    return value.partition(";")[0].strip().lower()


def block_of(head: Any) -> bytes:
    """The headers as one block, put together again from what the parser has found."""
    return b"".join([b"%b: %b\r\n" % item for item in head.raw_headers])


def size_of(head: Any) -> int:
    """The bytes of a head as it was sent, give or take white space."""
    lines = sum(len(name) + len(value) + 4 for name, value in head.raw_headers)
    return int(lines + len(head.method) + len(head.path) + 13)


def refusal_of(error: Exception) -> Refusal:
    """What a parser's complaint is answered."""
    too_large = isinstance(error, LineTooLong) or "Too many headers" in str(error)
    return HEADERS_TOO_LARGE if too_large else BAD_REQUEST
