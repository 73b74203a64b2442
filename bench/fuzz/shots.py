"""What a stranger sends on one connection: a shot, drawn from a seed and its number alone. No I/O, no clock.

Half of the shots are made of requests that servers are known to misread (tests/receiving/corpus.py), or of webhooks that were
captured on their way, with their good signatures; mutated at random. The rest are floods: of headers, chunks, line breaks, pipelines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from bench.faults import webhooks
from tests.receiving.corpus import CORPUS, SPICES, edited, segments_of, split

# How a shot ends: our side is closed and the rest read; the connection is closed or reset at once; or left open, to see
# that the endpoint ends it.
Ending = Literal["half", "close", "reset", "wait"]

_PLAIN = tuple(sorted(CORPUS))
_MOST = 512 * 1024  # bytes of one shot


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One connection's worth of bytes."""

    number: int
    kind: str
    segments: tuple[bytes, ...]
    ending: Ending

    @property
    def stream(self) -> bytes:
        return b"".join(self.segments)


@dataclass(frozen=True, slots=True)
class Hand:
    """What a shot is drawn with."""

    dice: Random
    run: str  # of the webhooks that were captured
    path: bytes  # of the endpoint


def shot(seed: int, number: int, run: str, path: str) -> Shot:
    """The shot of this number; `run` and `path` are those of the webhooks that were captured."""
    dice = Random(f"{seed} {number}")
    kind = dice.choices(tuple(_KINDS), weights=[weight for weight, _ in _KINDS.values()])[0]
    stream = _KINDS[kind][1](Hand(dice, run, path.encode()))[:_MOST]
    cuts = [dice.random() for _ in range(dice.choice((0, 0, 1, 2, 5)))]
    ending: Ending = dice.choices(("half", "close", "reset", "wait"), weights=(80, 8, 8, 4))[0]
    return Shot(number=number, kind=kind, segments=split(stream, cuts), ending=ending)


# ------------------------------------------------------------------------------------------------------------ what is sent


def _known(hand: Hand) -> bytes:
    """One to three of the corpus behind one another."""
    names = hand.dice.choices(_PLAIN, k=hand.dice.choice((1, 1, 2, 3)))
    return b"".join(b"".join(segments_of(name)) for name in names).replace(b" / HTTP", b" %b HTTP" % hand.path)


def _mutated(hand: Hand) -> bytes:
    return edited(_known(hand), _edits(hand.dice))


def _captured(hand: Hand) -> bytes:
    """A webhook as it was signed, once or several times, behind or before something else."""
    one = webhooks.request(hand.run, hand.dice.choice(webhooks.CAPTURED), hand.path.decode())
    parts = [one] * hand.dice.choice((1, 1, 2, 8))
    if hand.dice.random() < 0.5:
        parts.insert(hand.dice.randrange(len(parts) + 1), _known(hand))
    return b"".join(parts)


def _forged(hand: Hand) -> bytes:
    """One whose bytes are not all as they were signed: anywhere, or in its head."""
    one = _captured(hand)
    head, gap, body = one.partition(b"\r\n\r\n")
    return edited(head, _edits(hand.dice)) + gap + body if hand.dice.random() < 0.7 else edited(one, _edits(hand.dice))


def _headers(hand: Hand) -> bytes:
    count, size = hand.dice.choice(((90, 10), (150, 10), (20_000, 4), (10, 3_000), (3, 200_000)))
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"a" * size) for number in range(count))
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: 0\r\n\r\n" % (hand.path, lines)


def _target(hand: Hand) -> bytes:
    long = hand.dice.choice((b"a", b"/", b"%2f", b"?", b"\xff")) * hand.dice.choice((1_000, 15_000, 20_000, 100_000))
    return b"POST %b/%b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % (hand.path, long)


def _chunks(hand: Hand) -> bytes:
    """Sizes that are wrong, absurd or tiny; extensions without end."""
    size = hand.dice.choice((b"1", b"0" * 5_000 + b"1", b"fffffffff", b"-1", b"1;" + b"x" * 50_000, b"1 ", b"g", b""))
    chunk = size + b"\r\nx\r\n"
    chunks = chunk * min(hand.dice.choice((1, 100, 50_000)), _MOST // len(chunk))
    return b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (hand.path, chunks)


def _pipeline(hand: Hand) -> bytes:
    line = hand.dice.choice((b"GET / HTTP/1.1", b"POST %b HTTP/1.1" % hand.path, b"HEAD / HTTP/1.1"))
    return (line + b"\r\nHost: x\r\nContent-Length: 0\r\n\r\n") * hand.dice.choice((50, 500))


def _noise(hand: Hand) -> bytes:
    return hand.dice.randbytes(hand.dice.choice((1, 10, 1_000, 65_536)))


def _nothing(hand: Hand) -> bytes:
    return hand.dice.choice((b"\r\n", b"\n", b"\0", b" ")) * hand.dice.choice((1, 1_000, 100_000))


_KINDS: dict[str, tuple[int, Callable[[Hand], bytes]]] = {
    "known": (15, _known),
    "mutated": (25, _mutated),
    "captured": (10, _captured),
    "forged": (30, _forged),
    "headers": (4, _headers),
    "target": (4, _target),
    "chunks": (4, _chunks),
    "pipeline": (2, _pipeline),
    "noise": (3, _noise),
    "nothing": (3, _nothing),
}


def _edits(dice: Random) -> Sequence[tuple[float, int, bytes]]:
    return [(dice.random(), dice.randrange(5), _spice(dice)) for _ in range(dice.randrange(1, 5))]


def _spice(dice: Random) -> bytes:
    return dice.choice(SPICES) if dice.random() < 0.8 else dice.randbytes(2)
