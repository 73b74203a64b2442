"""Reads a source's dead letters, each once, in order. What is not settled goes back when reading ends, however it ends.

A letter that is passed over has to stay handed out, or it would come again at once; so it occupies its place among those
that the broker hands out at a time. When all places of one connection are occupied, a further one with more is opened:
few connections whatever the number of letters, and few of their bodies in our memory at a time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from forebay.amqp.consumer import Consumer, Message
from forebay.amqp.link import Link, resolve
from forebay.errors import Rejected, Unavailable
from forebay.topology import Names
from forebay_cli.dead.letter import Letter, read

FIRST_PLACES, GROWTH, MOST_PLACES = 500, 4, 50_000
IDLE_S = 2.0  # without a letter for so long, somebody else has got the rest
PATIENCE_S = 10.0  # for a connection, and for an answer of the broker


Settle = Callable[[], None]


class Reader:
    """The dead letters that were there when it was opened; `total` is their number, `seen` how many came so far."""

    def __init__(self, url: str, names: Names, stack: AsyncExitStack) -> None:
        self.total = self.seen = 0
        self._url, self._names, self._stack = url, names, stack
        self._pages: list[_Page] = []
        self._places = FIRST_PLACES

    async def start(self) -> None:
        """Raises Unavailable if the broker can not be reached, Rejected if it has no such queue."""
        page = await self._turn_page(resume=False)
        self.total = await page.count()
        page.consumer.resume_consuming()
        if not self.total:
            # Right after a start of the broker a queue that has no leader yet counts as empty; a consumer it answers once it has.
            await page.registered()
            self.total = await page.count() + page.arrived

    async def letters(self) -> AsyncIterator[tuple[Letter, Settle]]:
        """Each letter, with the way to settle it: calling it makes the broker forget the letter."""
        while self.seen < self.total:
            page = self._pages[-1]
            if page.held >= page.places:
                page = await self._turn_page()
            message = await page.next()
            if message is None:
                return
            self.seen += 1
            letter = read(message.message_id, message.content_type, message.headers, message.body, self._names)
            yield letter, partial(page.settle, message)

    async def settled(self) -> None:
        """Return when the broker has heard of everything that was settled."""
        await asyncio.sleep(0)  # acknowledges leave at the end of a turn of the loop
        for page in self._pages:
            await page.count()  # an answer comes after all that was said before

    async def _turn_page(self, *, resume: bool = True) -> "_Page":
        page = _Page(self._url, self._names.dead, self._places)
        self._places = min(self._places * GROWTH, MOST_PLACES)
        await self._stack.enter_async_context(page.opened())
        self._pages.append(page)
        if resume:
            page.consumer.resume_consuming()
        return page


@asynccontextmanager
async def reader(url: str, names: Names) -> AsyncIterator[Reader]:
    """A reader that has started."""
    async with AsyncExitStack() as stack:
        opened = Reader(url, names, stack)
        await opened.start()
        yield opened


class _Page:
    """One connection, which is handed out so many letters at a time."""

    def __init__(self, url: str, queue: str, places: int) -> None:
        self.places = places
        self.held = 0  # letters that were passed on and not settled
        self._queue = queue
        self._closed = ""  # what the broker said when it closed the channel
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self.consumer = Consumer(
            lambda: url, name="forebay dlq", queue=queue, prefetch=places, on_message=self._arrived.put_nowait
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await self.consumer.stop_consuming()  # not yet: first they are counted
        work = asyncio.create_task(self.consumer.run())
        try:
            await connected(self.consumer.link)
            if (channel := self.consumer.link.channel) is not None:
                channel.add_on_close_callback(self._on_close)
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    @property
    def arrived(self) -> int:
        """How many letters have come and were not passed on yet."""
        return self._arrived.qsize()

    async def registered(self) -> None:
        """Return when the queue has answered the consumer."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.consumer.consuming:
                self._check()
                await asyncio.sleep(0.01)

    async def count(self) -> int:
        """How many letters nobody was handed out."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        channel = self.consumer.link.channel
        if channel is not None:
            channel.queue_declare(
                self._queue, passive=True, callback=lambda frame: resolve(answer, frame.method.message_count)
            )
        async with asyncio.timeout(PATIENCE_S):
            while not answer.done():
                self._check()
                await asyncio.wait({answer}, timeout=0.05)
        return answer.result()

    async def next(self) -> Message | None:
        """The next letter, None if no more come. Raises Unavailable if the connection was lost."""
        for _ in range(int(IDLE_S / 0.1)):
            self._check()
            with contextlib.suppress(TimeoutError):
                message = await asyncio.wait_for(self._arrived.get(), 0.1)
                self.held += 1
                return message
        return None

    def settle(self, message: Message) -> None:
        self._check()
        message.ack()
        self.held -= 1

    def _on_close(self, _channel: Any, error: BaseException) -> None:
        self._closed = str(error)

    def _check(self) -> None:
        """A lost connection has given back everything: what would come now are the same letters again."""
        link = self.consumer.link
        if link.up and self.consumer.generation == 1:
            return
        if "404" in self._closed:
            raise Rejected(f"the broker has no queue {self._queue}; check --source and the virtual host of --broker")
        raise Unavailable(
            f"the connection to the broker ended ({link.error or self._closed or 'it was lost'}); run it again for the rest"
        )


async def connected(link: Link) -> None:
    """Until a link is up. Raises Unavailable, saying why, if it can not be had."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not link.up:
        late = asyncio.get_running_loop().time() > deadline
        if late or (link.attempts >= 3 and link.error):
            raise Unavailable(
                f"the broker can not be reached: {link.error or 'no answer'}; check --broker, or whether it runs"
            )
        await asyncio.sleep(0.02)
