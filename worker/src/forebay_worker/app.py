"""The worker process: settings checked, consumer and publisher, readiness and drain around the message path."""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry

from forebay.amqp.consumer import Consumer, Lane
from forebay.amqp.depths import Depths
from forebay.amqp.link import Link
from forebay.amqp.publisher import Publisher
from forebay.envelope import Envelope
from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import CircuitBreaker, WorkerSettings, load
from forebay.storage import Storage
from forebay.telemetry import Log
from forebay.topology import MAX_LANES, Names, ordered_lanes
from forebay.tracing import from_environment
from forebay_worker import handler, hold, retry
from forebay_worker.authorized import AuthorizedDelivery
from forebay_worker.breaker import Breaker
from forebay_worker.claim_measures import ClaimMeasures
from forebay_worker.claims import Claims, homeless
from forebay_worker.consume import Consumption
from forebay_worker.deliver import HttpDelivery
from forebay_worker.gate import Gate, Governed
from forebay_worker.live import follow
from forebay_worker.measures import Measures
from forebay_worker.notes import Notes
from forebay_worker.ordered import WINDOW, OrderedSettler, OrderedSlots, Sequence
from forebay_worker.outcome import Outcome
from forebay_worker.pacing import pacing
from forebay_worker.rotation import Rotation, share
from forebay_worker.settle import Message, Settler
from forebay_worker.traced import traced
from forebay_worker.witness import WorkerWitness

SETTINGS_FILE = "config/worker.json"

# Seconds. RabbitMQ takes a message back that is not settled in half an hour; a delivery ends well before.
LONGEST_TIMEOUT = 1200.0
# Seconds for which a broker may take to register the consumer before a restart is worth a try.
_PATIENCE = 60.0

T = TypeVar("T")


class Delivery(Protocol):
    """A destination."""

    async def __call__(self, envelope: Envelope) -> Outcome:
        """Make one attempt. Never raises for anything the destination does."""

    async def stream(self, envelope: Envelope, storage: Storage) -> Outcome:
        """The same with a body that is in the storage. Raises StorageError."""

    def stuck(self) -> str | None:
        """Why only a restart helps, None if it would not."""

    async def close(self) -> None:
        """Close what is kept open."""


class Worker:
    """One worker of one queue (a `forebay.process.Part`). Made on a running loop; raises SpecError with every fault."""

    def __init__(self, runtime: Runtime, log: Log) -> None:
        self.settings = settings = load(WorkerSettings, runtime.root / SETTINGS_FILE)
        self._runtime = runtime
        self._log = log
        breaker = Breaker(settings.circuit_breaker, time.monotonic()) if settings.circuit_breaker else None
        self._measures = Measures(settings.source, settings.queue)
        witness = WorkerWitness(self._measures, log, source=settings.source, queue=settings.queue)
        self._delivery, policy, storage = _checked(settings, runtime, witness)
        names = Names.of(settings.source)
        self._publisher = Publisher(self._broker_url, name=f"forebay-worker {settings.source} publisher", log=log)
        settler = Settler(publisher=self._publisher, names=names, queue=settings.queue, unsettled=witness.unsettled)
        tracing = from_environment("forebay-worker")
        deliver = traced(self._delivery, tracing, names.queue(settings.queue)) if tracing else self._delivery
        self._pacing = pacing(settings, self._broker_url, lambda: self._gate, self._measures, log)
        self._claims = self._large(storage) if storage else None
        claimed = self._claims.deliver if self._claims else homeless
        self._sequence = Sequence(self._hand_on, witness.waits) if settings.ordered else None
        self._consumption = consumption = Consumption(
            deliver,
            OrderedSettler(settler=settler, sequence=self._sequence, hold=settings.hold) if self._sequence else settler,
            policy, witness, concurrency=settings.concurrency,
            admit=self._pacing.admission if self._pacing else None,
            waiting=Rotation() if settings.lanes else None,
            deliver_claimed=traced(claimed, tracing, names.queue(settings.queue)) if tracing else claimed,
            acknowledged=self._claims.acknowledged if self._claims else None,
        )  # fmt: skip
        handed_out = self._pacing.prefetch if self._pacing else prefetch(settings.concurrency)
        self._consumer = Consumer(
            self._broker_url,
            name=f"forebay-worker {settings.source}",
            queue=names.queue(settings.queue),
            prefetch=handed_out,
            reserve=0 if settings.lanes else handed_out - settings.concurrency,
            on_message=(self._sequence or consumption).on_message,
            log=log,
            lanes=lanes(settings),
        )
        self._notes = Notes(self._publisher, names, lambda: self._gate.state)
        self._gate = Gate(
            Governed(
                slots=OrderedSlots(consumption) if self._sequence else consumption,
                tap=self._consumer,
                concurrency=settings.concurrency,
                prefetch=handed_out,
            ),
            policy,
            log,
            breaker=breaker,
            opened=self._notes.begin,
        )
        consumption.ended = self._gate.ended
        self._gate.suspend(suspended=settings.suspended)
        self._queue_names = tuple(map(names.queue, (settings.queue, *settings.lanes)))
        self._dead_name = names.dead
        self._depths = Depths(self._consumer.link, (*self._queue_names, self._dead_name))
        self._unregistered_since: float | None = None
        self._gauges()

    @property
    def registry(self) -> CollectorRegistry:
        return self._measures.registry

    @property
    def _links(self) -> tuple[Link, ...]:
        own = (self._consumer.link, self._publisher.link)
        return own if self._pacing is None else (*own, *self._pacing.links)

    def unhealthy(self) -> str | None:
        """A lost broker is no reason for a restart; one that answers and yet does not register the consumer is."""
        if not self._consumer.wanted or self._consumer.consuming or not self._consumer.link.up:
            self._unregistered_since = None
        elif self._unregistered_since is None:
            self._unregistered_since = time.monotonic()
        elif time.monotonic() - self._unregistered_since > _PATIENCE:
            return f"the broker has not registered the consumer for {_PATIENCE:g} s"
        return self._delivery.stuck()

    def unready(self) -> str | None:
        for link in self._links:
            if not link.up:
                return f"no connection to the broker: {link.error}"
        registered = self._consumer.consuming or not self._consumer.wanted
        return None if registered else "the broker has not registered the consumer yet"

    async def start(self) -> dict[str, str]:
        return {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publisher.run())
            group.create_task(self._consumer.run())
            group.create_task(self._depths.run())
            group.create_task(follow(self._runtime.root / SETTINGS_FILE, self.settings.suspended, self._gate.suspend))
            if self._pacing is not None:
                self._pacing.run_in(group)
            if self._claims is not None:
                group.create_task(self._claims.run())

    async def drain(self) -> None:
        """Take no more, finish what is in flight, give back the rest when the time is over."""
        until = time.monotonic() + self.settings.drain_s
        self._gate.close()
        self._notes.close()
        await self._consumer.stop_consuming()
        if self._pacing is not None:
            await self._pacing.close()
        in_flight = self._consumption.in_flight
        cancelled = await self._consumption.drain(max(0.0, until - time.monotonic()))
        await self._delivery.close()
        self._log.info("drained", finished=in_flight - cancelled, given_back=cancelled)

    def _hand_on(self, message: Message) -> None:
        self._consumption.on_message(message)

    def _large(self, storage: Storage) -> Claims:
        assert self.settings.storage is not None
        measures = ClaimMeasures(self.registry, self.settings.source, self.settings.queue)
        return Claims(self._delivery, storage, measures, delete=self.settings.storage.delete_delivered)

    def _broker_url(self) -> str:
        return self._runtime.read_secret(self.settings.broker_url_file).decode()

    def _gauges(self) -> None:
        gauge = self._measures.gauge
        gauge("forebay_in_flight", "Messages being handled.", lambda: self._consumption.in_flight)
        gauge(
            "forebay_oldest_age_seconds",
            "Age of the oldest webhook that is on its first attempt now; 0 if there is none.",
            lambda: self._consumption.oldest_age(time.time()),
        )
        gauge(
            "forebay_queue_messages",
            "Messages that wait in the queue, a few seconds ago; NaN while unknown. Every worker of the queue tells the same.",
            lambda: sum(map(self._depths.of, self._queue_names)),
        )
        gauge(
            "forebay_dead_letter_queue_messages",
            "Dead letters of the source, a few seconds ago; NaN while unknown. Every worker of the source tells the same.",
            lambda: self._depths.of(self._dead_name),
        )
        gauge("forebay_concurrency", "Messages that may be handled at a time.", lambda: self.settings.concurrency)
        self._measures.gauges(
            "forebay_hold_seconds",
            "For how long the worker still takes nothing from its queue, by reason; 0 if it does, +Inf while nobody knows the end.",
            "reason",
            {reason: partial(self._gate.left, reason) for reason in hold.REASONS},
        )
        if self._gate.breaker is not None:
            text = "The circuit breaker: 0 closed, 1 half-open, 2 open."
            gauge("forebay_breaker_state", text, lambda: self._gate.state)
        gauge("forebay_consuming", "1 while the broker has the consumer registered.", lambda: self._consumer.consuming)
        if (sequence := self._sequence) is not None:
            text = "Keys that wait while one of their webhooks is tried again."
            gauge("forebay_keys_waiting", text, lambda: sequence.resting)
            gauge(
                "forebay_keys_held", "Those of them whose webhook was given up and holds them.", lambda: sequence.held
            )


def prefetch(concurrency: int) -> int:
    """How many messages the broker hands out ahead: the concurrency, and a reserve that hides the way to the broker.

    It is large enough that one acknowledge can stand for all that are handled at a time.
    """
    return concurrency + min(concurrency, 50)


def lanes(settings: WorkerSettings) -> tuple[Lane, ...]:
    """The lanes to consume beside the queue."""
    names, most = Names.of(settings.source), share(settings.concurrency)
    ordered = frozenset(ordered_lanes(settings.queue, MAX_LANES))  # those that leave may be of an earlier spec
    return tuple(
        Lane(names.queue(lane), WINDOW if lane in ordered else None, most=most, leaving=lane in settings.leaving)
        for lane in settings.lanes
    )


def _checked(
    settings: WorkerSettings, runtime: Runtime, witness: WorkerWitness
) -> tuple[Delivery, retry.Policy, Storage | None]:
    """What the settings become. Raises SpecError that lists every fault at once."""
    faults = [sentence for wrong, sentence in _checks(settings) if wrong]
    policy = _collected(faults, lambda: retry.policy(settings.retry, settings.tiers))
    _collected(faults, lambda: runtime.read_secret(settings.broker_url_file))
    delivery = _collected(faults, lambda: _delivery(settings, runtime, witness))
    given = settings.storage
    storage = _collected(faults, lambda: Storage(given, runtime.read_secret)) if given else None
    if faults or policy is None or delivery is None:
        raise SpecError("; ".join(faults))
    return delivery, policy, storage


def _collected(faults: list[str], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except SpecError as error:
        faults.append(str(error))
        return None


def _checks(settings: WorkerSettings) -> list[tuple[bool, str]]:
    breaker = settings.circuit_breaker or CircuitBreaker()
    both = settings.destination is not None and settings.handler is not None
    target = settings.destination or settings.handler
    timeout = target.timeout_s if target else 1.0
    namespace, slash, name = settings.source.partition("/")
    return [
        (not (namespace and slash and name), f'source is {settings.source!r}; it takes "namespace/name"'),
        (target is None, "destination and handler are both missing; one of them says where webhooks go"),
        (both, "destination and handler are both set; a worker has one of them"),
        (settings.concurrency < 1, f"concurrency is {settings.concurrency}; it takes 1 or more"),
        (
            not 0 < timeout <= LONGEST_TIMEOUT,
            f"timeout_s is {timeout:g}; it takes more than 0 and at most {LONGEST_TIMEOUT:g}",
        ),
        (
            not 1 <= breaker.failure_percent <= 100,
            f"circuit_breaker.failure_percent is {breaker.failure_percent}; it takes 1 to 100",
        ),
        (
            min(breaker.minimum, breaker.probes) < 1 or not min(breaker.window_s, breaker.open_for_s) > 0,
            "circuit_breaker has a number that is not positive",
        ),
    ]


def _delivery(settings: WorkerSettings, runtime: Runtime, witness: WorkerWitness) -> Delivery | None:
    destination, root, read = settings.destination, runtime.root, runtime.read_secret
    if destination is not None and destination.oauth2 is not None:
        return AuthorizedDelivery(destination, destination.oauth2, root=root, read=read, told=witness.tokens())
    if destination is not None:
        return HttpDelivery(destination, root=root, read=read)
    if settings.handler is not None:
        handler.importable_from(os.getcwd())  # noqa: PTH109  # a string is what sys.path holds
        return handler.load(settings.handler, settings.concurrency)
    return None
