"""One fault run: for each kind of source rounds of acts under load, the drain, and the account."""

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
from bench.faults.pace import paced
from bench.faults.rounds import Round, Share
from bench.faults.stand import Shape, Stand, loaded, stand, started
from bench.faults.sums import total
from bench.faults.toxiproxy import Toxiproxy, toxiproxy
from forebay_cli.rabbitmq import PrivateBroker

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
    accounts = {}
    async with (
        asyncio.timeout(given.minutes * 60 + len(given.rounds) * (_ROUND_S + _AROUND_S)),
        started(folder, root=root) as broker,
        toxiproxy(proxy_binary, broker.amqp_port, folder / "toxiproxy.log") as proxy,
    ):
        circumstances = verdict.circumstances(quick=not given.minutes, rabbitmq=broker.version)
        rounds = given.rounds
        for number, one in enumerate(rounds):
            share = Share(began + given.minutes * 60 - time.monotonic(), len(rounds) - number)
            accounts[one.kind.name] = await _account(given, one, broker, proxy, share)
    seconds = round(time.monotonic() - began, 1)
    results = {**total(accounts), "seed": given.seed, "seconds": seconds, **circumstances}
    if not report.missed(results, given):
        shutil.rmtree(folder, ignore_errors=True)
    return results


async def _account(given: Options, one: Round, broker: PrivateBroker, proxy: Toxiproxy, share: Share) -> dict[str, Any]:
    """What becomes of the webhooks of one source."""
    began = time.monotonic()
    folder = given.folder / one.kind.name
    folder.mkdir()
    async with stand(broker, folder, Shape(kind=one.kind, ingests=one.kind.ingests), given.seed) as made:
        watching = asyncio.create_task(report.watch(made))
        try:
            async with loaded(made):
                await _play(one, made, proxy, share)
                put_aside = int((await made.run.metrics()).total("forebay_ingest_busy_total"))
            made.ledger.phase = "drain"
            left = await drain(made)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    told, figures = account(made.ledger, made.returns), paced(made.source, one.kind.habits, made.ledger)
    findings = [*told["findings"], *figures.pop("overtakings", ())]
    return {
        **told,
        **figures,
        **({"put_aside": put_aside} if one.kind.habits.flooding else {}),
        "findings": findings,
        "left_in_queues": sum(left.values()),
        "left_by_queue": left,
        "kills": dict(made.kills),
        "seconds": round(time.monotonic() - began, 1),
    }


async def _play(one: Round, made: Stand, proxy: Toxiproxy, share: Share) -> None:
    """The acts, at least once, and again until the source has had its share of the time."""
    began, number = time.monotonic(), 0
    while True:
        dice = made.dice(f"round {number}")
        for act in one.acts:
            with made.ledger.during(act.name):
                await act.play(Cast(stand=made, proxy=proxy, dice=dice, kills=one.kills))
        number += 1
        if share.is_over(time.monotonic() - began, number):
            return
