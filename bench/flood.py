"""Sends webhooks of one key at a steady rate, from a process of its own: what that costs does not delay whoever keeps the time.

    python -m bench.flood HOST:PORT PATH KEY RATE SECONDS

Prints how many were accepted. What is late is sent as soon as can be, so that the rate is kept on average.
"""

import asyncio
import contextlib
import sys
import time

from forebay.process import split_address

CONNECTIONS = 16
BODY = "-1"


def request(path: str, key: str, body: str) -> bytes:
    """One webhook; the key is the header X-Shop."""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Shop: {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, webhook: bytes) -> bool:
    """Send one over this connection; whether the answer is 202."""
    writer.write(webhook)
    return (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202")


async def _send(address: str, webhook: bytes, *, every_s: float, until: float) -> int:
    reader, writer = await asyncio.open_connection(*split_address(address))
    due, count = time.monotonic(), 0
    with contextlib.closing(writer):
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            count += await accepted(reader, writer, webhook)
            due += every_s
    return count


async def main(address: str, path: str, key: str, rate: float, seconds: float) -> int:
    webhook, until = request(path, key, BODY), time.monotonic() + seconds
    counts = (_send(address, webhook, every_s=CONNECTIONS / rate, until=until) for _ in range(CONNECTIONS))
    return sum(await asyncio.gather(*counts))


if __name__ == "__main__":
    address, path, key, rate, seconds = sys.argv[1:]
    print(asyncio.run(main(address, path, key, float(rate), float(seconds))))
