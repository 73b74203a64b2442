"""What is done to the system under load, act by act. Each act leaves everything running; what it draws depends on the seed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from yarl import URL

from bench.faults.destination import Mood
from bench.faults.ledger import Answer
from bench.faults.stand import VHOST, Stand
from bench.faults.toxiproxy import Toxiproxy
from forebay.errors import Unavailable
from forebay.management import Management
from forebay_cli.local.run import Component
from forebay_cli.rabbitmq import PrivateBroker
from forebay_operator.desired import source_topology

BROKER_URI = "secrets/broker/uri"  # where a process finds it, below its FOREBAY_ROOT
CONFIRM_S = 5.0  # the ingest's patience with the broker; a longer hang ends in 503s


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who acts: the stand, the randomness of this round, and the network in front of the broker, if there is one."""

    stand: Stand
    dice: Random
    proxy: Toxiproxy | None = None
    kills: int = 20  # of ingests, and of workers, where everything is killed; a fifth of it of the broker

    @property
    def network(self) -> Toxiproxy:
        assert self.proxy is not None, "this act needs the proxy"
        return self.proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One fault, by the name that the account and the documentation give it."""

    name: str
    play: Callable[[Cast], Awaitable[None]]
    needs: str | None = None  # what a source's spec must have for it, as a dotted path


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxied:
    """The broker as it is reached through the proxy; its management API is reached directly."""

    broker: PrivateBroker
    port: int

    def uri(self, *, vhost: str = "/", username: str | None = None, password: str | None = None) -> str:
        direct = self.broker.uri(vhost=vhost, username=username, password=password)
        return direct.replace(f"@127.0.0.1:{self.broker.amqp_port}/", f"@127.0.0.1:{self.port}/")

    def management(self) -> Management:
        return self.broker.management()


# ---------------------------------------------------------------------------------------------------- nothing and kills


async def calm(cast: Cast) -> None:
    """Nothing. Raises Unavailable if even so nothing is accepted: then there is nothing to break."""
    ledger = cast.stand.ledger
    before = ledger.answers[Answer.ACKED]
    await asyncio.sleep(4)
    if ledger.answers[Answer.ACKED] == before:
        causes = ", ".join(sorted(ledger.said)) or "no answer"
        raise Unavailable(f"nothing is accepted in the calm ({causes}); the logs are in {cast.stand.folder}")


async def storm(cast: Cast) -> None:
    """SIGKILL of everything at random moments, while the destination fails now and then."""
    stand, dice = cast.stand, cast.dice
    ends = asyncio.Event()

    async def brokers() -> None:
        for _ in range(cast.kills // 5):
            await asyncio.sleep(dice_of(stand, dice, "broker").uniform(6, 12))
            await stand.crash_broker()
        ends.set()

    async def processes(component: Component) -> None:
        own, count = dice_of(stand, dice, component), 0
        while not ends.is_set() or count < cast.kills:
            await asyncio.sleep(own.uniform(2, 6))
            await stand.kill(component, own)
            count += 1

    with stand.destination.being("flaky"):
        async with asyncio.TaskGroup() as group:
            group.create_task(brokers())
            group.create_task(processes("ingest"))
            group.create_task(processes("worker"))
    await asyncio.sleep(3)


def dice_of(stand: Stand, dice: Random, whose: str) -> Random:
    return stand.dice(f"{whose} {dice.random()}")


# ---------------------------------------------------------------------------------------------------- the broker


async def short_hang(cast: Cast) -> None:
    """SIGSTOP of the broker for less than a confirm may take, SIGCONT."""
    await _hang(cast.stand, cast.dice.uniform(2, 3))
    await asyncio.sleep(3)


async def long_hang(cast: Cast) -> None:
    """SIGSTOP of the broker for longer than a confirm may take, SIGCONT."""
    await _hang(cast.stand, cast.dice.uniform(1.5, 2.5) * CONFIRM_S)
    await asyncio.sleep(6)


async def hang_and_crash(cast: Cast) -> None:
    """SIGSTOP of the broker, and SIGKILL while what was sent to it lies unread."""
    stand = cast.stand
    stand.broker.pause()
    async with stand.impossible("broker hangs"):
        await asyncio.sleep(cast.dice.uniform(1, 4))
    await stand.crash_broker()
    await asyncio.sleep(2)


async def restart(cast: Cast) -> None:
    """An orderly restart of the broker."""
    await cast.stand.restart_broker()
    await asyncio.sleep(2)


async def away(cast: Cast) -> None:
    """SIGKILL of the broker, which stays away for ten seconds; an ingest is killed while it stores, and twice while it empties its buffer."""
    stand, dice = cast.stand, cast.dice
    async with asyncio.TaskGroup() as group:
        group.create_task(stand.crash_broker(away_s=10))
        await asyncio.sleep(dice.uniform(3, 7))
        await stand.kill("ingest", dice)
    for _ in range(2):
        await asyncio.sleep(dice.uniform(0.1, 0.6))
        await stand.kill("ingest", dice)
    await asyncio.sleep(4)


async def memory_alarm(cast: Cast) -> None:
    """The broker's memory alarm, which keeps retries from being stored; workers are killed meanwhile."""
    high, usual = ("set_vm_memory_high_watermark", "absolute", "1"), ("set_vm_memory_high_watermark", "0.6")
    await _alarm(cast.stand, "failing", high, usual)


async def disk_alarm(cast: Cast) -> None:
    """The broker's disk alarm, which keeps dead letters from being stored; workers are killed meanwhile."""
    high, usual = ("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "50MB")
    await _alarm(cast.stand, "refusing", high, usual)


async def unbound(cast: Cast) -> None:
    """The source's queue and its lanes are not bound: a publish is confirmed, and goes nowhere."""
    stand = cast.stand
    topology, vhost = source_topology(stand.source), quote(VHOST, safe="")
    exchange = f"bindings/{vhost}/e/{quote(topology.names.exchange, safe='')}/q"
    queues = [topology.names.queue(place) for place in (*topology.queues, *topology.lanes)]
    async with stand.management() as management:
        for queue in queues:
            await management.delete(f"{exchange}/{quote(queue, safe='')}/{quote(queue, safe='')}")
        try:
            async with stand.impossible("queue unbound", buffered=False):
                await asyncio.sleep(3)
        finally:
            for queue in queues:
                await management.post(f"{exchange}/{quote(queue, safe='')}", {"routing_key": queue, "arguments": {}})
    await asyncio.sleep(1)


async def rotated(cast: Cast) -> None:
    """The broker's passwords are changed, every connection is closed, and the new passwords come a second later."""
    stand = cast.stand
    files = [replica.launch.root / BROKER_URI for replica in stand.run.replicas]
    old = {file: URL(file.read_text()) for file in files}
    passwords = {str(uri.user): secrets.token_urlsafe(24) for uri in old.values()}
    async with stand.management() as management:
        for user, password in passwords.items():
            await management.put(f"users/{quote(user, safe='')}", {"password": password, "tags": ""})
            await management.delete(f"connections/username/{quote(user, safe='')}")
    await asyncio.sleep(1)
    for file, uri in old.items():
        file.write_text(str(uri.with_password(passwords[str(uri.user)])))
    await asyncio.sleep(3)


async def _hang(stand: Stand, seconds: float) -> None:
    stand.broker.pause()
    try:
        async with stand.impossible("broker hangs"):
            await asyncio.sleep(seconds)
    finally:
        stand.broker.resume()


async def _alarm(stand: Stand, mood: Mood, on: tuple[str, ...], off: tuple[str, ...]) -> None:
    """Under an alarm acknowledges pass and publishes do not: whoever acknowledges first loses what it then can not publish."""
    with stand.destination.being("slow"):  # something is to be left in the queue when the alarm comes
        await asyncio.sleep(1.5)
        await stand.broker.control(*on)
    try:
        with stand.destination.being(mood):
            await asyncio.sleep(2)
        for replica in stand.run.workers:
            stand.kill_one("worker", replica)
        await asyncio.sleep(2)
    finally:
        await stand.broker.control(*off)
    await asyncio.sleep(2)


async def storage_away(cast: Cast) -> None:
    """Where the folder of the large bodies was is none: they can be neither stored nor fetched."""
    bodies = cast.stand.bodies
    aside = bodies.with_name(f"{bodies.name}-away")
    bodies.rename(aside)
    bodies.touch()
    try:
        await asyncio.sleep(4)
    finally:
        bodies.unlink()
        aside.rename(bodies)
    await asyncio.sleep(2)


# ---------------------------------------------------------------------------------------------------- the destination


async def slow(cast: Cast) -> None:
    """The destination takes a second for each webhook; a worker is killed meanwhile."""
    with cast.stand.destination.being("slow"):
        await _amid_kill(cast)


async def failing(cast: Cast) -> None:
    """The destination answers 503; a worker is killed meanwhile."""
    with cast.stand.destination.being("failing"):
        await _amid_kill(cast)


async def busy(cast: Cast) -> None:
    """The destination answers 429 and asks to be left alone for a second, again and again; a worker is killed meanwhile."""
    with cast.stand.destination.being("busy"):
        await _amid_kill(cast)


async def paused(cast: Cast) -> None:
    """The workers are paused under load, one is killed meanwhile, and they are resumed."""
    run = cast.stand.run
    await run.suspend("Workers")
    try:
        await _amid_kill(cast)
    finally:
        await run.suspend("None")
    await asyncio.sleep(2)


async def closing(cast: Cast) -> None:
    """The destination closes in the middle of its answers; a worker is killed meanwhile."""
    with cast.stand.destination.being("closing"):
        await _amid_kill(cast)


async def down(cast: Cast) -> None:
    """Nobody listens at the destination; a worker is killed meanwhile."""
    await cast.stand.destination.close()
    try:
        await _amid_kill(cast)
    finally:
        await cast.stand.destination.open()


async def _amid_kill(cast: Cast) -> None:
    before = cast.dice.uniform(1, 3)
    await asyncio.sleep(before)
    await cast.stand.kill("worker", cast.dice)
    await asyncio.sleep(4 - before)


# ---------------------------------------------------------------------------------------------------- orderly ends


async def end_ingests(cast: Cast) -> None:
    """SIGTERM of each ingest in turn."""
    for replica in cast.stand.run.ingests:
        await cast.stand.terminate(replica)


async def end_workers(cast: Cast) -> None:
    """SIGTERM of each worker in turn, while the destination is slow."""
    with cast.stand.destination.being("slow"):
        for replica in cast.stand.run.workers:
            await asyncio.sleep(1)
            await cast.stand.terminate(replica)


async def end_amid_hang(cast: Cast) -> None:
    """SIGTERM of an ingest and of a worker while the broker hangs, SIGCONT of the broker a little later."""
    stand = cast.stand
    chosen = [cast.dice.choice(stand.run.ingests), cast.dice.choice(stand.run.workers)]
    stand.broker.pause()
    try:
        async with asyncio.TaskGroup() as group:
            for replica in chosen:
                group.create_task(stand.terminate(replica, within_s=60))
            await asyncio.sleep(cast.dice.uniform(0.5, 1.5) * CONFIRM_S)
            stand.broker.resume()
    finally:
        stand.broker.resume()
    await asyncio.sleep(2)


async def deploy_proxied(cast: Cast) -> None:
    """New processes take over from the old ones, and reach the broker through the proxy."""
    await cast.stand.deploy(Proxied(broker=cast.stand.broker, port=cast.network.port))


async def deploy_direct(cast: Cast) -> None:
    """New processes take over from the old ones, and reach the broker directly."""
    await cast.stand.deploy(cast.stand.broker)


# ---------------------------------------------------------------------------------------------------- the network


async def delay(cast: Cast) -> None:
    """Everything between Forebay and the broker comes 150 ms later, give or take 50."""
    async with cast.network.delay(150, 50):
        await asyncio.sleep(5)
    await asyncio.sleep(1)


async def cut(cast: Cast) -> None:
    """Every connection to the broker is closed, and none can be made, three times."""
    for _ in range(3):
        async with cast.network.cut():
            await asyncio.sleep(cast.dice.uniform(0.5, 2))
        await asyncio.sleep(cast.dice.uniform(0.5, 1.5))


async def silence(cast: Cast) -> None:
    """A partition: connections to the broker stay open, and nothing comes through for longer than a confirm may take."""
    async with cast.network.silence(), _settled(cast.stand, "network silent"):
        await asyncio.sleep(cast.dice.uniform(1.5, 2) * CONFIRM_S)
    await asyncio.sleep(6)


@asynccontextmanager
async def _settled(stand: Stand, cause: str) -> AsyncIterator[None]:
    """The proxy needs a moment until nothing it has begun to pass on is under way any more."""
    async with stand.impossible(cause, settle_s=0.5):
        yield


DIRECT = (
    Act(name="calm", play=calm),
    Act(name="kills of everything", play=storm),
    Act(name="broker hangs briefly", play=short_hang),
    Act(name="broker hangs", play=long_hang),
    Act(name="broker hangs, then crashes", play=hang_and_crash),
    Act(name="broker restarts", play=restart),
    Act(name="broker away", play=away, needs="ingest.outageBuffer"),
    Act(name="memory alarm", play=memory_alarm),
    Act(name="disk alarm", play=disk_alarm),
    Act(name="queue unbound", play=unbound),
    Act(name="passwords rotated", play=rotated),
    Act(name="destination slow", play=slow),
    Act(name="destination fails", play=failing),
    Act(name="destination down", play=down),
    Act(name="destination busy", play=busy),
    Act(name="destination cuts answers", play=closing),
    Act(name="workers paused", play=paused),
    Act(name="storage away", play=storage_away, needs="storage"),
    Act(name="SIGTERM of each ingest", play=end_ingests),
    Act(name="SIGTERM of each worker", play=end_workers),
    Act(name="SIGTERM while the broker hangs", play=end_amid_hang),
)
PROXIED = (
    Act(name="deploy", play=deploy_proxied),
    Act(name="network slow", play=delay),
    Act(name="network cut", play=cut),
    Act(name="network silent", play=silence),
    Act(name="deploy", play=deploy_direct),
)
ROUND = (*DIRECT, *PROXIED)
