"""Kopf, in a thread with an event loop of its own, so that it can be taken away.

As it ends, kopf waits for all younger tasks of its loop and cancels them, whoever began them. And it may never end: a watch that
is cancelled in the same moment as its pause begins anew, and one whose session is closed waits for a login that nobody does.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, cast

import kopf

from forebay.errors import Unavailable
from forebay_operator import handlers
from forebay_operator.cluster import Kind, Object

# Seconds that kopf has to end in, once it has begun to.
_END_S = 5.0


async def watch(kinds: Iterable[Kind], namespaces: tuple[str, ...], hear: handlers.Hear, stop: asyncio.Event) -> None:
    """Watch until `stop`; `hear` is called on the caller's loop. Raises Unavailable if the watches end by themselves."""
    ours, theirs = asyncio.get_running_loop(), asyncio.new_event_loop()
    theirs.set_exception_handler(lambda *_: None)  # it complains of what was under way when it is taken away

    def pass_on(kind: Kind, told: str | None, item: Object) -> None:
        ours.call_soon_threadsafe(hear, kind, told, item)

    asked = asyncio.Event()
    asking = asyncio.ensure_future(stop.wait())
    ended = ours.run_in_executor(None, _live, theirs, _kopf(kinds, namespaces, pass_on, asked))
    either: set[asyncio.Future[Any]] = {asking, ended}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        _tell(theirs, asked.set)
        await asyncio.wait({ended}, timeout=2 * _END_S)
    finally:
        asking.cancel()
        _tell(theirs, theirs.stop)
    if not stop.is_set():
        raise Unavailable(f"watches have ended: {await ended!r}")


def _live(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> BaseException:
    """Run it to its end; why it ended."""
    try:
        loop.run_until_complete(work)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # kopf's, aiohttp's, of lines that were cut, of a loop that was taken away
        return error
    finally:
        loop.close()
    return Unavailable("kopf has ended unasked")


async def _kopf(kinds: Iterable[Kind], namespaces: tuple[str, ...], hear: handlers.Hear, asked: asyncio.Event) -> None:
    ending = asyncio.Event()
    begins_to_end = asyncio.ensure_future(ending.wait())  # older than kopf's own tasks: those it leaves alone
    working = asyncio.ensure_future(
        kopf.operator(
            registry=handlers.registry(kinds, hear, ending.set),
            settings=handlers.settings(kinds),
            stop_flag=asked,
            standalone=True,
            # Nobody asks for it; but without one kopf asks for the user's name, and in a container the user has none.
            identity=cast("Any", "forebay"),
            clusterwide=not namespaces,
            namespaces=namespaces,
        )
    )
    await asyncio.wait({begins_to_end, working}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({working}, timeout=_END_S)
    if not working.done():
        raise Unavailable("kopf has failed, and does not end by itself")
    working.result()


def _tell(loop: asyncio.AbstractEventLoop, what: Any) -> None:
    with suppress(RuntimeError):  # it is closed already
        loop.call_soon_threadsafe(what)
