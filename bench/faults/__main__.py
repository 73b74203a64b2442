"""Kill, hang and cut everything under load, and account for every webhook: none that was acknowledged is lost.

    uv run python -m bench.faults [--long | --minutes N] [--seed N] [--kind KIND] [--only ACT] [--rabbitmq SUITE]

A real RabbitMQ, and for each kind of source two endpoints, two workers, a provider that writes down each answer and a destination
that writes down each delivery. Exit status 1: a bar was missed; 2: wrong usage. Results: bench/results/faults.json
after a long run of everything, else .forebay/faults.json; after a failure the processes' logs stay in .forebay/faults/SEED.
"""

import asyncio
import secrets
import signal
import sys
from typing import Any

from tools.build import BuildError

from bench.faults import report
from bench.faults.options import Options, options
from bench.faults.run import perform
from forebay.errors import ForebayError

STOPPED = 130  # the exit status of what was told to end


async def main(given: Options) -> int:
    told = _end_when_told()
    try:
        results = await perform(given)
    except asyncio.CancelledError:
        if told.is_set():
            return STOPPED
        raise
    return report.conclude(results, given)


def _end_when_told() -> asyncio.Event:
    """Cancel the task that calls on SIGINT and SIGTERM, so that it ends what it has started."""
    task, told = asyncio.current_task(), asyncio.Event()
    assert task is not None

    def end(task: "asyncio.Task[Any]", number: signal.Signals) -> None:
        told.set()
        print(f"\nfaults: ends all that it has started ({number.name})", file=sys.stderr)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, task, number)
    return told


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(options(secrets.randbelow(10**6)))))
    except (ForebayError, BuildError) as error:
        sys.exit(f"faults: {error}")
