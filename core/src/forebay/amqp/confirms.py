"""Reads the broker's confirms, at a tenth of the cost of pika's general decoder.

Every other frame goes to pika as it came and in its turn: a returned message is known before its confirm is told.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection

from forebay.amqp.frames import ACK_BEGINS
from forebay.amqp.reader import RECEIVE, end_of_frame, hand_to_pika, take_over
from forebay.amqp.writer import plain_socket

_TAG_AND_MULTIPLE = struct.Struct(">QB").unpack_from


class ConfirmReader:
    """Takes the place of pika's frame loop on one connection, whose one channel publishes.

    `on_ack` is called with the delivery tag of each `basic.ack`, and whether it stands for all tags up to it.
    """

    def __init__(self, connection: AsyncioConnection, on_ack: Callable[[int, int], None]) -> None:
        self._connection: Any = connection
        self._on_ack = on_ack
        self._socket = plain_socket(connection)
        self._feeding = False
        self._rest = take_over(connection, self.feed)

    def look(self) -> None:
        """Read what has come by now. An end or error of the socket is left to pika, which meets it next."""
        if self._socket is None or self._feeding:
            return
        try:
            data = self._socket.recv(RECEIVE)
        except OSError:  # mostly: nothing has come
            return
        try:
            self.feed(data)
        except Exception as error:  # noqa: BLE001  # whoever publishes has nothing to do with it; pika, too, gives such a stream up
            context = {"message": "the broker's confirms could not be read", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            self._connection._transport._initiate_abort(error)  # noqa: SLF001

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._feeding = True
        buffer = self._rest + data if self._rest else data
        self._connection.bytes_received += len(data)  # pika's heartbeats watch it
        offset, size = 0, len(buffer)
        while end := end_of_frame(buffer, offset, size):
            if buffer.startswith(ACK_BEGINS, offset):
                self._on_ack(*_TAG_AND_MULTIPLE(buffer, offset + len(ACK_BEGINS)))
            else:
                hand_to_pika(self._connection, buffer[offset:end])
            offset = end
        self._rest = buffer[offset:]
        self._feeding = False  # after an error it stays: what follows is out of step, and nobody looks for it
