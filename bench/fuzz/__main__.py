"""Send an endpoint whatever strangers might, beside legitimate webhooks, and see that these do not suffer.

    uv run python -m bench.fuzz [--quick] [--seed N [--shot N]]

A real RabbitMQ, an endpoint, a worker, a provider and a destination as in bench.faults; and strangers in a process of their
own: broken and smuggled requests, floods, slow clients, 10,000 idle connections. Exit status 1: a bar was missed; 2: wrong usage.
Results: bench/results/fuzz.json, with --quick .forebay/fuzz.json; after a failure the logs stay in .forebay/fuzz/SEED.
"""

import asyncio
import json
import secrets
import sys

from tools.build import BuildError

from bench.fuzz import report
from bench.fuzz.options import Options, options
from bench.fuzz.run import perform
from bench.fuzz.shots import shot
from forebay.errors import ForebayError
from forebay.process import collect_seldom


async def main(given: Options) -> int:
    collect_seldom()  # the provider is in this process, whose pauses are none of the endpoint's
    results = await perform(given)
    if given.shot is None:
        return report.conclude(results, given)
    print(f"sent: {shot(given.seed, given.shot, 'RUN', 'PATH')}")
    print(json.dumps(results["shots"], indent=1))
    return 1 if results["shots"]["found"] else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(options(secrets.randbelow(10**6)))))
    except (ForebayError, BuildError) as error:
        sys.exit(f"fuzz: {error}")
