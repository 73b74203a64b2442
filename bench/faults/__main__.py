"""Kill, hang and cut everything under load, and account for every webhook: none that was acknowledged is lost.

    uv run python -m bench.faults [--long | --minutes N] [--seed N] [--only ACT] [--rabbitmq SUITE]

A real RabbitMQ, two endpoints, two workers, a provider that writes down each answer and a destination that writes down
each delivery. Exit status 1: a bar was missed; 2: wrong usage. Results: bench/results/faults.json; after a failure the
processes' logs stay in .forebay/faults/SEED.
"""

import asyncio
import contextlib
import secrets
import signal
import sys

from tools.build import BuildError

from bench.faults import report
from bench.faults.options import Options, options
from bench.faults.run import perform
from forebay.errors import ForebayError


async def main(given: Options) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results = await perform(given)
    return report.conclude(results, given)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(options(secrets.randbelow(10**6)))))
    except (ForebayError, BuildError) as error:
        sys.exit(f"faults: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        with contextlib.suppress(OSError):
            print("\nfaults: stopped; everything that was started has ended", file=sys.stderr)
        sys.exit(130)
