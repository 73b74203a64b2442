"""Writes prepared frames to pika's connection, many in one system call.

Here, in `reader` and in `confirms` we reach below pika's public face; `check_pika` refuses a version that was not tried.
"""

import asyncio
import socket
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

TRIED_WITH = "1.4."

# Bytes that do not wait for the end of the turn. Of hundreds of webhooks in one turn the broker stores the first while the last are
# still being read: 8 % more a second at 256 connections, where the two had taken turns. In pieces of half the size both work more:
# each is a system call here, and wakes the broker's reader, its channel and its log there.
_MANY = 48 * 1024


def check_pika() -> None:
    """Raises RuntimeError for a pika whose inside may differ from what `FrameWriter` relies on."""
    if not pika.__version__.startswith(TRIED_WITH):
        raise RuntimeError(
            f"pika {pika.__version__} was not tried with Forebay's prepared frames; install pika {TRIED_WITH}x"
        )


def plain_socket(connection: AsyncioConnection) -> socket.socket | None:
    """The connection's socket; None over TLS, where pika's transport has to do all reading and writing."""
    transport: Any = connection._transport  # noqa: SLF001
    sock = transport._sock  # noqa: SLF001
    return sock if type(sock) is socket.socket else None


class FrameWriter:
    """Joins what is written within one turn of the loop, as long as it is not much."""

    def __init__(self, connection: AsyncioConnection) -> None:
        check_pika()
        self._connection = connection
        self._transport: Any = connection._transport  # noqa: SLF001
        # A plain socket is tried directly first, which saves the registration of a writer with the selector for each turn.
        self._socket = plain_socket(connection)
        self._loop = asyncio.get_running_loop()
        self._chunks: list[bytes] = []
        self._size = 0  # of these

    def write(self, frames: bytes) -> bool:
        """Write complete frames; they leave when the present turn of the loop ends, or when many have come together.

        True where many had: the turn is a long one.
        """
        if not self._chunks:
            self._loop.call_soon(self.flush)
        self._chunks.append(frames)
        self._size += len(frames)
        if self._size < _MANY:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Send what is there. Does nothing on a connection that is gone: its tenant hears of that by `on_down`."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if not data or not self._connection.is_open:
            return
        self._connection.bytes_sent += len(data)
        rest = data[self._send(data) :] if self._socket is not None else data
        if rest:
            self._connection._adapter_emit_data(rest)  # noqa: SLF001

    def buffered(self) -> int:
        """Bytes that the socket did not take yet."""
        return int(self._transport.get_write_buffer_size())

    def _send(self, data: bytes) -> int:
        if self._socket is None or self.buffered():
            return 0
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return 0  # pika's own write meets the same error and closes the connection in its own way
