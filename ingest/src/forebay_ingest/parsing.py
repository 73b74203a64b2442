"""aiohttp's parser of HTTP, within our bounds; and the short way to read a request that came in one piece, as nearly all webhooks do.

The short way takes half the CPU: one parser reads the heads of all connections, one after the other, and no stream is made for a
body that is there already. It must never go on with a byte of one sender's request left in it: the next sender's would be read as
the rest of it. So whatever is unusual is read the other way, by a parser of the connection's own.
"""

import asyncio
from typing import Any

from aiohttp import hdrs
from aiohttp._http_parser import HttpRequestParser  # the compiled one, or no start at all
from aiohttp.http import HttpVersion11

from forebay.settings import IngestLimits

# Bytes of a request's target at most.
_MAX_TARGET = 16 * 1024
# Bytes of a head that is tried the short way: what turns out to be unusual is read twice.
_SHORT = 4 * 1024

# A head (aiohttp's RawRequestMessage), its headers as they were sent, and the body.
Whole = tuple[Any, bytes, bytes]


def made_parser(limits: IngestLimits, loop: asyncio.AbstractEventLoop, protocol: Any = None) -> HttpRequestParser:
    """A parser that has read nothing yet. Without a protocol, which hears of the flow of bodies, it reads heads alone."""
    return HttpRequestParser(
        protocol,
        loop,
        limits.body_bytes + 1,
        max_line_size=min(limits.header_bytes, _MAX_TARGET),
        max_headers=limits.header_count,
        max_field_size=limits.header_bytes,
        response_with_body=protocol is not None,
        auto_decompress=False,  # the signature is over the bytes as sent; and no zip bomb is ever opened here
        max_msg_queue_size=1,
    )


class WholeReader:
    """Reads requests that have come as a whole."""

    def __init__(self, limits: IngestLimits, loop: asyncio.AbstractEventLoop) -> None:
        self._limits, self._loop = limits, loop
        self._most = min(_SHORT, limits.header_bytes)
        self._parser = made_parser(limits, loop)

    def read(self, data: bytes) -> Whole | None:
        """The request that these bytes are; None if they are anything else, or may be."""
        end = data.find(b"\r\n\r\n") + 4
        if not 4 <= end <= self._most or end == len(data):
            return None  # behind a head that came alone is a body to come, or none
        lines, body = data[:end], data[end:]
        head = self._head(lines)
        if head is None or head.headers.get(hdrs.CONTENT_LENGTH) != str(len(body)):
            return None
        return head, lines[lines.find(b"\n") + 1 : -2], body

    def _head(self, lines: bytes) -> Any:
        """What the parser makes of a head; None if it may see in it anything else than one whole head of a plain request."""
        try:
            messages, upgraded, _ = self._parser.feed_data(lines)
        except Exception:  # noqa: BLE001  # read the other way, it is refused for the same
            messages, upgraded = (), False
        head = messages[0][0] if messages else None
        if head is None or upgraded or not _seen_whole(head, lines):
            self._parser = made_parser(self._limits, self._loop)
            return None
        if head.should_close or head.version is not HttpVersion11:  # it takes nothing more, or not as it should
            self._parser = made_parser(self._limits, self._loop)
        else:
            self._parser.message_consumed()
        return head


def _seen_whole(head: Any, lines: bytes) -> bool:
    """Whether the parser found the head's end where the lines end, so that it has nothing left of them.

    As many lines as it found headers, the request's own and the empty one: so it took none for the end before, and none for
    nothing, as it does with empty ones before a request (RFC 9112 §2.2).
    """
    return lines.count(b"\n") == len(head.raw_headers) + 2 and not (head.chunked or head.upgrade)
