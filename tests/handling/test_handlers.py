"""Python functions as destinations: every way one can end is an Outcome, and none ends the worker."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from forebay_worker import DeadLetter, Drop, Retry, Webhook
from forebay_worker.handler import HandlerDelivery
from forebay_worker.outcome import Buried, Delivered, Dropped, Failed, Outcome, RetryAsked
from tests.support.envelopes import envelope
from tests.support.waiting import eventually


def raising(error: BaseException) -> tuple[Callable[[Webhook], Any], Callable[[Webhook], Any]]:
    """The same function twice: async and not."""

    async def later(webhook: Webhook) -> None:
        raise error

    def now(webhook: Webhook) -> None:
        raise error

    return later, now


async def ended(function: Callable[[Webhook], Any], timeout_s: float = 5.0, threads: int = 2) -> Outcome:
    return await HandlerDelivery(function, timeout_s=timeout_s, threads=threads)(envelope())


ENDS = [
    pytest.param(Retry(), RetryAsked(None, "the handler asked for a retry"), id="retry"),
    pytest.param(Retry("later", after=30), RetryAsked(30, "later"), id="retry after"),
    pytest.param(Retry(after=timedelta(minutes=2)), RetryAsked(120, "the handler asked for a retry"), id="timedelta"),
    pytest.param(Drop("not ours"), Dropped("not ours"), id="drop"),
    pytest.param(DeadLetter("malformed"), Buried("handler", "malformed"), id="dead letter"),
]


@pytest.mark.parametrize(("error", "outcome"), ENDS)
@pytest.mark.parametrize("kind", [0, 1], ids=["async", "sync"])
async def test_a_handler_says_what_it_wants(error: Exception, outcome: Outcome, kind: int) -> None:
    assert await ended(raising(error)[kind]) == outcome


@pytest.mark.parametrize(
    "error",
    [ValueError("no such order"), KeyError("order"), StopIteration("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(),
     asyncio.CancelledError(), TimeoutError("of its own"), ExceptionGroup("both", [ValueError("a")]), RecursionError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("kind", [0, 1], ids=["async", "sync"])
async def test_any_other_exception_is_a_failure_and_ends_nothing_else(error: BaseException, kind: int) -> None:
    outcome = await ended(raising(error)[kind])
    assert isinstance(outcome, Failed)
    assert "did not end within" not in outcome.error


async def test_a_failure_names_its_type_text_and_place() -> None:
    outcome = await ended(raising(ValueError("no\nsuch order"))[1])
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("ValueError: no such order (test_handlers.py:")


async def test_a_handler_gets_the_webhook() -> None:
    seen: list[Webhook] = []
    await ended(seen.append)
    (webhook,) = seen
    assert webhook.json() == {"zen": "Keep it logically awesome."}
    assert webhook.headers["x-github-event"] == "push"
    assert (webhook.id, webhook.attempt, webhook.event_type) == (envelope().id, 1, "push")


async def test_what_a_handler_returns_means_nothing() -> None:
    def returns_false(webhook: Webhook) -> bool:
        return False

    assert await ended(returns_false) == Delivered()


async def test_callables_of_all_kinds_are_handlers() -> None:
    calls: list[str] = []

    class AsyncObject:
        async def __call__(self, webhook: Webhook) -> None:
            calls.append("async object")

    async def plain(kind: str, webhook: Webhook) -> None:
        calls.append(kind)

    def wrapped(webhook: Webhook) -> Any:
        return plain("coroutine of a function that is not async", webhook)

    for function in (AsyncObject(), functools.partial(plain, "partial"), wrapped):
        assert await ended(function) == Delivered()
    assert calls == ["async object", "partial", "coroutine of a function that is not async"]


async def test_an_async_handler_is_cancelled_when_its_time_is_over() -> None:
    cancelled = False

    async def slow(webhook: Webhook) -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        finally:
            cancelled = True

    assert await ended(slow, 0.02) == Failed("the handler did not end within 0.02 s")
    assert cancelled


async def test_a_worker_that_stops_cancels_its_handlers() -> None:
    entered = asyncio.Event()

    async def slow(webhook: Webhook) -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(ended(slow))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_handlers_that_are_not_async_run_side_by_side_in_threads() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def meets(webhook: Webhook) -> None:
        assert threading.current_thread() is not threading.main_thread()
        meeting.wait()

    deliver = HandlerDelivery(meets, timeout_s=5, threads=3)
    assert await asyncio.gather(*(deliver(envelope()) for _ in range(3))) == [Delivered()] * 3


async def test_no_more_threads_than_allowed_are_started() -> None:
    seen: set[int] = set()

    def notes(webhook: Webhook) -> None:
        seen.add(threading.get_ident())
        time.sleep(0.001)

    deliver = HandlerDelivery(notes, timeout_s=5, threads=2)
    await asyncio.gather(*(deliver(envelope()) for _ in range(30)))
    assert len(seen) <= 2


async def test_a_stuck_thread_keeps_its_place_until_it_returns() -> None:
    release = threading.Event()

    def stuck(webhook: Webhook) -> None:
        release.wait(10)

    deliver = HandlerDelivery(stuck, timeout_s=0.02, threads=1)
    try:
        assert await deliver(envelope()) == Failed("the handler did not end within 0.02 s")
        assert deliver.stuck() == "all 1 threads of the handler are stuck beyond their timeout"
        waiting = asyncio.ensure_future(deliver(envelope()))
        await asyncio.sleep(0.05)
        assert not waiting.done()  # no clock runs for a webhook that waits for a thread
    finally:
        release.set()
    assert await waiting == Delivered()
    assert deliver.stuck() is None


async def test_one_stuck_thread_of_several_is_no_reason_for_a_restart() -> None:
    release = threading.Event()

    def stuck(webhook: Webhook) -> None:
        release.wait(10)

    deliver = HandlerDelivery(stuck, timeout_s=0.02, threads=2)
    await deliver(envelope())
    assert deliver.stuck() is None
    release.set()


async def test_a_wait_for_a_thread_can_be_cancelled() -> None:
    release = threading.Event()
    deliver = HandlerDelivery(lambda _: release.wait(10), timeout_s=5, threads=1)
    first = asyncio.ensure_future(deliver(envelope()))
    second = asyncio.ensure_future(deliver(envelope()))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    release.set()
    assert await first == Delivered()
    assert await deliver(envelope()) == Delivered()


async def test_a_thread_that_was_given_up_and_raises_late_disturbs_nobody() -> None:
    release = threading.Event()

    def raises_late(webhook: Webhook) -> None:
        release.wait(10)
        raise SystemExit

    deliver = HandlerDelivery(raises_late, timeout_s=0.02, threads=1)
    assert isinstance(await deliver(envelope()), Failed)
    release.set()
    await eventually(lambda: asyncio.sleep(0, deliver.stuck() is None))


def test_a_retry_takes_only_what_can_be_waited() -> None:
    for after in (-1, float("nan"), float("inf"), timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="it takes seconds from 0 on"):
            Retry(after=after)
