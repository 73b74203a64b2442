"""Sends webhooks to an endpoint: so many, so many at once, so many a second; and counts the answers."""

import asyncio
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from forebay_cli.sampling import Sample

TIMEOUT_S = 60.0
_AT_ONCE = 2**16  # bytes; larger bodies leave in pieces, between those of others


@dataclass(slots=True)
class Tally:
    """What became of what was sent."""

    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # no answer, by its cause
    explanations: dict[int, str] = field(default_factory=dict)  # what the first refusal of each status said
    latencies: list[float] = field(default_factory=list)  # seconds, of all answers
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        return self.statuses.total() + self.errors.total()

    @property
    def accepted(self) -> int:
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)

    def quantile(self, share: float) -> float:
        """Seconds that this share of the answers took at most."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def send(
    url: str,
    samples: Iterator[Sample],
    *,
    concurrency: int,
    rate: float | None,
    sent: Callable[[], None],
) -> Tally:
    """Send every sample, at most `rate` a second; `sent` is called after each. A cancellation ends it between two."""
    tally, began = Tally(), time.monotonic()
    pace = _Pace(rate)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False) as session:

        async def sender() -> None:
            for sample in samples:
                await pace.turn()
                await _post(session, url, sample, tally)
                sent()

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(sender())
    tally.seconds = time.monotonic() - began
    return tally


class _Pace:
    """Turns at even distances."""

    def __init__(self, rate: float | None) -> None:
        self._distance = 1 / rate if rate else 0.0
        self._next = time.monotonic()

    async def turn(self) -> None:
        now = time.monotonic()
        due = max(self._next, now - self._distance)
        self._next = due + self._distance
        if due > now:
            await asyncio.sleep(due - now)


async def _post(session: aiohttp.ClientSession, url: str, sample: Sample, tally: Tally) -> None:
    began = time.monotonic()
    try:
        # As it is written: a query's %2F must not become a slash.
        body = io.BytesIO(sample.body) if len(sample.body) > _AT_ONCE else sample.body
        async with session.post(URL(url, encoded=True), data=body, headers=sample.headers) as answer:
            text = await answer.text(errors="replace")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        tally.errors["no answer in time" if isinstance(error, TimeoutError) else _cause(error)] += 1
        return
    tally.latencies.append(time.monotonic() - began)
    tally.statuses[answer.status] += 1
    if answer.status >= 300:
        tally.explanations.setdefault(answer.status, _explanation(text))


def _explanation(text: str) -> str:
    """What a refusal says: the detail of an RFC 9457 problem, or the beginning of whatever it is."""
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, TypeError, KeyError):
        return " ".join(text.split())[:200]


def _cause(error: Exception) -> str:
    number = getattr(getattr(error, "os_error", error), "errno", None)
    return (os.strerror(number) if number else str(error) or type(error).__name__)[:200]
