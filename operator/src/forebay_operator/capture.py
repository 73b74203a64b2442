"""The signing secret that a provider sends in its handshake: out of the broker's queue, into the Secret that the source names.

The queue is there only while a value is missing, so nothing that a stranger sends replaces one. A Secret that somebody else has
made has to allow it by annotation: who may write sources may not write into others' Secrets by them.
"""

import base64
from collections.abc import Sequence
from typing import NamedTuple

from forebay.captured import Captured, read
from forebay.errors import Rejected, Unavailable
from forebay.source import WebhookSource
from forebay.source.references import SecretKeyRef
from forebay.topology import Names, capture_objects
from forebay_operator import capture_window
from forebay_operator.broker import LOOK_S, Broker
from forebay_operator.cluster import SECRET, ApiUnavailable, Conflict, Missing, Object, Refused
from forebay_operator.conditions import Capture, Trouble
from forebay_operator.context import Context, Holding
from forebay_operator.desired import awaited_secrets
from forebay_operator.draining import remove
from forebay_operator.report import post_event
from forebay_operator.world import Key, SecretId, Source

# Annotations of such a Secret: the name of the source whose secrets it takes; when the last one came, and from whom.
ALLOWED = "forebay.dev/capture"
CAPTURED = "forebay.dev/captured"

_EMPTY = Holding(None, frozenset(), "", "")
_AGAIN_S = 5.0


class Whose(NamedTuple):
    """The source whose secrets are captured."""

    key: Key
    seen: Source
    source: WebhookSource


async def settle(context: Context, whose: Whose, broker: Broker | None) -> tuple[Capture | None, float | None]:
    """How far the source's secrets have come, if it captures any, and when to look again.

    Raises ApiUnavailable and Conflict, after which it is tried again.
    """
    key, source, refs = whose.key, whose.source, awaited_secrets(whose.source)
    held = {name: await _holding(context, key, name) for name in sorted({ref.name for ref in refs})}
    empty = [ref for ref in refs if ref.key not in held[ref.name].filled]
    barred = [ref.name for ref in empty if held[ref.name].version and held[ref.name].allowed != source.name]
    trouble, again_s = _barred(barred[0], source) if barred else None, 0.0
    closed = capture_window.closed(source, whose.seen.body["metadata"], context.now())
    if empty and not (barred or closed):
        again_s = LOOK_S  # one secret after another leaves the queue's depth as it was, which wakes nobody
    if broker is not None:
        try:
            if empty and not barred:
                await (_take_last if closed else _take)(context, whose, broker, empty)
            else:
                await _close(key, broker)
        except (ApiUnavailable, Conflict):
            raise
        except Refused as error:
            trouble, again_s = Trouble("SecretRefused", f"The API server refuses what was captured: {error}"), 30.0
        except (Unavailable, Rejected) as error:
            trouble, again_s = Trouble("BrokerUnavailable", f"{error}. It is tried again."), _AGAIN_S
    if not refs:
        return None, again_s or None
    last = next((held[ref.name].last for ref in reversed(refs) if held[ref.name].last), "")
    places = tuple(f"{ref.name}/{ref.key}" for ref in empty)
    filled = len(refs) - len(empty)
    return Capture(empty=places, filled=filled, last=last, closed=closed, trouble=trouble), again_s or None


async def _holding(context: Context, key: Key, name: str) -> Holding:
    """Under which keys a Secret holds something. It is read when its version is a new one, and no value is kept."""
    version = context.world.secrets.get(SecretId(key.namespace, name))
    own = context.holdings.setdefault(key, {})
    if version is None:
        own.pop(name, None)
        return _EMPTY
    if name not in own or own[name].version != version:
        try:
            found = await context.cluster.get(SECRET, key.namespace, name)
        except Missing:
            return _EMPTY
        filled = frozenset(at for at, value in (found.get("data") or {}).items() if value)
        annotations = found["metadata"].get("annotations") or {}
        own[name] = Holding(version, filled, annotations.get(ALLOWED, ""), annotations.get(CAPTURED, ""))
    return own[name]


def _barred(name: str, source: WebhookSource) -> Trouble:
    return Trouble(
        "SecretNotAllowed",
        f"Secret {name} is not Forebay's: kubectl annotate secret {name} -n {source.namespace} {ALLOWED}={source.name}",
    )


async def _take(context: Context, whose: Whose, broker: Broker, empty: Sequence[SecretKeyRef]) -> None:
    """Have a secret come, and write down what came."""
    await broker.declare(capture_objects(broker.vhost, Names(*whose.key)))
    depth = broker.depths.get(Names(*whose.key).captured)
    if depth and depth.messages:
        await _write_down(context, whose, broker, empty)


async def _take_last(context: Context, whose: Whose, broker: Broker, empty: Sequence[SecretKeyRef]) -> None:
    """The time is over: what came within it counts, its sender was told so."""
    if Names(*whose.key).captured in broker.holdings.queues:
        await _write_down(context, whose, broker, empty)
        await _close(whose.key, broker)


async def _write_down(context: Context, whose: Whose, broker: Broker, empty: Sequence[SecretKeyRef]) -> None:
    """The Secret first, so that a crash in between loses nothing."""
    queue = Names(*whose.key).captured
    found = await broker.first(queue)
    if found is None:
        return
    captured = read(*found)
    if captured is None or await _is_held(context, whose, captured):
        await broker.first(queue, take=True)
        return
    await _write(context, whose, empty[0], captured)
    # With the last value missing goes the queue, and what is in it: nothing can be put there in between.
    await (broker.first(queue, take=True) if empty[1:] else _close(whose.key, broker))
    await _tell(context, whose, empty[0], captured)


async def _tell(context: Context, whose: Whose, ref: SecretKeyRef, captured: Captured) -> None:
    provider = whose.source.spec.ingest.verification.provider
    message = f"The secret that {provider} sent {captured.shown} is in Secret {ref.name} under {ref.key}"
    context.log.info("secret captured", source=str(whose.key), secret=ref.name, key=ref.key, client=captured.client)
    await post_event(context, whose.seen, "Normal", "SecretCaptured", message)


async def _close(key: Key, broker: Broker) -> None:
    queue = Names(*key).captured
    if queue in broker.holdings.queues:
        await remove(broker, queue)


async def _is_held(context: Context, whose: Whose, captured: Captured) -> bool:
    """Whether it was written down before: by a process that died before it could take it out of the queue."""
    refs, value = awaited_secrets(whose.source), base64.b64encode(captured.secret).decode()
    for name in sorted({ref.name for ref in refs}):
        try:
            data = (await context.cluster.get(SECRET, whose.key.namespace, name)).get("data") or {}
        except Missing:
            continue
        if any(data.get(ref.key) == value for ref in refs if ref.name == name):
            return True
    return False


async def _write(context: Context, whose: Whose, ref: SecretKeyRef, captured: Captured) -> None:
    """Raises Conflict if the Secret is not as it was when it was decided to write."""
    namespace, source = whose.key.namespace, whose.source.name
    about: Object = {"annotations": {ALLOWED: source, CAPTURED: captured.shown}}
    data = {ref.key: base64.b64encode(captured.secret).decode()}
    try:
        there = await context.cluster.get(SECRET, namespace, ref.name)
    except Missing:
        about |= {"name": ref.name, "namespace": namespace}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": "Opaque", "data": data}
        written = await context.cluster.create(made)
    else:
        if _taken(there, ref.key) or (there["metadata"].get("annotations") or {}).get(ALLOWED) != source:
            raise Conflict(f"Secret {ref.name} was changed at this moment")
        about["resourceVersion"] = there["metadata"]["resourceVersion"]
        written = await context.cluster.merge(SECRET, namespace, ref.name, {"metadata": about, "data": data})
    # Seen at once: until the watch tells of it, the value would still be missing, and its way be opened again.
    for user in context.world.see_secret(namespace, ref.name, written["metadata"]["resourceVersion"]):
        context.world.wake(user)


def _taken(secret: Object, key: str) -> bool:
    return bool((secret.get("data") or {}).get(key))
