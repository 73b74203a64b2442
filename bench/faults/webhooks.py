"""The webhooks of a fault run: numbered, signed as GitHub signs, recognizable wherever they come out. No I/O, no clock."""

import hashlib
import hmac
import re
from dataclasses import dataclass

EVENT = "push"
HOST = "forebay.test"
SECRET = b"a-secret-that-only-the-fault-run-knows"
# Webhooks that strangers have seen on their way and send again, with whatever else they think of; the ledger has no line for them.
CAPTURED = range(10**9, 10**9 + 12)
POISON_EVERY, POISON_AT = 200, 13  # one in so many is one the destination refuses for good
LARGE_EVERY, LARGE_AT = 40, 7  # one in so many does not fit into a queue, where a provider has such
KEYS = 100  # shops that the webhooks are of
KEY_HEADER = "X-Shop"

_OTHERS_EVERY = 4  # where a shop floods, one in so many is another's
_PADDING, _LARGE_PADDING = b"x" * 900, b"x" * 300_000
_MARK = re.compile(rb'^\{"(webhook|large)": "([0-9a-f]+)-([0-9]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What is special about a provider's webhooks."""

    flooding: bool = False  # most of them are of one shop
    large: bool = False  # some do not fit into a queue
    copies: bool = False  # many are sent again


USUAL = Habits()


def is_poison(number: int) -> bool:
    """Whether the destination refuses this webhook for good, so that it must become a dead letter."""
    return number % POISON_EVERY == POISON_AT


def is_large(number: int, habits: Habits) -> bool:
    """Whether its body does not fit into a queue. No such one is refused for good: a dead letter has no body to compare."""
    return habits.large and number % LARGE_EVERY == LARGE_AT


def key(number: int, habits: Habits = USUAL) -> str:
    """The shop that it is of."""
    others = not habits.flooding or number % _OTHERS_EVERY == 0
    return f"shop-{number // (_OTHERS_EVERY if habits.flooding else 1) % KEYS}" if others else "flood"


def body(run: str, number: int, *, large: bool = False) -> bytes:
    what, padding = (b"large", _LARGE_PADDING) if large else (b"webhook", _PADDING)
    return b'{"%b": "%b-%d", "padding": "%b"}' % (what, run.encode(), number, padding)


def request(run: str, number: int, path: str, host: str = HOST, habits: Habits = USUAL) -> bytes:
    """The whole request, as GitHub would send it."""
    content = body(run, number, large=is_large(number, habits))
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: GitHub-Hookshot/f00d\r\n"
        f"Content-Type: application/json\r\nX-GitHub-Event: {EVENT}\r\nX-GitHub-Delivery: {delivery_id(run, number)}\r\n"
        f"{KEY_HEADER}: {key(number, habits)}\r\n"
        f"X-Hub-Signature-256: {signature(content)}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def signature(content: bytes) -> str:
    return "sha256=" + hmac.digest(SECRET, content, hashlib.sha256).hex()


def number_of(run: str, content: bytes) -> int | None:
    """The number of the webhook with this body; None if it is none of this run's, or not byte for byte as it was sent."""
    mark = _MARK.match(content)
    if mark is None or mark[2].decode() != run:
        return None
    number = int(mark[3])
    return number if content == body(run, number, large=mark[1] == b"large") else None


def delivery_id(run: str, number: int) -> str:
    """What the provider calls it."""
    return f"{run}-{number}"
