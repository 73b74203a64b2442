"""Asks a provider for something, the keys it publishes or a confirmation, beside the way of webhooks.

Whoever needs it waits for it, for a bounded time among a bounded number; see `waiting.py`. What URLs there are is decided elsewhere;
what addresses are dialed, here.
"""

import asyncio
import enum
import errno
import socket
import time
from collections.abc import Callable
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from forebay import addresses
from forebay.errors import SpecError
from forebay.settings import Verification
from forebay.telemetry import Log
from forebay_ingest.measures import Measures

# Seconds that a fetch may take, bytes that it may bring, fetches at once.
TIMEOUT_S = 3.0
MAX_BYTES = 256 * 1024
AT_ONCE = 4
# A URL that could not be fetched is not asked for again before so many seconds have passed.
PAUSE_S = 5.0
# URLs whose fetch failed that are remembered.
MAX_FAILED = 256


class Fetched(enum.Enum):
    """How a fetch ended."""

    HERE = "fetched"
    ABSENT = "absent"  # the provider says that there is no such thing: the request that names it is forged
    UNREACHABLE = "unreachable"  # nobody knows: the request may be good


Then = Callable[[Fetched], None]


class Fetcher:
    """Fetches each URL once at a time, and gives what it says to `take`, which raises SpecError for what is of no use."""

    def __init__(
        self, what: str, take: Callable[[str, bytes], None], settings: Verification, measures: Measures, log: Log
    ) -> None:
        self._what, self._take, self._measures, self._log = what, take, measures, log
        self._refusal = partial(
            addresses.refusal, allow_private=settings.allow_private, allow_loopback=settings.allow_loopback
        )
        self._asked: dict[str, list[Then]] = {}
        self._failed: dict[str, tuple[float, Fetched]] = {}
        self._wake = asyncio.Event()
        self._new: list[str] = []

    def ask(self, url: str, then: Then) -> None:
        """Call `then` when the fetch has ended; at once if it failed a moment ago."""
        failed = self._failed.get(url)
        if failed and time.monotonic() - failed[0] < PAUSE_S:
            then(failed[1])
        elif url in self._asked:
            self._asked[url].append(then)
        else:
            self._asked[url] = [then]
            self._new.append(url)
            self._wake.set()

    async def run(self) -> None:
        """Fetch what is asked for, until cancelled."""
        turns = asyncio.Semaphore(AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector(self._refusal), trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            while True:
                await self._wake.wait()
                self._wake.clear()
                new, self._new = self._new, []
                for url in new:
                    group.create_task(self._answer(session, url, turns))

    async def _answer(self, session: aiohttp.ClientSession, url: str, turns: asyncio.Semaphore) -> None:
        outcome = Fetched.UNREACHABLE
        try:
            async with asyncio.timeout(TIMEOUT_S), turns:
                outcome = await self._fetch(session, url)
        except TimeoutError:
            self._log.warning(f"{self._what}.unreachable", url=url, error="timed out")
        self._measures.fetched(self._what, outcome.value)
        if outcome is not Fetched.HERE:
            self._remember(url, outcome)
        for then in self._asked.pop(url):
            then(outcome)

    def _remember(self, url: str, outcome: Fetched) -> None:
        self._failed.pop(url, None)
        self._failed[url] = (time.monotonic(), outcome)
        if len(self._failed) > MAX_FAILED:
            self._failed.pop(next(iter(self._failed)))

    async def _fetch(self, session: aiohttp.ClientSession, url: str) -> Fetched:
        try:
            self._check(URL(url).host or "")
            async with session.get(URL(url, encoded=True), allow_redirects=False) as answer:
                if 400 <= answer.status < 500 and answer.status != 429:
                    self._log.warning(f"{self._what}.absent", url=url, status=answer.status)
                    return Fetched.ABSENT
                self._take(url, await _text(answer))
        except (SpecError, aiohttp.ClientError, OSError, ValueError) as error:
            self._log.warning(f"{self._what}.unreachable", url=url, error=str(error) or type(error).__name__)
            return Fetched.UNREACHABLE
        self._log.info(f"{self._what}.fetched", url=url)
        return Fetched.HERE

    def _check(self, host: str) -> None:
        """An address in place of a name is not resolved, so nothing else would look at it."""
        if not host.replace(".", "").isdigit() and ":" not in host:
            return
        reason = self._refusal(host)
        if reason:
            raise SpecError(f"{host} {reason}")


def connector(refusal: Callable[[str], str | None]) -> aiohttp.TCPConnector:
    """Connects to addresses that are not refused."""
    return aiohttp.TCPConnector(resolver=Guarded(refusal), limit=AT_ONCE)


async def _text(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status != 200:
        raise SpecError(f"HTTP {answer.status}")
    text = b""
    async for part in answer.content.iter_chunked(16 * 1024):
        text += part
        if len(text) > MAX_BYTES:
            raise SpecError(f"more than {MAX_BYTES} bytes")
    return text


class Guarded(AbstractResolver):
    """The system's resolver, without the addresses that must not be dialed."""

    def __init__(self, refusal: Callable[[str], str | None]) -> None:
        self._refusal = refusal
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        allowed = [item for item in found if not self._refusal(item["host"])]
        if not allowed:
            reasons = "; ".join(f"{item['host']} {self._refusal(item['host'])}" for item in found)
            raise OSError(errno.EACCES, reasons)
        return allowed

    async def close(self) -> None:
        await self._system.close()
