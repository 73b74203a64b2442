"""Whether a RabbitMQ answers: not an open port, but the first half of AMQP's handshake, as a client would see it."""

import asyncio
import contextlib

_PROTOCOL = b"AMQP\x00\x00\x09\x01"  # https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf §4.2.2
_START = b"\x00\x0a\x00\x0a"  # connection.start, after a method frame's type, channel and size
_EVERY_S = 0.01


async def until_amqp_answers(port: int, within_s: float = 90.0) -> None:
    """Return at the moment when 127.0.0.1:`port` answers `connection.start`. Raises TimeoutError if it never does."""
    async with asyncio.timeout(within_s):
        while not await amqp_answers(port):
            await asyncio.sleep(_EVERY_S)


async def amqp_answers(port: int) -> bool:
    """One try, of a second at most."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(_PROTOCOL)
                return (await reader.readexactly(11))[7:] == _START
            finally:
                writer.transport.abort()
    return False
