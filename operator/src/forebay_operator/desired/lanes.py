"""Which queues a source has, and which lanes a queue: those of the spec, and those of an earlier spec that are not empty yet."""

from collections.abc import Iterable

from forebay.source import WebhookSource
from forebay.source.queues import Queue
from forebay.topology import BUSY, DEFAULT_QUEUE, lane, ordered_lanes, queue_of


class Leaving(Queue):
    """A queue to which nothing is routed any more, or some lanes of one, with workers until what is there is delivered."""

    lanes: tuple[str, ...] = ()  # short names


def queue_names(source: WebhookSource) -> tuple[str, ...]:
    """The source's queues; `default` is always there, and last."""
    named = (queue.name for queue in source.spec.queues if queue.name != DEFAULT_QUEUE)
    return (*dict.fromkeys(named), DEFAULT_QUEUE)


def lanes_of(source: WebhookSource, queue: str) -> tuple[str, ...]:
    """The short names of the queue's lanes, by the spec; none if the queue itself is of an earlier one."""
    worker = source.spec.worker
    if not _is_wanted(source, queue):
        return ()
    if worker.ordering:
        return ordered_lanes(queue, worker.ordering.lanes)
    return (lane(queue, BUSY),) if worker.fairness else ()


def _is_wanted(source: WebhookSource, queue: str) -> bool:
    named = (one.name for one in source.spec.queues if not isinstance(one, Leaving))
    return queue in (DEFAULT_QUEUE, *named)


def leaving_of(source: WebhookSource, queue: str) -> tuple[str, ...]:
    """The short names of lanes that the queue had by an earlier spec."""
    leaving = (one for one in source.spec.queues if isinstance(one, Leaving) and one.name == queue)
    return tuple(name for one in leaving for name in one.lanes)


def with_leaving(source: WebhookSource, dropped: Iterable[str]) -> WebhookSource:
    """The source with queues and lanes that it had by an earlier spec (short names), so that what is there gets its workers."""
    lanes: dict[str, list[str]] = {}
    for name in dropped:
        lanes.setdefault(queue_of(name), []).extend([name] if queue_of(name) != name else [])
    if not lanes:
        return source
    extra = tuple(Leaving.model_construct(name=name, match=None, lanes=tuple(found)) for name, found in lanes.items())
    return source.model_copy(update={"spec": source.spec.model_copy(update={"queues": (*source.spec.queues, *extra)})})
