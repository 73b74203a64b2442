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
        names, name, limit = Names.of(settings.source), f"forebay-worker {settings.source}", settings.rate_limit
        self._permits = (
            Permits(url, name=f"{name} permits", names=names, limit=limit, most=settings.concurrency, log=log)
            if limit
            else None
        )
        count = settings.max_in_flight
        self._slots = Slots(url, name=f"{name} slots", queue=names.slots(count), log=log) if count else None
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


def pacing(
    settings: WorkerSettings, url: Callable[[], str], intake: Callable[[], Intake], measures: Measures, log: Log
) -> Pacing | None:
    """None where nothing paces the deliveries."""
    if settings.rate_limit is None and settings.max_in_flight is None:
        return None
    return Pacing(settings, url, intake, measures, log)
