"""The operator's process: connects, waits to lead where several run, acts, lets go."""

import asyncio
import time
from contextlib import AsyncExitStack

from kubernetes.aio.config import ConfigException
from prometheus_client import CollectorRegistry

from forebay.errors import SpecError, Unavailable
from forebay.runtime import Runtime
from forebay.telemetry import Log
from forebay_operator.acting import Acting
from forebay_operator.broker import Brokers
from forebay_operator.cluster import connected
from forebay_operator.context import Context
from forebay_operator.leader import Leadership
from forebay_operator.measures import Facts, Measures
from forebay_operator.options import Options
from forebay_operator.room import Room
from forebay_operator.work import WorkQueue
from forebay_operator.world import Key, World


class Operator:
    """The operator (a `forebay.process.Part`)."""

    def __init__(self, options: Options, _runtime: Runtime, log: Log) -> None:
        self._options = options
        self._log = log
        self._queue: WorkQueue[Key] = WorkQueue()
        self._measures = Measures()
        self._stack = AsyncExitStack()
        self._context: Context
        self._acting: Acting
        self._leadership: Leadership | None = None

    @property
    def registry(self) -> CollectorRegistry:
        return self._measures.registry

    def unhealthy(self) -> str | None:
        return self._acting.deaf

    def unready(self) -> str | None:
        """A replica that waits to lead is ready: waiting is its work."""
        waits = self._leadership is not None and not self._leadership.leads
        return None if waits else self._acting.unready

    async def start(self) -> dict[str, str]:
        """Connect. Raises SpecError if there is no cluster to speak to."""
        try:
            cluster = await self._stack.enter_async_context(connected())
        except ConfigException as error:
            raise SpecError(f"there is no cluster to speak to: {error} (set KUBECONFIG, or run it in a pod)") from error
        brokers = Brokers()
        self._stack.push_async_callback(brokers.close)
        options = self._options
        self._context = Context(
            options=options, world=World(wake=self._queue.add), cluster=cluster, brokers=brokers,
            room=Room(options.workers, wake=self._queue.add), log=self._log, now=time.time, platform=options.platform,
        )  # fmt: skip
        self._acting = Acting(self._context, self._queue, self._measures)
        self._measures.registry.register(Facts(self._context, self._queue))
        if options.leader_election:
            self._leadership = Leadership(
                cluster, options.lease_namespace, options.lease_name, options.identity, self._log
            )
        return {}

    async def run(self) -> None:
        """Act while we lead; ends when a signal comes. Raises Unavailable when the lease is lost."""
        if self._leadership is None:
            await self._act()
        else:
            await self._lead(self._leadership)

    async def drain(self) -> None:
        if self._leadership is not None and self._leadership.leads:
            await self._leadership.release()
        await self._stack.aclose()

    async def _act(self) -> None:
        self._measures.leading.set(1)
        await self._acting.run()

    async def _lead(self, leadership: Leadership) -> None:
        await leadership.acquire()
        keeping = asyncio.ensure_future(leadership.keep())
        acting = asyncio.ensure_future(self._act())
        try:
            await asyncio.wait({acting, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                # Whoever leads now must not meet a half-dead one: the process ends, whatever is under way.
                raise Unavailable("the lease was lost: another replica may act now")
            await acting
        finally:
            for task in (acting, keeping):
                task.cancel()
            await asyncio.gather(acting, keeping, return_exceptions=True)
