"""An endpoint as the sender of a bench has it: one connection that is kept, as HTTP clients keep theirs."""

import asyncio

from bench.destination import length
from forebay.process import split_address


def request(path: str, key: str, body: str) -> bytes:
    """One webhook; the key is the header X-Shop."""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Shop: {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Endpoint:
    """Sends one webhook at a time. It connects when there is something to send, and anew when the connection has ended.

    An endpoint closes what says nothing for a while. Whether it had read what was on its way then nobody knows: the webhook is sent
    again, and may be delivered twice.
    """

    def __init__(self, address: str) -> None:
        self._address = split_address(address)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.repeated = 0  # webhooks that were sent again because the connection ended without an answer

    async def accepted(self, webhook: bytes) -> bool:
        """Send a webhook; whether the answer is 202. Raises OSError or IncompleteReadError if there is none the second time either."""
        try:
            return await self._answered(webhook)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            self.repeated += 1
            return await self._answered(webhook)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _answered(self, webhook: bytes) -> bool:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(webhook)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(length(head))
        return head.startswith(b"HTTP/1.1 202")
