"""The webhooks of a fault run: numbered, signed as GitHub signs, recognizable wherever they come out. No I/O, no clock."""

import hashlib
import hmac
import re

EVENT = "push"
HOST = "forebay.test"
SECRET = b"a-secret-that-only-the-fault-run-knows"
# Webhooks that strangers have seen on their way and send again, with whatever else they think of; the ledger has no line for them.
CAPTURED = range(10**9, 10**9 + 12)
POISON_EVERY, POISON_AT = 200, 13  # one in so many is one the destination refuses for good

_PADDING = "x" * 900
_MARK = re.compile(rb'^\{"webhook": "([0-9a-f]+)-([0-9]+)"')


def is_poison(number: int) -> bool:
    """Whether the destination refuses this webhook for good, so that it must become a dead letter."""
    return number % POISON_EVERY == POISON_AT


def body(run: str, number: int) -> bytes:
    return b'{"webhook": "%b-%d", "padding": "%b"}' % (run.encode(), number, _PADDING.encode())


def request(run: str, number: int, path: str, host: str = HOST) -> bytes:
    """The whole request, as GitHub would send it."""
    content = body(run, number)
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: GitHub-Hookshot/f00d\r\n"
        f"Content-Type: application/json\r\nX-GitHub-Event: {EVENT}\r\nX-GitHub-Delivery: {run}-{number}\r\n"
        f"X-Hub-Signature-256: {signature(content)}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def signature(content: bytes) -> str:
    return "sha256=" + hmac.digest(SECRET, content, hashlib.sha256).hex()


def number_of(run: str, content: bytes) -> int | None:
    """The number of the webhook with this body; None if it is none of this run's, or not byte for byte as it was sent."""
    mark = _MARK.match(content)
    if mark is None or mark[1].decode() != run:
        return None
    number = int(mark[2])
    return number if content == body(run, number) else None
