"""A deleted source goes in an order that loses nothing: endpoint, workers, then what is empty on the broker.

The broker acknowledges what is on its way into a queue that is being deleted, so nobody may publish any more before a queue
goes. Every step looks at the world again: a restart in between goes on where it was.
"""

import contextlib
import time
from collections.abc import Iterable
from urllib.parse import quote

from forebay.errors import Unavailable
from forebay.source import API_VERSION, KIND, WebhookSource
from forebay.topology import Names
from forebay_operator.broker import LOOK_S, Broker
from forebay_operator.cluster import Forbidden, Missing, Object
from forebay_operator.context import Context
from forebay_operator.draining import remove
from forebay_operator.gather import Unusable, broker_of
from forebay_operator.report import post_event
from forebay_operator.topology import delete_policy
from forebay_operator.world import Key, Source

FINALIZER = "forebay.dev/broker"

_LOOKS = ("ingest", "worker")
# A queue says every five seconds how many messages it holds; what it says after this long is true.
_COUNTED_S = 2 * LOOK_S
_POLL_S = 1.0


async def hold(context: Context, key: Key, seen: Source) -> float | None:
    """Put the finalizer on, before anything is made that the API server would not clean up. When to look again.

    The answer may hold an edit that no watch will tell of as new.
    """
    if FINALIZER in seen.finalizers:
        return None
    held = await context.cluster.apply(_with_finalizers(key, seen, [FINALIZER]))
    return 0.0 if context.world.see_answer(held) else None


async def retire(context: Context, key: Key, seen: Source, source: WebhookSource) -> tuple[str | None, float | None]:
    """Take the next step. What is waited for, and when to look again; None and None: the source is gone."""
    if FINALIZER not in seen.finalizers:
        return None, None
    for component in _LOOKS:
        if await _end(context, key, component):
            return f"The {component} pods finish what they have in flight.", None
    try:
        place = context.places.get(key) or await broker_of(context, key, source)
    except Unusable as error:
        await _release(context, key, seen, [], f"the broker was not cleaned up: {error}")
        return None, None
    context.room.enter(key, place)
    broker = await context.brokers.at(place)
    try:
        left = await _clean(context, key, source, broker)
    except Unavailable as error:
        return f"{error}. To let go of what is there: kubectl forebay force-finalize {key.name} -n {key.namespace}", 5.0
    if left is None:
        return "Nothing is published any more; the broker counts what is left.", _POLL_S
    await _release(context, key, seen, left, None)
    return None, None


async def abandon(context: Context, key: Key, seen: Source, why: str) -> None:
    """Let a deleted source go that can not be understood: its queues stay as they are."""
    if FINALIZER in seen.finalizers:
        await _release(
            context, key, seen, [], f"the broker was not cleaned up, because the spec can not be used: {why}"
        )


async def _end(context: Context, key: Key, component: str) -> bool:
    """Delete a component's children; whether any pod of it may still run."""
    label = "app.kubernetes.io/component"
    children = context.world.children.get(key, {})
    own = [(one, child) for one, child in children.items() if child.labels.get(label) == component]
    running = [pair for pair in own if pair[0].kind.kind == "Deployment"]
    # What would keep pods alive or bring them back goes with them; Secrets stay until the pods have ended.
    for one, child in own:
        if not child.deleting and one.kind.kind in (
            "Deployment",
            "HTTPRoute",
            "Ingress",
            "ScaledObject",
            "HorizontalPodAutoscaler",
        ):
            # Where our Role has gone with the namespace, Kubernetes deletes them.
            with contextlib.suppress(Forbidden):
                await context.cluster.delete(one.kind, key.namespace, one.name, child.uid, wait_for_dependents=True)
    return bool(running)


async def _clean(context: Context, key: Key, source: WebhookSource, broker: Broker) -> list[str] | None:
    """Remove users, then the way in, then empty queues; the queues that stay. None: the broker has to count first."""
    names = Names(key.namespace, key.name)
    await broker.look(at_most_s=LOOK_S)
    await _remove_users(broker, names)
    queues = sorted(name for name in broker.holdings.queues if _belongs(name, names))
    closed = context.closed.get(key)
    if closed is None:
        await _close(broker, names, queues)
        context.closed[key] = time.monotonic()
        return None if queues else await _delete(source, broker, names, [])
    if time.monotonic() - closed < _COUNTED_S:
        return None
    await broker.look(at_most_s=LOOK_S / 2)
    return await _delete(source, broker, names, queues)


def _belongs(queue: str, names: Names) -> bool:
    rest = queue.removeprefix(f"{names.exchange}.")
    return rest != queue and "." not in rest


async def _remove_users(broker: Broker, names: Names) -> None:
    """With a user its connections go: whoever still publishes gets no confirm any more."""
    prefixes = tuple(f"{names.exchange}.{component}." for component in _LOOKS)
    for user in [name for name in broker.holdings.users if name.startswith(prefixes)]:
        if user.count(".") == names.exchange.count(".") + 2:
            await broker.delete(f"users/{_quote(user)}")
            broker.holdings.users.pop(user, None)


async def _close(broker: Broker, names: Names, queues: Iterable[str]) -> None:
    """Unbind the queues from the source's exchange. The dead letters' way stays: the broker itself may still need it."""
    for queue in queues:
        if queue != names.dead and (names.exchange, queue, queue) in broker.holdings.bindings:
            await broker.delete(
                f"bindings/{_quote(broker.vhost)}/e/{_quote(names.exchange)}/q/{_quote(queue)}/{_quote(queue)}"
            )
            broker.holdings.bindings.discard((names.exchange, queue, queue))


async def _delete(source: WebhookSource, broker: Broker, names: Names, queues: list[str]) -> list[str]:
    keep_full = source.spec.deletion_policy == "Retain"
    left = [name for name in queues if keep_full and broker.depths[name].messages]
    if any(name != names.dead for name in left) and names.dead in queues and names.dead not in left:
        left.append(names.dead)  # where the broker puts what it gives up of the others
    vhost = _quote(broker.vhost)
    for name in queues:
        if name not in left:
            await remove(broker, name)
    for name in {names.seen, names.captured} & broker.holdings.queues.keys():  # no webhook is in there
        await remove(broker, name)
    for name in [queue for queue in broker.holdings.queues if queue.startswith(names.permits_prefix)]:
        await remove(broker, name)
    if not left:
        if names.exchange in broker.holdings.exchanges:
            await broker.delete(f"exchanges/{vhost}/{_quote(names.exchange)}")
        broker.holdings.exchanges.pop(names.exchange, None)
        for name in {names.dead, names.seen} & broker.holdings.policies.keys():
            await delete_policy(broker, name)
    return left


async def _release(context: Context, key: Key, seen: Source, left: list[str], warning: str | None) -> None:
    """Let the API server delete the source, and say where what is left is."""
    if left:
        warning = f"webhooks are kept in {', '.join(left)}; a source of the same name takes them over"
    if warning:
        context.log.warning("source deleted", source=str(key), left=warning)
        await post_event(
            context,
            seen,
            "Warning",
            "QueuesRetained" if left else "BrokerNotCleaned",
            warning[:1].upper() + warning[1:],
        )
    try:
        await context.cluster.apply(_with_finalizers(key, seen, []))
    except Missing:
        pass  # somebody was faster; a conflict is none of that, and tried again
    except Forbidden as error:
        remedy = f"If its Role went with the namespace: kubectl forebay force-finalize {key.name} -n {key.namespace}"
        raise Forbidden(f"{error}. {remedy}") from error
    context.forget(key)


def _with_finalizers(key: Key, seen: Source, finalizers: list[str]) -> Object:
    """The uid sees to it that no other source of the same name is meant, and none is made."""
    metadata = {"name": key.name, "namespace": key.namespace, "uid": seen.uid, "finalizers": finalizers}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}


def _quote(text: str) -> str:
    return quote(text, safe="")
