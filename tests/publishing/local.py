"""The real publisher without a broker: what it writes stays here, and the test says how each publish ends."""

import asyncio
from collections.abc import Callable
from typing import Any

from pika import spec

from forebay.amqp.publisher import Outcome, Publisher
from tests.publishing.wire import Published, published


class LocalPublisher(Publisher):
    """Ends each publish with `outcome` in the loop's next turn; None leaves them waiting until the test speaks."""

    def __init__(self, url: Callable[[], str] = str, *, name: str = "test", **bounds: Any) -> None:
        super().__init__(url, name=name, **bounds)
        self.outcome: Outcome | None = Outcome.CONFIRMED
        self.written = bytearray()
        self._writer: Any = self
        self.link.connection = self.link.channel = object()  # what is up, as far as anybody asks

    async def run(self) -> None:
        """Only the clock of the confirms; there is nothing to connect to."""
        await self._watch_clock()

    def write(self, publish: bytes) -> bool:
        """In place of the writer to the socket. Never are there many at once."""
        self.written += publish
        if self.outcome is not None:
            asyncio.get_running_loop().call_soon(self._finish, self._next_tag - 1, self.outcome)
        return False

    @property
    def published(self) -> list[Published]:
        return published(bytes(self.written))

    # What a broker says, on the present connection unless it is on another.

    def confirms(self, tag: int, *, multiple: bool = False, of: object = None) -> None:
        self._on_confirm(of or self.link.connection, Outcome.CONFIRMED, tag, multiple)

    def refuses(self, tag: int, *, multiple: bool = False, of: object = None) -> None:
        self._on_nack(of or self.link.connection, Frame(spec.Basic.Nack(tag, multiple)))

    def returns(self, message_id: str, *, of: object = None) -> None:
        properties = spec.BasicProperties(message_id=message_id)
        self._on_return(of or self.link.connection, None, None, properties, b"")


class Frame:
    """A method frame as pika hands it out."""

    def __init__(self, method: object) -> None:
        self.method = method
