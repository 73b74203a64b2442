"""What paces a worker's deliveries, if its source asks for it: the parts, chosen and connected at the start."""

from asyncio import TaskGroup
from collections.abc import Callable

from forebay.amqp.link import Link
from forebay.amqp.permits import Permits
from forebay.amqp.slots import Slots
from forebay.settings import WorkerSettings
from forebay.telemetry import Log
from forebay.topology import Names
from forebay_worker.measures import Measures
from forebay_worker.permit import Admission, Intake, ahead


class Pacing:
    """The rate limit and the slots of one worker. Made on a running loop."""

    def __init__(
        self,
        settings: WorkerSettings,
        url: Callable[[], str],
        intake: Callable[[], Intake],
        measures: Measures,
        log: Log,
    ) -> None:
        limit = settings.rate_limit
        self._permits, self._slots = _permits(settings, url, log), _slots(settings, url, log)
        self._parts = [part for part in (self._permits, self._slots) if part is not None]
        self.admission = Admission(self._slots, self._permits, intake, measures.permit_wait())
        self.prefetch = ahead(settings.concurrency, limit.rate) if limit else settings.concurrency
        measures.gauge(
            "forebay_permit_waiting", "Messages in hand that wait for the rate limit or for maxInFlight.", self._waiting
        )

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(part.link for part in self._parts)

    def run_in(self, group: TaskGroup) -> None:
        """Keep the connections."""
        for part in self._parts:
            group.create_task(part.run())

    async def close(self) -> None:
        """Let nothing begin any more: what waits is given back."""
        for part in self._parts:
            part.close()
        await self.admission.close()

    def _waiting(self) -> int:
        return sum(part.waiting for part in self._parts)


def _permits(settings: WorkerSettings, url: Callable[[], str], log: Log) -> Permits | None:
    if settings.rate_limit is None:
        return None
    return Permits(
        url,
        name=f"forebay-worker {settings.source} permits",
        names=Names.of(settings.source),
        limit=settings.rate_limit,
        most=settings.concurrency,
        queue=settings.queue if settings.own_rate_limit else None,
        log=log,
    )


def _slots(settings: WorkerSettings, url: Callable[[], str], log: Log) -> Slots | None:
    if settings.max_in_flight is None:
        return None
    own = settings.queue if settings.own_max_in_flight else None
    queue = Names.of(settings.source).slots(settings.max_in_flight, own)
    return Slots(url, name=f"forebay-worker {settings.source} slots", queue=queue, log=log)


def pacing(
    settings: WorkerSettings, url: Callable[[], str], intake: Callable[[], Intake], measures: Measures, log: Log
) -> Pacing | None:
    """None where nothing paces the deliveries."""
    if settings.rate_limit is None and settings.max_in_flight is None:
        return None
    return Pacing(settings, url, intake, measures, log)
