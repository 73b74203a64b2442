"""What a fault run stands on: a private RabbitMQ, a source's processes, a provider, a destination, and the ledger they fill.

All of it is real, on 127.0.0.1, and ends with the run, however that ends. The processes are LocalRun's: one that is killed
is started again, as a kubelet would do.
"""

import asyncio
import contextlib
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench.faults import webhooks
from bench.faults.account import Return
from bench.faults.destination import Destination
from bench.faults.handshake import until_amqp_answers
from bench.faults.kinds import PLAIN, Kind
from bench.faults.ledger import Ledger, Window
from bench.faults.sender import Address, Load
from forebay.management import Management
from forebay.process import split_address
from forebay_cli.local.replica import Replica
from forebay_cli.local.run import Component, LocalRun
from forebay_cli.local.topology import Broker
from forebay_cli.ports import free_port
from forebay_cli.rabbitmq import PrivateBroker
from forebay_ingest.segments import FOLDER, is_segment

VHOST = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much of everything there is."""

    kind: Kind = PLAIN
    ingests: int = 2
    workers: int = 2
    connections: int = 40
    environ: Mapping[str, str] = field(default_factory=dict)  # of the processes


class Stand:
    """Everything that stands, and the handles by which the acts break it."""

    def __init__(self, broker: PrivateBroker, folder: Path, shape: Shape, seed: int) -> None:
        self.broker = broker
        self.folder = folder
        self.shape = shape
        self.seed = seed
        self.ledger = Ledger(secrets.token_hex(4))
        self.destination = Destination(self.ledger, free_port(), self.dice("destination"))
        self.bodies = folder / "bodies"
        self.source = shape.kind.source(self.destination.url, self.bodies)
        self._deploys = 0
        self.run = self._make(broker)
        self.kills: Counter[str] = Counter()
        self.returns: list[Return] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def dice(self, whose: str) -> Random:
        """Randomness of one's own, so that what one act draws changes nothing for another."""
        return Random(f"{self.seed} {self.shape.kind.name} {whose}")

    def endpoints(self) -> list[Address]:
        """Where a Service would send to: the endpoints that are ready, or all of them where none is."""
        ingests = self.run.ingests
        chosen = [one for one in ingests if one.ready] or ingests
        return [split_address(one.launch.env["FOREBAY_LISTEN"]) for one in chosen]

    @property
    def buffered(self) -> bool:
        """Whether anything is in the outage buffer."""
        return any(is_segment(path.name) for path in (self.bodies / FOLDER).rglob("*"))

    def management(self) -> Management:
        return self.broker.management()

    # ------------------------------------------------------------------------------------------- processes

    async def kill(self, component: Component, dice: Random) -> None:
        """SIGKILL one of the processes that run; waits for one if none does."""
        self.kill_one(component, await self._running(component, dice))

    def kill_one(self, component: Component, replica: Replica) -> None:
        """SIGKILL this process, if it runs."""
        self.kills[component] += replica.pid is not None
        replica.kill(signal.SIGKILL)

    async def terminate(self, replica: Replica, within_s: float = 30.0) -> None:
        """SIGTERM one process, and return when its successor is ready."""
        restarts = replica.restarts
        replica.kill(signal.SIGTERM)
        async with asyncio.timeout(within_s):
            while replica.restarts == restarts or not replica.ready:  # a process tells no event
                await asyncio.sleep(0.05)

    async def deploy(self, broker: Broker) -> None:
        """Start all processes anew against this broker, turn the provider to them, and only then end the old ones."""
        new, old = self._make(broker), self.run
        try:
            await new.start()
        except BaseException:
            await new.stop()
            raise
        self.run = new
        await old.stop()

    def _make(self, broker: Broker) -> LocalRun:
        self._deploys += 1
        return LocalRun(
            self.source,
            {"github": {"secret": webhooks.SECRET}},
            broker=broker,
            ingests=self.shape.ingests,
            workers=self.shape.workers,
            folder=self.folder / f"run-{self._deploys}",
            environ={"FOREBAY_LOG_LEVEL": "warning", **self.shape.environ},
        )

    async def _running(self, component: Component, dice: Random) -> Replica:
        while True:
            replicas = self.run.ingests if component == "ingest" else self.run.workers
            running = [one for one in replicas if one.pid is not None]
            if running:
                return dice.choice(running)
            await asyncio.sleep(0.05)

    # ------------------------------------------------------------------------------------------- the broker

    async def crash_broker(self, *, away_s: float = 0.0) -> None:
        """SIGKILL the broker, and start it again."""
        await self.broker.kill()
        self.kills["broker"] += 1
        await self._come_back("crash", away_s)

    async def restart_broker(self) -> None:
        """Stop the broker in order, and start it again."""
        await self.broker.stop()
        await self._come_back("restart", 0.0)

    async def _come_back(self, cause: str, away_s: float) -> None:
        gone = self.now
        await asyncio.sleep(away_s)
        self._close(f"broker {cause}", gone)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.broker.start())
            await until_amqp_answers(self.broker.amqp_port)
            back, witnesses = self.now, self._pids()
            await self._until_acked(since=gone)
        self.returns.append(Return(cause=cause, gone=gone, back=back, witnessed=bool(witnesses & self._pids())))

    def _pids(self) -> set[int]:
        """The ready-made endpoints: those whose process has had the time to start."""
        return {one.pid for one in self.run.ingests if one.pid is not None and one.admin is not None}

    async def _until_acked(self, since: float, within_s: float = 20.0) -> None:
        """Until a webhook that was sent after `since` was accepted, or the time is over (the account will tell)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.ledger.newest_ack < since:  # an event for each 2xx would cost more
                    await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def impossible(self, cause: str, settle_s: float = 0.05, *, buffered: bool = True) -> AsyncIterator[None]:
        """Within the block, which begins after a moment, no webhook can be stored, unless in a buffer that is made for it."""
        await asyncio.sleep(settle_s)
        begin = self.now
        try:
            yield
        finally:
            self._close(cause, begin, buffered=buffered)

    def _close(self, cause: str, begin: float, *, buffered: bool = True) -> None:
        """Note a time that ends now, in which the broker could not store anything."""
        if not (buffered and self.shape.kind.has("ingest.outageBuffer")):
            self.ledger.windows.append(Window(cause=cause, begin=begin, end=self.now))


@asynccontextmanager
async def started(folder: Path, *, root: Path | None = None) -> AsyncIterator[PrivateBroker]:
    """A running broker below `folder`. `root` is another RabbitMQ release's root file system."""
    broker = PrivateBroker(folder / "broker", root=root)
    try:
        await broker.start()
        yield broker
    finally:
        await broker.kill()


@asynccontextmanager
async def stand(broker: PrivateBroker, folder: Path, shape: Shape, seed: int) -> AsyncIterator[Stand]:
    """What stands on a running broker, without load; its files are below `folder`."""
    made = Stand(broker, folder, shape, seed)
    try:
        await made.destination.open()
        await made.run.start()
        yield made
    finally:
        # Whatever state the acts left it in.
        broker.resume()
        made.destination.mood = "ok"
        await made.run.stop()
        await made.destination.close()


@asynccontextmanager
async def loaded(stand: Stand) -> AsyncIterator[Load]:
    """The provider's load within the block; after it every webhook that was sent has its answer."""
    shape = stand.shape
    load = Load(
        stand.ledger,
        stand.endpoints,
        path=stand.source.path,
        rate=shape.kind.rate,
        connections=shape.connections,
        habits=shape.kind.habits,
    )
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await task
