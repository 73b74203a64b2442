"""What dropping duplicates costs one webhook, and what a million remembered ones take: by the endpoint's own code.

One process, no broker. CPU is the process's own, so others' work on the machine counts little. What is published to the stream is
published for hundreds of webhooks together and is part of the figure; what the broker does with it is not. Beside it the same by a Valkey
or Redis, if the machine has one (bench/valkey.py).

python -m bench.duplicates
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from multidict import CIMultiDict

from bench import valkey, verdict
from bench.verdict import Bar
from forebay.process import collect_seldom
from forebay.settings import Answer, Deduplication, IngestLimits, IngestSettings, Route, Verification
from forebay_ingest.duplicates import Duplicates
from forebay_ingest.receive import Respond
from forebay_ingest.sameness import sameness_of
from forebay_ingest.seen import Seen

MILLION = 1_000_000
MAX_IDS = Deduplication().max_ids  # the default
CALLS, ROUNDS = 20_000, 15
BODY = os.urandom(1024)
AT_ONCE = 256  # webhooks under way, and told of together

DEFINITIONS = {
    "us": "CPU microseconds that dropping duplicates adds to one new webhook, by key, with `held` ids in memory: best of rounds",
    "us_memory": "of that, asking the memory and telling it; this is what a Valkey would do instead",
    "us_read": "CPU microseconds to take over one id that another replica tells",
    "mb_per_million": "resident memory of a million ids, in 10^6 bytes; set: the same in a Python set of bytes",
    **valkey.DEFINITIONS,
}
BARS = (
    Bar(figure="CPU of a new webhook by an id", key="us.auto, id signed", sign="≤", bar=3.0, unit=" µs"),
    Bar(figure="CPU of a new webhook by a header", key="us.header", sign="≤", bar=3.0, unit=" µs"),
    Bar(figure="by an id with the body, 1 KiB", key="us.auto, id not signed", sign="≤", bar=None, unit=" µs"),
    Bar(figure="by the body alone, 1 KiB", key="us.bodyHash", sign="≤", bar=None, unit=" µs"),
    Bar(figure="memory of a million ids", key="mb_per_million.forebay", sign="≤", bar=25.0, unit=" MB"),
)


class _Memory:
    """The endpoint's memory, without the stream's sockets."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.known = seen.__contains__
        self._note = seen.note
        self._told = 0

    def confirmed(self, digest: bytes) -> None:
        self._note(digest)
        self._told += 1
        if self._told == AT_ONCE:
            self._told = 0
            self._seen.settle(time.time())


def main() -> int:
    given = verdict.options("what dropping duplicates costs")
    result: dict[str, Any] = {"definitions": DEFINITIONS, "held": MILLION, "mb_per_million": _memory()}
    seen = Seen(1e9, MAX_IDS)
    for digest in _digests(MILLION):
        seen.add(digest, 0.0)
    collect_seldom()  # as the endpoint does
    figures = {key: partial(_new_webhooks, seen, wanted) for key, wanted in _KEYS.items()}
    result["us"] = {key: round(1e6 * one, 2) for key, one in verdict.best(figures, ROUNDS).items()}
    result["us_memory"] = round(1e6 * min(_asked_and_told(seen, at * MILLION) for at in range(4, 9)), 2)
    told = b"".join(_digests(CALLS, start=3 * MILLION))
    result["us_read"] = round(1e6 * _timed(lambda: seen.add_all(told, 0.0)) / CALLS, 2)
    result["valkey"] = valkey.measure(5 * CALLS, AT_ONCE) or "neither valkey-server nor redis-server is on this machine"
    result |= verdict.circumstances(quick=given.quick, rabbitmq="none")
    return verdict.conclude(result, BARS, given.output / "duplicates.json")


_KEYS = {
    "auto, id signed": (Deduplication(), "StandardWebhooks"),
    "auto, id not signed": (Deduplication(), "GitHub"),
    "header": (Deduplication(key="header", header="X-GitHub-Delivery"), "GitHub"),
    "bodyHash": (Deduplication(key="bodyHash"), "GitHub"),
}


def _new_webhooks(seen: Seen, what: tuple[Deduplication, str]) -> float:
    """CPU seconds of one new webhook, beside publishing it."""
    wanted, provider = what
    settings = IngestSettings(
        source="payments/github", routes=(Route(queue="default"),), path="/", verification=Verification(provider=provider)
    )  # fmt: skip
    duplicates = Duplicates(sameness_of(settings, wanted), _Memory(seen), Answer(), IngestLimits())
    waiting: list[Respond] = []
    webhooks = [_webhook() for _ in range(CALLS)]

    def with_it() -> None:
        for headers, body in webhooks:
            duplicates.pass_on(headers, "/payments/github", body, _nobody, waiting.append)
            if len(waiting) == AT_ONCE:
                _confirm(waiting)

    def without() -> None:
        for _ in webhooks:
            waiting.append(_nobody)
            if len(waiting) == AT_ONCE:
                _confirm(waiting)

    return (_timed(with_it) - _timed(without)) / CALLS


def _asked_and_told(seen: Seen, start: int) -> float:
    """CPU seconds of looking a digest up in vain and remembering it."""
    memory, digests = _Memory(seen), list(_digests(CALLS, start))

    def work() -> None:
        for digest in digests:
            if not memory.known(digest):
                memory.confirmed(digest)

    return _timed(work) / CALLS


def _webhook() -> tuple[CIMultiDict[str], bytes]:
    one = os.urandom(18).hex()
    return CIMultiDict({"Host": "a", "X-GitHub-Delivery": one, "webhook-id": one}), one.encode() + BODY[36:]


def _confirm(waiting: list[Respond]) -> None:
    for respond in waiting:
        respond(b"0191e3c2-7c8e-7a54-8000-000000000000")
    waiting.clear()


def _nobody(_: object) -> None:
    """Who asked does not matter here."""


def _memory() -> dict[str, float]:
    seen, plain = Seen(1e9, MAX_IDS), set[bytes]()
    return {
        "forebay": _grown(lambda: seen.add_all(b"".join(_digests(MILLION)), 0.0)),
        "set": _grown(lambda: plain.update(_digests(MILLION))),
    }


def _grown(fill: Callable[[], object]) -> float:
    before = _resident()
    kept = fill()
    del kept
    return round((_resident() - before) / 1e6, 1)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _digests(count: int, start: int = 0) -> Iterable[bytes]:
    return (hashlib.blake2b(n.to_bytes(8, "big"), digest_size=16).digest() for n in range(start, start + count))


def _timed(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


if __name__ == "__main__":
    sys.exit(main())
