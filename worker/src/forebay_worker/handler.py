"""A Python function as the destination: found once, called for each webhook, every way it can end made an Outcome.

An async function is cancelled when its time is over. A thread can not be: the webhook is tried again, and the thread keeps its
place among the `threads` until it returns. Workers that have only such threads left ask for a restart by /healthz.
"""

import asyncio
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from forebay.envelope import Envelope
from forebay.errors import SpecError
from forebay.settings import Handler
from forebay.storage import Storage
from forebay_worker.api import DeadLetter, Drop, Retry, Webhook
from forebay_worker.outcome import Buried, Delivered, Dropped, Failed, Outcome, RetryAsked
from forebay_worker.retry import HANDLER
from forebay_worker.threads import Threads

Function = Callable[[Webhook], Any]


class HandlerDelivery:
    """Delivers to a Python function. Made on a running loop."""

    def __init__(self, function: Function, *, timeout_s: float, threads: int) -> None:
        self._function = function
        self._timeout = timeout_s
        self._threads = None if is_async(function) else Threads(threads)

    async def __call__(self, envelope: Envelope) -> Outcome:
        webhook = Webhook.of(envelope)
        if self._threads is None:
            return await ended(self._function, webhook, self._timeout)
        # No clock runs while it waits for a thread: that is not the webhook's fault.
        await self._threads.reserve()
        return await ended(self._in_thread, webhook, self._timeout)

    async def stream(self, envelope: Envelope, storage: Storage) -> Outcome:
        """The same for a webhook whose body is in the storage: the function gets all of it at once. Raises StorageError."""
        assert envelope.claim is not None
        whole = b"".join([piece async for piece in storage.get(envelope.claim)])
        return await self(replace(envelope, body=whole, claim=None))

    def _in_thread(self, webhook: Webhook) -> Any:
        assert self._threads is not None
        return self._threads.run(lambda: self._function(webhook))

    def stuck(self) -> str | None:
        """Why only a restart helps, None if it would not."""
        if self._threads is None or not self._threads.exhausted:
            return None
        return f"all {self._threads.count} threads of the handler are stuck beyond their timeout"

    async def close(self) -> None:
        """Nothing is kept open; threads end with the process."""


def load(settings: Handler, concurrency: int) -> HandlerDelivery:
    """The delivery to "module:function". Raises SpecError with the remedy."""
    function = find(settings.target)
    return HandlerDelivery(function, timeout_s=settings.timeout_s, threads=settings.threads or concurrency)


def find(target: str) -> Function:
    """The function "module:function". Raises SpecError that says what is not there."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise SpecError(f'handler.target {target!r} takes "module:function"')
    module = _imported(target, module_name)
    function: Any = module
    for part in name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        others = ", ".join(sorted(known for known, value in vars(module).items() if _offered(module, value)))
        raise SpecError(f"handler {target!r}: {module_name} has no function {name!r}; it has {others or 'none at all'}")
    _check_signature(target, function)
    return function  # type: ignore[no-any-return]  # callable is all that can be known


def is_async(function: Function) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


async def ended(function: Function, webhook: Webhook, timeout_s: float) -> Outcome:
    """Call an async function, or one that returns an awaitable, and say how it ended."""
    clock = asyncio.timeout(timeout_s)
    try:
        async with clock:
            result = function(webhook)
            while inspect.isawaitable(result):
                result = await result
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the worker is being stopped
        return Failed("the handler cancelled itself")
    except BaseException as error:  # noqa: BLE001  # SystemExit of a handler must not end the worker
        if clock.expired():
            return Failed(f"the handler did not end within {timeout_s:g} s")
        return outcome_of(error)
    return Delivered()


def outcome_of(error: BaseException) -> Outcome:
    """What an exception of the handler means."""
    match error:
        case Retry():
            return RetryAsked(error.after, str(error))
        case Drop():
            return Dropped(str(error))
        case DeadLetter():
            return Buried(HANDLER, str(error))
        case _:
            return Failed(_sentence(error))


def _imported(target: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        remedy = "is it installed in the worker's image, or in the folder the worker starts in?"
        missing = f"there is no module {error.name!r}"
        raise SpecError(f"handler {target!r}: {missing}; {remedy}") from error
    except BaseException as error:  # whatever a module does when it is imported
        if isinstance(error, KeyboardInterrupt):
            raise
        raise SpecError(f"handler {target!r}: importing {module_name} failed: {_sentence(error)}") from error


def _check_signature(target: str, function: Function) -> None:
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise SpecError(f"handler {target!r} must take one argument, the webhook: {error}") from error
    except ValueError:
        return  # a builtin that does not tell


def _offered(module: Any, value: Any) -> bool:
    return inspect.isfunction(value) and value.__module__ == module.__name__


def _sentence(error: BaseException) -> str:
    """Type, text and place of an exception: what the attempt's error text can hold of it."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def importable_from(folder: str) -> None:
    """Let modules in the folder be found, as `python -m` does for the one it starts in."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
