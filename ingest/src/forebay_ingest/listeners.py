"""Where connections come in: several queues at one address, each with several listeners."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

from forebay.process import shown_address, split_address

_BACKLOG = 4096  # connections the kernel holds for us during a burst
# Sixteen connections are accepted in one turn of the loop. uvloop accepts one a turn and listener, and under load a turn answers a
# hundred requests: of two thousand that connect at once the last would wait for all the work of the first. The kernel gives a
# connection to one of the queues, which wakes its listeners: with one queue a single connection woke all sixteen, which was half
# of what it cost; with sixteen the fullest one would hold a fifth more of a burst than the others.
_QUEUES, _LISTENERS = 4, 4


class Listeners:
    """All listeners of one endpoint; `connect` makes the protocol of each connection they accept."""

    def __init__(self, connect: Callable[[], asyncio.Protocol]) -> None:
        self._connect = connect
        self._queues: list[asyncio.Server] = []  # one for each queue
        self._others: list[asyncio.Server] = []  # the further listeners of each

    @property
    def servers(self) -> list[asyncio.Server]:
        """Each of them accepts connections, one in a turn of the loop."""
        return self._queues + self._others

    async def open(self, address: str) -> str:
        """Listen there; returns the address with the port that the kernel chose, if it was left to it.

        Raises `OSError` where the address is in use or not of this machine.
        """
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        first = await loop.create_server(self._connect, host, port, backlog=_BACKLOG)
        self._queues = [first, *[await self._listen(twin) for twin in _twins(first, _QUEUES - 1)]]
        self._others = [
            await self._listen(again) for queue in self._queues for again in _duplicates(queue, _LISTENERS - 1)
        ]
        return shown_address(first)

    async def close(self) -> None:
        """Stop when nobody waits in the queues any more: the kernel resets whom nobody has accepted."""
        loop = asyncio.get_running_loop()
        queues = [queue for server in self._queues for queue in _duplicates(server)]
        for server in self.servers:
            server.close()
        for queue in queues:
            with contextlib.closing(queue), contextlib.suppress(BlockingIOError):
                queue.setblocking(False)
                while True:
                    accepted, _ = queue.accept()
                    await loop.connect_accepted_socket(self._connect, accepted)

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(self._connect, sock=listener, backlog=_BACKLOG)


def _duplicates(server: asyncio.Server, times: int = 1) -> Iterator[socket.socket]:
    """The sockets a server listens on, under numbers of their own."""
    for listener in server.sockets * times:
        yield socket.socket(fileno=os.dup(listener.fileno()))


def _twins(server: asyncio.Server, count: int) -> Iterator[socket.socket]:
    """Further sockets at the addresses that a server listens on.

    It was the first there, and alone: whoever else starts with the same address is told that it is in use.
    """
    for listener in _duplicates(server):
        with contextlib.closing(listener):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for _ in range(count):
                twin = socket.socket(listener.family, listener.type)
                # Its connections inherit that, too: a successor can listen while some of them are left.
                twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if twin.family == socket.AF_INET6:
                    twin.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                twin.bind(listener.getsockname())
                yield twin
