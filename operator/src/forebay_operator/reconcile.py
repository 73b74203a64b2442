"""The loop on one screen: see a source, bring the broker and the API server to what it wants, say how it stands.

Level-triggered: it looks at the world as it is, whatever has woken it, and doing it twice changes nothing. It may be
killed between any two acts; the next run goes on from what is there.
"""

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

from forebay.errors import SpecError, Unavailable
from forebay.manifest import read_source
from forebay.source import WebhookSource
from forebay.topology import Names, queue_of
from forebay_operator import capture, children, gather, logins, retire, topology
from forebay_operator.broker import Broker
from forebay_operator.cluster import SECRET, Forbidden, Object
from forebay_operator.conditions import Observed, Trouble, conditions, refused
from forebay_operator.context import Context
from forebay_operator.desired import broker_secret, desired, route, secret_names, source_topology, url
from forebay_operator.desired.lanes import with_leaving
from forebay_operator.desired.metadata import QUEUE_LABEL
from forebay_operator.desired.platform import HTTP_ROUTE, PROMETHEUS_RULE
from forebay_operator.draining import Drains
from forebay_operator.migrating import Migrations
from forebay_operator.report import report
from forebay_operator.room import NoRoom
from forebay_operator.world import Child, ChildId, Key, SecretId, Source

_AGAIN_S = 5.0  # after a trouble that goes by itself


@dataclass(slots=True)
class Pass:
    """What one reconcile of a source has found out so far."""

    key: Key
    seen: Source
    source: WebhookSource
    broker: Broker | None = None
    again_s: list[float] = field(default_factory=list)
    observed: Observed = field(default_factory=Observed)

    def note(self, **what: Any) -> None:
        self.observed = replace(self.observed, **what)

    def later(self, seconds: float | None) -> None:
        if seconds is not None:
            self.again_s.append(seconds)


class Reconciler:
    """Reconciles one source at a time of its key; any number of keys at once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._drains = Drains()
        self._migrations = Migrations()
        self._earlier_logins = logins.EarlierLogins()
        self._parsed: dict[Key, tuple[object, WebhookSource]] = {}
        self._marks: dict[
            Key, tuple[object, WebhookSource, children.Marks]
        ] = {}  # of what was wanted last, and of what

    async def __call__(self, key: Key) -> float | None:
        """Bring a source to where it should be. Seconds after which to look again; None: when something happens.

        Raises Unavailable if the API server can not be reached.
        """
        try:
            return await self._reconcile(key)
        except NoRoom:
            return None  # it is woken when there is room
        finally:
            self._context.room.leave(key)

    async def _reconcile(self, key: Key) -> float | None:
        seen = self._context.world.sources.get(key)
        if seen is None:
            self._parsed.pop(key, None)
            self._marks.pop(key, None)
            self._context.forget(key)
            return None
        try:
            source = self._understood(key, seen)
        except SpecError as error:
            return await self._not_understood(key, seen, str(error))
        run = Pass(key, seen, source)
        await (self._retire(run) if seen.deleting else self._settle(run))
        return min(run.again_s, default=None)

    def _understood(self, key: Key, seen: Source) -> WebhookSource:
        """The source as the model has it; parsed again only when it is another one."""
        metadata = seen.body["metadata"]
        mark = (metadata["uid"], metadata.get("generation"), metadata.get("annotations"), metadata.get("labels"))
        known = self._parsed.get(key)
        if known is None or known[0] != mark:
            self._parsed[key] = known = (mark, read_source(seen.body))
        return known[1]

    async def _not_understood(self, key: Key, seen: Source, why: str) -> float | None:
        """What is there stays as it is; only deleting goes on, with what was known before."""
        if seen.deleting:
            await retire.abandon(self._context, key, seen, why)
            return None
        return await report(self._context, key, seen, refused(why), {})

    # ------------------------------------------------------------------------------------------------ a living source

    async def _settle(self, run: Pass) -> None:
        context = self._context
        run.later(await retire.hold(context, run.key, run.seen))
        versions = await gather.versions_of(context, run.source)
        taken = self._address_taken(run)
        run.note(unaccepted=gather.missing(versions, run.source) or taken)
        await self._settle_broker(run)
        captured, again_s = await capture.settle(context, capture.Whose(run.key, run.seen, run.source), run.broker)
        run.note(capture=captured)
        run.later(again_s)
        draining = topology.dropped(run.source, run.broker) if run.broker else ()
        login_versions = self._login_versions(run)
        if len(login_versions) == len(logins.COMPONENTS):
            known = {name: version for name, version in versions.items() if version is not None}
            # A second route to an address would take webhooks from the first.
            routed = without_route(run.source) if taken else run.source
            await self._settle_children(run, with_leaving(routed, draining), {**known, **login_versions})
        await self._tidy(run, draining)
        self._look_at_children(run)
        run.later(
            await report(context, run.key, run.seen, conditions(run.source, run.observed), self._facts(run, draining))
        )

    async def _settle_broker(self, run: Pass) -> None:
        context = self._context
        self._remember_secrets(run)
        try:
            place = await gather.broker_of(context, run.key, run.source)
        except gather.Unusable as error:
            run.note(unaccepted=run.observed.unaccepted or error.trouble)
            return
        context.room.enter(run.key, place)
        run.broker = await context.brokers.at(place)
        standing = await topology.settle(context, run.key, run.source, run.broker, self._migrations)
        run.note(topology=standing.trouble, outdated_broker=topology.outdated(run.broker.version))
        run.later(standing.again_s)

    def _remember_secrets(self, run: Pass) -> None:
        """A change of any of these Secrets is to wake the source."""
        names = {SecretId(run.key.namespace, name) for name in secret_names(run.source)}
        with contextlib.suppress(gather.Unusable):  # is said where the broker is looked for
            names.add(gather.broker_secret_of(run.source, self._context.options.default_broker))
        self._context.world.uses(run.key, names)

    def _login_versions(self, run: Pass) -> dict[str, str]:
        """The Secrets with the components' logins, as far as they are there."""
        own = self._context.world.children.get(run.key, {})
        names = (broker_secret(run.source, component) for component in logins.COMPONENTS)
        found = {name: own.get(ChildId(SECRET, name)) for name in names}
        return {name: child.version for name, child in found.items() if child and child.owner == run.seen.uid}

    async def _settle_children(self, run: Pass, source: WebhookSource, versions: dict[str, str]) -> None:
        context, key, uid = self._context, run.key, run.seen.uid
        there = context.world.children.setdefault(key, {})
        about = (context.platform, tuple(sorted(versions.items())))
        known = self._marks.get(key)
        if known and known[:2] == (about, source) and children.settled(known[2], there, uid):
            return
        wanted = children.wanted(desired(source, context.platform, versions))
        self._marks[key] = (about, source, {children.identity(item): mark for item, mark in wanted})
        lacking = children.stale(wanted, there, uid)
        if run.observed.topology and run.observed.topology.reason == topology.SETTLING:
            # It would ask the broker at once, by a login that has no rights yet.
            lacking = [item for item in lacking if item["kind"] != "ScaledObject"]
        not_applied = await children.apply(context, key, lacking, uid)
        not_pruned = await children.prune(context, key, children.unwanted(wanted, there, uid))
        if trouble := not_applied or not_pruned:
            run.note(children=trouble)
            run.later(_AGAIN_S)

    def _address_taken(self, run: Pass) -> Trouble | None:
        """Two sources at one public address: the older one keeps it."""
        taken = self._context.world.addresses.taken(*run.key)
        if taken is None:
            return None
        address, (namespace, name) = taken
        return Trouble(
            "AddressTaken",
            f"{address} is the address of source {namespace}/{name} already: set another spec.ingest.path or host",
        )

    async def _tidy(self, run: Pass, draining: tuple[str, ...]) -> None:
        """Remove what earlier wishes left on the broker, once nothing depends on it any more."""
        if run.broker is None or run.observed.topology:
            return
        try:
            await topology.drop_policies(run.source, run.broker)
            rolled_out = self._rolled_out(run)
            for queue in draining:
                if self._migrations.holds(run.key, source_topology(run.source), queue):
                    continue
                if any(queue_of(lane) == queue != lane for lane in draining):
                    continue  # the workers that its lanes still need consume the queue too
                await self._drains.go_on(run.key, run.source, run.broker, queue, needed=not rolled_out)
                run.later(_AGAIN_S)
            if rolled_out and not await topology.drop_pacing(run.source, run.broker):
                run.later(_AGAIN_S)
            if rolled_out:
                await topology.drop_stream(run.source, run.broker)
            if rolled_out and not await self._earlier_logins.retire(run.source, run.broker):
                run.later(_AGAIN_S)
        except Unavailable:
            run.later(_AGAIN_S)

    def _rolled_out(self, run: Pass) -> bool:
        own = [child for one, child in self._deployments(run.key)]
        return bool(own) and all(child.status.rolled_out for child in own)

    def _deployments(self, key: Key) -> list[tuple[ChildId, Child]]:
        own = self._context.world.children.get(key, {})
        return [(one, child) for one, child in own.items() if one.kind.kind == "Deployment"]

    # ------------------------------------------------------------------------------------------------ what is said

    def _look_at_children(self, run: Pass) -> None:
        own = self._context.world.children.get(run.key, {})
        deployments = self._deployments(run.key)
        expose = run.source.spec.ingest.expose
        routed = expose is not None and expose.http_route is not None
        run.note(
            ingest=next((c.status for _, c in deployments if QUEUE_LABEL not in c.labels), None),
            workers={c.labels[QUEUE_LABEL]: c.status for _, c in deployments if QUEUE_LABEL in c.labels},
            route=next((c.status for one, c in own.items() if one.kind.kind in ("HTTPRoute", "Ingress")), None),
            missing_api="HTTPRoute" if routed and HTTP_ROUTE not in self._context.platform.apis else None,
            monitored=PROMETHEUS_RULE in self._context.platform.apis,
            dead=self._messages(run, Names(*run.key).dead),
            breaker_notes=self._messages(run, Names(*run.key).breaker_notes),
        )

    def _messages(self, run: Pass, queue: str) -> int | None:
        if run.broker is None:
            return None
        depth = run.broker.depths.get(queue)
        return depth.messages if depth else None

    def _facts(self, run: Pass, draining: tuple[str, ...]) -> Object:
        workers = run.observed.workers.values()
        queued = None
        if run.broker is not None:
            names, depths = source_topology(run.source), run.broker.depths
            places = [names.names.queue(queue) for queue in (*names.queues, *names.lanes, *draining)]
            counted = [depths[place].messages for place in places if place in depths]
            queued = sum(counted) if counted else None
        return {
            "url": url(run.source, self._context.platform),
            "route": route(run.source, self._context.platform),
            "broker": run.broker.address.shown if run.broker else None,
            "workers": f"{sum(p.ready for p in workers)}/{sum(p.wanted for p in workers)}",
            "queued": queued,
            "dead": run.observed.dead,
            "retained": list(draining[:32]) or None,  # as many as the schema takes
        }

    # ------------------------------------------------------------------------------------------------ a deleted source

    async def _retire(self, run: Pass) -> None:
        waits, again_s = await retire.retire(self._context, run.key, run.seen, run.source)
        run.later(again_s)
        if waits is not None:
            self._look_at_children(run)
            run.note(retiring=waits)
            with contextlib.suppress(Forbidden):  # rules that have gone with the namespace stop no cleaning up
                run.later(await report(self._context, run.key, run.seen, conditions(run.source, run.observed), {}))


def without_route(source: WebhookSource) -> WebhookSource:
    """The source as if nothing outside the cluster led to it."""
    ingest = source.spec.ingest.model_copy(update={"expose": None})
    return source.model_copy(update={"spec": source.spec.model_copy(update={"ingest": ingest})})
