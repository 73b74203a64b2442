"""One fault run: rounds of acts under load, the drain, and the account."""

import asyncio
import shutil
import time
from contextlib import suppress
from typing import Any

from tools.build import built
from tools.rabbitmq_root import root_of

from bench import verdict
from bench.faults import report
from bench.faults.account import account
from bench.faults.acts import Cast
from bench.faults.drain import drain
from bench.faults.options import Options
from bench.faults.stand import Shape, Stand, loaded, stand, started
from bench.faults.toxiproxy import Toxiproxy, toxiproxy

_AROUND_S = 300.0  # for what is not acts: the start, the drain, the end
_ROUND_S = 480.0  # one round on a machine that others use too


async def perform(given: Options) -> dict[str, Any]:
    """Play it all. Returns the results; raises ForebayError or BuildError if something could not be had."""
    proxy_binary = built("toxiproxy-server")
    root = root_of(given.suite) if given.suite else None
    folder = given.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"faults: seed {given.seed} (again with --seed {given.seed}); logs in {folder}", flush=True)
    began = time.monotonic()
    async with (
        asyncio.timeout(given.minutes * 60 + _ROUND_S + _AROUND_S),
        started(folder, root=root) as broker,
        stand(broker, folder, Shape(copies=given.copies), given.seed) as made,
        toxiproxy(proxy_binary, broker.amqp_port, folder / "toxiproxy.log") as proxy,
    ):
        results = await _account(given, made, proxy, began)
    if not report.missed(results, given):
        shutil.rmtree(folder, ignore_errors=True)
    return results


async def _account(given: Options, made: Stand, proxy: Toxiproxy, began: float) -> dict[str, Any]:
    circumstances = verdict.circumstances(quick=not given.minutes, rabbitmq=made.broker.version)
    watching = asyncio.create_task(report.watch(made))
    try:
        async with loaded(made):
            await _play(given, made, proxy, began)
        made.ledger.phase = "drain"
        left = await drain(made)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return {
        **account(made.ledger, made.returns),
        "left_in_queues": sum(n for queue, n in left.items()),
        "left_by_queue": left,
        "kills": dict(made.kills),
        "seed": given.seed,
        "seconds": round(time.monotonic() - began, 1),
        **circumstances,
    }


async def _play(given: Options, made: Stand, proxy: Toxiproxy, began: float) -> None:
    """Rounds, until the time has passed; at least one."""
    number = 0
    while True:
        dice = made.dice(f"round {number}")
        for act in given.acts:
            with made.ledger.during(act.name):
                await act.play(Cast(stand=made, proxy=proxy, dice=dice))
        number += 1
        if time.monotonic() - began >= given.minutes * 60:
            return
