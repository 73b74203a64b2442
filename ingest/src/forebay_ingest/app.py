"""The ingest process: listeners, clock, secrets, readiness and drain around the request path."""

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from forebay.amqp.publisher import Publisher
from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import IngestSettings, load
from forebay.signatures.configured import Fetching, handshakes_of, scheme_of, verifier_of
from forebay.signatures.key_ring import KeyRing, read_certificate, read_key_set
from forebay.signatures.presets import preset
from forebay.signatures.replies import Replies
from forebay.signatures.scheme import Algorithm
from forebay.signatures.verify import Verifier
from forebay.storage import Storage
from forebay.telemetry import Log
from forebay.tracing import from_environment
from forebay_ingest.answers import Answers
from forebay_ingest.arrivals import Arrivals
from forebay_ingest.capture import Capture
from forebay_ingest.claim_measures import ClaimMeasures
from forebay_ingest.claims import Claims
from forebay_ingest.connection import Connection
from forebay_ingest.departures import Departures
from forebay_ingest.fetching import Fetcher
from forebay_ingest.guard import Guard
from forebay_ingest.handshakes import Door, Keep
from forebay_ingest.listeners import Listeners
from forebay_ingest.measures import Measures
from forebay_ingest.parsing import WholeReader
from forebay_ingest.receive import Receiver
from forebay_ingest.remembering import remembering
from forebay_ingest.shelter import shelter
from forebay_ingest.spool import Spool
from forebay_ingest.strangers import Strangers
from forebay_ingest.url_token import UrlTokens
from forebay_ingest.waiting import WaitingRoom

SETTINGS_FILE = "config/ingest.json"
SPOOL_FOLDER = "spool"  # large bodies while they come in

_TICK_S = 0.5  # the clock that sweeps deadlines and dates answers
# In one turn of the loop so many connections are looked at, or ended: whole crowds come, expire and hang up together.
_LOOKED_AT, _ENDED = 1000, 10
_SECRETS_S = 5.0  # how often mounted Secrets are looked at for a rotation
# Open files beside those of connections: listeners, the broker's, the storage's, bodies on disk.
_FILES = 256
_GRACE_S = 0.5  # after SIGTERM new connections are still served for so long: a load balancer needs a moment


class _Secrets(NamedTuple):
    signing: tuple[bytes, ...]
    token: bytes | None  # the verify token that the provider's handshake shows
    url: tuple[bytes, ...]  # tokens that the path has to hold
    awaited: bool = False  # whether there is a file for a signing secret that the provider has not sent yet


class Ingest:
    """One endpoint of one source (a `forebay.process.Part`, and the connections' Endpoint)."""

    def __init__(self, runtime: Runtime, log: Log) -> None:
        self.settings = load(IngestSettings, runtime.root / SETTINGS_FILE)
        self.limits = self.settings.limits
        self.arrivals = Arrivals(WholeReader(self.limits, asyncio.get_running_loop()), asyncio.get_running_loop())
        self.guard = Guard(self.settings.guarding) if self.settings.guarding else None
        self.connections: set[Connection] = set()
        self.strangers, self.departures = Strangers(), Departures(_ENDED)
        self.reading_bytes, self.draining = 0, False
        self._runtime = runtime
        self._log = log
        self._listeners = Listeners(lambda: Connection(self, asyncio.get_running_loop()))

        def broker_url() -> str:
            return runtime.read_secret(self.settings.broker_url_file).decode()

        self._publisher = Publisher(
            broker_url,
            name=f"forebay-ingest {self.settings.source}",
            confirm_s=self.limits.confirm_s,
            max_in_flight=self.limits.in_flight,
            max_in_flight_bytes=self.limits.in_flight_bytes,
            log=log,
        )
        self._measures = _measures(self, self._publisher)
        self._secrets = self._read_secrets()
        self.url_tokens = self._tokens(self._secrets)
        self._ring = KeyRing()
        verifier = self._verifier(self._secrets)
        self._remembering = remembering(self.settings, broker_url, self._measures, log)
        self._shelter = shelter(self.settings, runtime, self._publisher, self._measures, log)
        receiver = Receiver(
            self.settings,
            verifier,
            self._publisher,
            self._measures,
            log,
            duplicates=self._remembering.duplicates if self._remembering else None,
            shelter=self._shelter,
            tracing=from_environment("forebay-ingest"),
        )
        # A source whose provider asks nothing has no door, and its webhooks pay for none.
        self._handshakes = handshakes_of(self.settings)
        self._fetchers: list[Fetcher] = []
        self._door = self._open_door(receiver, log) if self._handshakes else None
        # No more does one whose provider signs with a secret have a waiting room, or fetch anything.
        self.receiver: Receiver | Door | WaitingRoom = self._door or receiver
        if isinstance(verifier, Fetching):
            self.receiver = WaitingRoom(self._door or receiver, verifier, self._fetcher("keys", self._keep_keys, log))
        self.claims = self._claims(receiver)
        self.inline_bytes = _inline_bytes(self.settings)
        methods = (*self.settings.methods, *(item.method for item in self._handshakes))
        self.answers = Answers(
            self.settings.answer, retry_after_s=self.limits.retry_after_s, allow=tuple(dict.fromkeys(methods))
        )

    @property
    def registry(self) -> CollectorRegistry:
        return self._measures.registry

    def unhealthy(self) -> str | None:
        """The loop answers, so it turns; a lost broker is no reason for a restart."""
        return None

    def unready(self) -> str | None:
        """A blocked broker leaves it ready: all replicas are as blocked, and a 503 says more than a closed port."""
        if self._shelter is not None:
            why = self._shelter.unready
        elif self._publisher.up:
            why = None
        else:
            why = f"no connection to the broker: {self._publisher.link.error or 'confirms are not on yet'}"
        return why or (self._remembering.stream.unready if self._remembering else None)

    async def start(self) -> dict[str, str]:
        _allow_files(self.limits.connections + _FILES, self._log)
        address = self._runtime.listen
        try:
            return {"http": await self._listeners.open(address)}
        except OSError as error:
            raise SpecError(f"can not listen on {address} (FOREBAY_LISTEN): {error.strerror}") from error

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publisher.run())
            if self._remembering:
                group.create_task(self._remembering.stream.run())
            if self._shelter:
                group.create_task(self._shelter.run())
            group.create_task(self._sweep())
            group.create_task(self._watch_secrets())
            for fetcher in self._fetchers:
                group.create_task(fetcher.run())

    async def drain(self) -> None:
        """Serve on for a moment, take in whoever has connected by then, end what is under way, give up after `drain_s`."""
        self.draining = True
        await asyncio.sleep(_GRACE_S)
        await self._listeners.close()
        await asyncio.sleep(_GRACE_S)  # the last ones that connected have their request on the way
        for connection in list(self.connections):
            connection.end_when_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_s):
                while self.connections:  # noqa: ASYNC110  # an event would cost on every disconnect
                    await asyncio.sleep(0.02)
                if self._shelter:
                    await self._shelter.empty()
        if self._shelter:
            await self._shelter.release()
        if self._remembering:
            await self._remembering.stream.drain()
        self._log.info("drained", connections_left=len(self.connections))

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            self.answers.tick(time.time())
            now, left = loop.time(), _LOOKED_AT
            for connection in list(self.connections):
                left -= 1
                if connection.overdue(now):
                    connection.expired()
                    left -= _LOOKED_AT // _ENDED
                if left <= 0:  # whoever has said something gets a turn in between
                    await asyncio.sleep(0)
                    left = _LOOKED_AT

    async def _watch_secrets(self) -> None:
        while True:
            await asyncio.sleep(_SECRETS_S)
            try:
                secrets = self._read_secrets()
                if secrets == self._secrets:
                    continue
                self._take_up(secrets)
            except SpecError as error:
                # What worked goes on working; a half-written rotation must not lock the provider out.
                self._log.error("secrets.unusable", error=str(error))
                continue
            self._secrets = secrets
            self._log.info("secrets.reloaded", secrets=len(secrets.signing))

    def _take_up(self, secrets: _Secrets) -> None:
        tokens, verifier = self._tokens(secrets), self._verifier(secrets)
        self.url_tokens, self.receiver.verifier = tokens, verifier
        if self._door:
            self._door.replies = self._replies(secrets)

    def _read_secrets(self) -> _Secrets:
        read, handshake = self._runtime.read_secret, self.settings.handshake
        files = self.settings.verification.secret_files
        find = self._runtime.find_secret if handshake.captures_secret else read
        signing = tuple(secret for file in files if (secret := find(file)) is not None)
        token = read(handshake.token_file) if handshake.token_file else None
        url = tuple(map(read, self.settings.url_token_files))
        return _Secrets(signing, token, url, awaited=len(signing) < len(files))

    def _tokens(self, secrets: _Secrets) -> UrlTokens | None:
        return UrlTokens(self.settings.path, secrets.url) if self.settings.url_token_files else None

    def _verifier(self, secrets: _Secrets) -> Verifier | Fetching:
        return verifier_of(self.settings.verification, secrets.signing, self._ring)

    def _keep_keys(self, url: str, text: bytes) -> None:
        read = read_certificate if scheme_of(self.settings.verification).algorithm is Algorithm.RSA else read_key_set
        self._ring.keep(url, read(text), time.time())

    def _fetcher(self, what: str, take: Callable[[str, bytes], None], log: Log) -> Fetcher:
        fetcher = Fetcher(what, take, self.settings.verification, self._measures, log)
        self._fetchers.append(fetcher)
        return fetcher

    def _open_door(self, receiver: Receiver, log: Log) -> Door:
        visits = self._fetcher("confirmation", lambda *_: None, log) if self.settings.handshake.confirms else None
        return Door(receiver, self._replies(self._secrets), self._measures, log, visits=visits, keep=self._keep(log))

    def _keep(self, log: Log) -> Keep | None:
        """What becomes of a secret that the provider sends in its handshake."""
        if self.settings.handshake.captures_secret:
            return Capture(self.settings.source, self._publisher, log).keep
        if not any(item.sends for item in self._handshakes):
            return None
        everybody = Verifier(preset("None").scheme, ())
        unsigned = Receiver(self.settings, everybody, self._publisher, self._measures, log, shelter=self._shelter)
        return lambda sent, respond: unsigned.receive(sent.head, sent.body, sent.block, sent.client, respond)

    def _claims(self, receiver: Receiver) -> Claims | None:
        given, runtime = self.settings.storage, self._runtime
        if given is None:
            return None
        spool = Spool(runtime.root / SPOOL_FOLDER, given.spool_bytes)
        measures = ClaimMeasures(self.registry, self.settings.source, lambda: spool.held)
        room = self.receiver if isinstance(self.receiver, WaitingRoom) else None
        return Claims(receiver, Storage(given, runtime.read_secret), spool, measures, self._log, room=room)

    def _replies(self, secrets: _Secrets) -> Replies:
        scheme = scheme_of(self.settings.verification)
        # Once each has its value nobody can send another one: what nobody awaits is a webhook without a signature.
        awaited = secrets.awaited or not self.settings.handshake.captures_secret
        handshakes = [item for item in self._handshakes if awaited or not item.sends]
        return Replies(handshakes, scheme, secrets.signing, secrets.token)


def _allow_files(wanted: int, log: Log) -> None:
    """Raise this process's own limit, which is 1,024 in a terminal; beyond it the kernel refuses connections before we do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    most = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        log.warning("files.few", allowed=most, wanted=wanted)


def _inline_bytes(settings: IngestSettings) -> int:
    """Of the largest body that goes through the queue."""
    most, storage = settings.limits.body_bytes, settings.storage
    return most if storage is None else min(storage.threshold_bytes, most)


def _measures(ingest: Ingest, publisher: Publisher) -> Measures:
    measures = Measures(ingest.settings.source, ingest.settings.queues)
    measures.gauge("forebay_ingest_in_flight", "Webhooks published and not confirmed yet.", lambda: publisher.in_flight)
    measures.gauge("forebay_ingest_in_flight_bytes", "Bytes of the bodies of those.", lambda: publisher.in_flight_bytes)
    measures.gauge("forebay_ingest_connections", "Open HTTP connections.", lambda: len(ingest.connections))
    measures.counter(
        "forebay_ingest_displaced",
        "Connections closed to make room for others: all were taken, and no webhook was ever accepted from these.",
        lambda: ingest.strangers.displaced,
    )
    measures.gauge(
        "forebay_ingest_reading_bytes", "Bytes of bodies that are not complete yet.", lambda: ingest.reading_bytes
    )
    measures.gauge("forebay_ingest_broker_up", "1 while connected to the broker.", lambda: publisher.link.up)
    measures.gauge(
        "forebay_ingest_broker_blocked",
        "1 while the broker blocks publishers (memory or disk alarm).",
        lambda: publisher.link.blocked,
    )
    return measures
