"""Sends webhooks of one key at a steady rate, from a process of its own: what that costs does not delay whoever keeps the time.

    python -m bench.flood HOST:PORT PATH KEY RATE SECONDS

Prints how many were accepted. What is late is sent as soon as can be, so that the rate is kept on average.
"""

import asyncio
import contextlib
import sys
import time

from bench.endpoint import Endpoint, request

CONNECTIONS = 16
BODY = "-1"


async def _send(address: str, webhook: bytes, *, every_s: float, until: float) -> int:
    due, count = time.monotonic(), 0
    with contextlib.closing(Endpoint(address)) as endpoint:
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            count += await endpoint.accepted(webhook)
            due += every_s
    return count


async def main(address: str, path: str, key: str, rate: float, seconds: float) -> int:
    webhook, until = request(path, key, BODY), time.monotonic() + seconds
    counts = (_send(address, webhook, every_s=CONNECTIONS / rate, until=until) for _ in range(CONNECTIONS))
    return sum(await asyncio.gather(*counts))


if __name__ == "__main__":
    address, path, key, rate, seconds = sys.argv[1:]
    print(asyncio.run(main(address, path, key, float(rate), float(seconds))))
