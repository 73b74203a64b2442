"""Everything that goes on while this process acts: what exists is listed once, then watched; sources in turn are reconciled.

The first lists come before any reconcile: whoever reconciles a source whose children were not seen yet writes them all again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from forebay.errors import ForebayError, SpecError, Unavailable
from forebay.telemetry import Throttle
from forebay_operator import handlers
from forebay_operator.broker import LOOK_S, Broker
from forebay_operator.cluster import SECRET, SOURCE, Forbidden, Gone, Kind, Object
from forebay_operator.context import Context
from forebay_operator.desired import CHILD_KINDS, OPTIONAL_APIS
from forebay_operator.measures import Measures
from forebay_operator.reach import Reach
from forebay_operator.reconcile import Reconciler
from forebay_operator.watches import watch
from forebay_operator.work import WorkQueue
from forebay_operator.world import ChildId, Key, SecretId, key_of

EVENT = Kind("v1", "Event")

# Seconds between looks for optional APIs that came or went: one small request for each group of them. At once when one is
# missed; but then, too, not more often than every second.
DISCOVER_S = 10.0
_DISCOVER_AT_MOST_EVERY_S = 1.0
_RETRY_S = 5.0
_ANEW_S = 1.0  # before a watch that has ended begins again
# A change that the API server tells in a list and no watch has told so many seconds later: the watch is deaf.
_DEAF_S = 30.0
# The lists of all kinds have come so long after the first.
_LIST_S = 2.0
# How much longer the watches go on when a namespace lets us in no more.
_PARTING_S = 2.0


class Acting:
    """One term of acting on a cluster."""

    def __init__(self, context: Context, queue: WorkQueue[Key], measures: Measures) -> None:
        self._context = context
        self._queue = queue
        self._measures = measures
        self._throttle = Throttle()
        self._reach = Reach(context.cluster, context.options.namespaces)
        self._secrets_since: dict[str | None, str] = {}
        self._listed = asyncio.Event()
        self.unready: str | None = "has not listed everything yet"
        self.deaf: str | None = None

    async def run(self) -> None:
        """Act until cancelled. Raises what makes going on senseless."""
        while True:
            await self._patiently(self._take_stock)
            self.unready = None
            async with _running(*self._always()):
                restart = asyncio.Event()
                async with _running(self._stop_when_others_come(restart)):
                    await self._watch(restart)

    def _always(self) -> list[Coroutine[Any, Any, None]]:
        reconcile = Reconciler(self._context)
        workers = [self._queue.work(self._timed(reconcile), self._failed) for _ in range(self._context.options.workers)]
        secrets = [self._watch_secrets(namespace) for namespace in self._reach.places]
        return [*workers, *secrets, self._look_at_brokers(), self._look_for_losses(), self._resync()]

    # ------------------------------------------------------------------------------------------------ API server

    async def _take_stock(self) -> None:
        """Find out which APIs there are, where we may look, and what exists."""
        kinds = [Kind(*kind) for kind in CHILD_KINDS]
        served = await self._context.cluster.served([SOURCE, SECRET, EVENT, *kinds])
        if SOURCE not in served:
            raise SpecError(f"the API server has no {SOURCE.kind}: kubectl apply -f crds/")
        self._context.kinds = served & frozenset(kinds)
        self._note_optional(_optional(served))
        if shut := await self._reach.look_around():
            self._complain("namespaces not looked into", "there is no right to, or they are gone", namespaces=shut)
        for namespace in self._reach.places:
            self._secrets_since[namespace] = await self._list_secrets(namespace)
        await self._list_children()
        await self._list_sources()

    def _note_optional(self, apis: frozenset[str]) -> None:
        """From here on sources become what there are APIs for."""
        if apis != self._context.platform.apis:
            self._context.log.info("optional APIs", apis=sorted(apis))
            self._context.platform = replace(self._context.platform, apis=apis)

    async def _list_children(self) -> None:
        there: set[tuple[Key, ChildId]] = set()
        for kind in sorted({*self._context.kinds, SECRET}):
            for namespace in self._reach.places:
                async for item in self._context.cluster.list(kind, namespace, handlers.SELECTOR):
                    if "kind" in item:
                        self._wake([self._context.world.see_child(item)])
                        there.add((_owner(item), ChildId(kind, item["metadata"]["name"])))
        for key, children in self._context.world.children.items():
            for one in [one for one in children if (key, one) not in there]:
                del children[one]  # it went while nobody watched, alone or with its API

    async def _list_sources(self) -> None:
        there = set()
        for namespace in self._reach.places:
            async for item in self._context.cluster.list(SOURCE, namespace):
                if "kind" in item:
                    self._context.world.see_source(item)
                    there.add(key_of(item))
        sources = self._context.world.sources
        # One that was deleted where we may look no more is cleaned up after all the same.
        gone = [
            key
            for key, seen in sources.items()
            if key not in there and (self._reach.covers(key.namespace) or not seen.deleting)
        ]
        for key in gone:
            self._context.world.drop_source(key)
        self._wake([*sources, *gone])

    async def _watch(self, stop: asyncio.Event) -> None:
        """Watch until `stop`. What ends it otherwise, such as a refusal, is no reason to end with it."""
        while not stop.is_set():
            handlers.tell_complaints(self._complain)
            try:
                await watch(self._context.kinds, self._reach.namespaces, self._hear, stop)
            except Unavailable as error:
                self._complain("watches ended", error)
                self._reach.doubt()
                await asyncio.sleep(_RETRY_S)

    def _hear(self, kind: Kind, told: str | None, item: Object) -> None:
        self._measures.events.labels(kind.kind).inc()
        if told is None:  # in a list, which says nothing of what went meanwhile
            self._listed.set()
        see = self._context.world.see_source if kind == SOURCE else self._context.world.see_child
        self._wake([see(item, gone=told == "DELETED")])

    async def _look_for_losses(self) -> None:
        """A watch that was cut begins again with a list. What is not in it went while nobody watched.

        One list makes us look at every kind: one of which nothing is left would tell nothing.
        """
        while True:
            await self._listed.wait()
            await asyncio.sleep(_LIST_S)
            self._listed.clear()
            try:
                for kind in sorted({*self._context.kinds, SECRET, SOURCE}):
                    await self._look_for_losses_of(kind)
            except ForebayError as error:
                self._complain("not compared with what is there", error)
                self._listed.set()

    async def _look_for_losses_of(self, kind: Kind) -> None:
        world, selector = self._context.world, "" if kind == SOURCE else handlers.SELECTOR
        before, there = world.standing(kind), set()
        for namespace in self._reach.places:
            async for item in self._context.cluster.list(kind, namespace, selector, metadata_only=True):
                if "kind" in item:
                    there.add((item["metadata"]["namespace"], item["metadata"]["name"]))
        lost = [
            (place, owner) for place, owner in before.items() if place not in there and self._reach.covers(place[0])
        ]
        self._wake([world.lose(kind, key, name, uid) for (_, name), (key, uid) in lost])

    async def _stop_when_others_come(self, stop: asyncio.Event) -> None:
        """A term of watching knows the kinds and namespaces that were there when it began; for others it begins again."""
        optional = [_kind(api) for api in OPTIONAL_APIS]
        missed = self._context.api_missed
        while not stop.is_set():
            await asyncio.sleep(_DISCOVER_AT_MOST_EVERY_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(missed.wait(), DISCOVER_S - _DISCOVER_AT_MOST_EVERY_S)
            missed.clear()
            try:
                if _optional(await self._context.cluster.served(optional)) != self._context.platform.apis:
                    self._context.log.info("watches anew: optional APIs came or went")
                    stop.set()
                if await self._reach.changed():
                    self._context.log.info("watches anew: namespaces let us in or no more")
                    # A namespace's Role may go just before its sources: the watches that are open still tell of these.
                    await asyncio.sleep(_PARTING_S)
                    stop.set()
            except ForebayError as error:
                self._complain("optional APIs not looked for", error)

    async def _resync(self) -> None:
        """Look at every source again now and then, and whether the watches still tell everything."""
        while True:
            await asyncio.sleep(self._context.options.resync_s)
            self._wake(self._context.world.sources)
            self._listed.set()
            try:
                self.deaf = await self._deaf_watch()
            except ForebayError as error:
                self._complain("watches not checked", error)

    async def _deaf_watch(self) -> str | None:
        """Why a restart would help: changes that the API server lists and the watches do not tell."""
        behind = []
        for namespace in self._reach.places:
            async for item in self._context.cluster.list(SOURCE, namespace, metadata_only=True):
                if "kind" in item:
                    seen = self._context.world.sources.get(key_of(item))
                    if seen is None or seen.version != item["metadata"]["resourceVersion"]:
                        behind.append((key_of(item), seen and seen.version))
        if not behind:
            return None
        await asyncio.sleep(_DEAF_S)
        sources = self._context.world.sources
        still = [key for key, version in behind if (seen := sources.get(key)) is None or seen.version == version]
        return f"the watch of {SOURCE.kind}s does not tell of {still[0]}" if still else None

    # ------------------------------------------------------------------------------------------------ Secrets

    async def _list_secrets(self, namespace: str | None) -> str:
        world, since = self._context.world, ""
        lost = {one for one in world.secrets if namespace in (None, one.namespace)}
        async for item in self._context.cluster.list(SECRET, namespace, metadata_only=True):
            if "kind" in item:
                self._secret_seen("LISTED", item["metadata"])
                lost.discard(SecretId(item["metadata"]["namespace"], item["metadata"]["name"]))
            else:
                since = item["resourceVersion"]
        for one in lost:
            self._wake(world.see_secret(*one, None))
        return since

    async def _watch_secrets(self, namespace: str | None) -> None:
        """Metadata alone: no value of any Secret comes into this process on this way."""
        while True:
            try:
                since = self._secrets_since.get(namespace) or await self._list_secrets(namespace)
                async for what, item in self._context.cluster.watch_metadata(SECRET, namespace, since):
                    self._secrets_since[namespace] = item["metadata"]["resourceVersion"]
                    self._secret_seen(what, item["metadata"])
                await asyncio.sleep(_ANEW_S)
            except Gone:
                self._secrets_since.pop(namespace, None)
                await asyncio.sleep(_ANEW_S)
            except ForebayError as error:
                self._complain("Secrets not watched", error)
                await asyncio.sleep(_RETRY_S)

    def _secret_seen(self, what: str, metadata: Object) -> None:
        if what != "BOOKMARK":
            version = None if what == "DELETED" else metadata["resourceVersion"]
            self._wake(self._context.world.see_secret(metadata["namespace"], metadata["name"], version))

    # ------------------------------------------------------------------------------------------------ brokers

    async def _look_at_brokers(self) -> None:
        """One that does not answer keeps nobody from looking at the others."""
        async with asyncio.TaskGroup() as looks:
            while True:
                await asyncio.sleep(LOOK_S)
                await self._context.brokers.keep(self._context.places.values())
                for broker in self._context.brokers:
                    if not broker.looking:
                        looks.create_task(self._look(broker))

    async def _look(self, broker: Broker) -> None:
        """Wake the sources about whose place on the broker there is something new."""
        names, depths = broker.holdings.names(), broker.depths
        own = [key for key, place in self._context.places.items() if place == broker.address]
        try:
            await broker.look(at_most_s=LOOK_S / 2)
        except ForebayError as error:
            self._complain("broker not looked at", error, broker=broker.address.shown)
            self._wake([] if broker.told else own)
            broker.told = True
            return
        failed, broker.failed, broker.told = broker.failed, False, False
        now = broker.holdings.names()
        changed = {name for name in names.keys() | now.keys() if names.get(name, _NOWHERE) != now.get(name, _NOWHERE)}
        changed |= {f"queue {queue}" for queue in depths if depths[queue] != broker.depths.get(queue)}
        owners = {_owner_of(name) for name in changed}
        self._wake(own if failed else own[:1] if owners - set(own) else [])
        self._wake(owners & set(own))

    # ------------------------------------------------------------------------------------------------ work

    def _wake(self, keys: Iterable[Key | None]) -> None:
        for key in keys:
            if key is not None:
                self._queue.add(key)

    def _timed(self, reconcile: Reconciler) -> Any:
        async def timed(key: Key) -> float | None:
            began = time.perf_counter()
            result = "failed"
            try:
                again_s = await reconcile(key)
                result = "ok"
            finally:
                self._measures.seconds.labels(result).observe(time.perf_counter() - began)
            return again_s

        return timed

    def _failed(self, key: Key, error: BaseException, again_s: float) -> None:
        kind = type(error).__name__
        self._measures.errors.labels(kind).inc()
        expected = isinstance(error, ForebayError)
        self._complain(
            "reconcile failed",
            error if expected else repr(error),
            kind=kind,
            source=str(key),
            again_s=round(again_s, 1),
        )

    def _complain(self, event: str, error: object, **fields: Any) -> None:
        if isinstance(error, Forbidden):
            self._reach.doubt()
        held_back = self._throttle.admit(event)
        if held_back is not None:
            self._context.log.warning(event, error=str(error), held_back=held_back or None, **fields)

    async def _patiently(self, do: Any) -> None:
        while True:
            try:
                await do()
            except ForebayError as error:
                self.unready = str(error)
                self._complain("can not begin yet", error)
                await asyncio.sleep(_RETRY_S)
            else:
                return


_NOWHERE = object()


@asynccontextmanager
async def _running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the block; cancel them after it. One that fails ends the block with its exception."""
    block = asyncio.current_task()
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    failures: list[BaseException] = []

    def ended(task: "asyncio.Future[None]") -> None:
        if not task.cancelled() and (failure := task.exception()) is not None and block is not None:
            failures.append(failure)
            block.cancel()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if not failures or block is None:
            raise
        block.uncancel()
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]


def _optional(served: Iterable[Kind]) -> frozenset[str]:
    return frozenset(f"{kind.api_version}/{kind.kind}" for kind in served) & frozenset(OPTIONAL_APIS)


def _kind(api: str) -> Kind:
    api_version, _, kind = api.rpartition("/")
    return Kind(api_version, kind)


def _owner(child: Object) -> Key:
    return Key(child["metadata"]["namespace"], child["metadata"].get("labels", {}).get("forebay.dev/source", ""))


def _owner_of(name: str) -> Key:
    """Of something on the broker: "queue forebay.NS.NAME.QUEUE"; of a binding its queue counts."""
    words = name.split(" ")
    parts = (words[2] if words[0] == "binding" else words[1]).split(".")
    return Key(parts[1], parts[2]) if len(parts) > 2 else Key("", "")
