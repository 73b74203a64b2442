"""What kopf watches and how, and nothing else of kopf: sources, and the children that carry our label."""

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp
import kopf
from typing_extensions import override

from forebay_operator.cluster import PAGE, SECRET, SOURCE, Kind, Object

# Labels by which children are found among all objects of their kinds.
SELECTOR = "app.kubernetes.io/managed-by=forebay-operator"

# Hears the kind of an object, how it was told of (None: in a list; ADDED, MODIFIED, DELETED), and the object itself.
Hear = Callable[[Kind, str | None, Object], None]

# Seconds. A watch that is silent for longer than bookmarks take is dead (kopf's own default), and none lives for ever.
_SERVER_TIMEOUT_S, _CLIENT_TIMEOUT_S, _CONNECT_TIMEOUT_S = 300, 330, 30

# Before a watch that the API server has ended as too old begins again with a list.
_RECONNECT_S = 1.0

# Between tries of a request that the API server does not answer or answers by an error of its own: never long, and for more
# than an hour; then kopf ends, and is begun again.
_BACKOFFS_S = (0.5, 1.0, 2.0, *[4.0] * 1000)


def registry(kinds: Iterable[Kind], hear: Hear, ending: Callable[[], None]) -> kopf.OperatorRegistry:
    """The handlers for sources and these kinds of children. `ending` is called as kopf ends, whatever ended it."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**context: Any) -> kopf.AiohttpSession | None:
        found = _as_pod(os.environ, **context) or kopf.login_with_kubeconfig(**context)
        return _with_pauses(found) if found else None

    @kopf.on.cleanup(registry=handlers)
    async def ends(**_: Any) -> None:
        _hush()
        ending()

    def hearing(kind: Kind) -> Any:
        async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  # kopf's name for it
            hear(kind, type, dict(body))

        return seen

    for kind in sorted({*kinds, SECRET, SOURCE}):
        kopf.on.event(*_named(kind), registry=handlers, id=f"{kind.kind}_seen")(hearing(kind))
    return handlers


def settings(kinds: Iterable[Kind]) -> kopf.OperatorSettings:
    """How kopf watches: in pages, with time limits, and of children only those that carry our label."""
    chosen = kopf.OperatorSettings()
    chosen.watching.chunk_size = PAGE
    chosen.watching.server_timeout = _SERVER_TIMEOUT_S
    chosen.watching.client_timeout = _CLIENT_TIMEOUT_S
    chosen.watching.connect_timeout = _CONNECT_TIMEOUT_S
    chosen.watching.reconnect_backoff = _RECONNECT_S
    chosen.networking.error_backoffs = _BACKOFFS_S
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.persistence.diffbase_storage = _NothingKept()
    chosen.persistence.progress_storage = _NoProgress()
    for kind in {*kinds, SECRET}:
        group, _, name = _named(kind)
        chosen.watching.label_selectors[group, name] = SELECTOR
    return chosen


class _NothingKept(kopf.DiffBaseStorage):
    """We compare nothing by kopf: it would copy every object it sees, several times, for handlers that we do not have."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Handlers of events have no progress that kopf could keep in the objects."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def _with_pauses(found: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """The same login, with a pause between two watches of a kind. Kopf makes none after one that was cut in a line."""
    begun: dict[str, float] = {}

    async def pause(_: Any, __: Any, request: aiohttp.TraceRequestStartParams) -> None:
        if "watch" in request.url.query:
            now, path = time.monotonic(), request.url.path
            begun[path] = max(now, begun.get(path, now - _RECONNECT_S) + _RECONNECT_S)
            await asyncio.sleep(begun[path] - now)

    pauses = aiohttp.TraceConfig()
    pauses.on_request_start.append(pause)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
        headers=found.as_http_headers(),
        auth=found.as_aiohttp_basic_auth(),
        proxy=found.proxy_url,
        trust_env=found.trust_env,
        trace_configs=[pauses],
    )
    return kopf.AiohttpSession(
        server=found.server,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
        aiohttp_session=session,
    )


class _Complaints(logging.Handler):
    """Kopf's warnings and errors, each as one line of our log: its own way to write them is over many lines of text."""

    def __init__(self, complain: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._complain = complain

    @override
    def emit(self, record: logging.LogRecord) -> None:
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        self._complain("kopf complains", record.getMessage(), traceback=trace)


def tell_complaints(complain: Callable[..., None]) -> None:
    """Hand what kopf complains of to `complain`, until it ends; to be called before it begins.

    The rest tells of its inside, and what an operator does is told by our lines.
    """
    logger = logging.getLogger("kopf")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.handlers = [_Complaints(complain)]
    # That it takes no signals, in the thread where we run it, is as we want it.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


def _hush() -> None:
    """Why it ends, kopf has said by now. What follows is a complaint, or two, of each request that it takes away itself."""
    for handler in logging.getLogger("kopf").handlers:
        handler.setLevel(logging.CRITICAL + 1)


def _as_pod(environment: Mapping[str, str], **context: Any) -> kopf.ConnectionInfo | None:
    """The login of a pod, at the address that our own client takes too: kopf's is a name that DNS may not know."""
    found = kopf.login_with_service_account(**context)
    host, port = (environment.get(f"KUBERNETES_SERVICE_{what}", "") for what in ("HOST", "PORT"))
    if found is None or not host:
        return found
    return dataclasses.replace(found, server=f"https://{f'[{host}]' if ':' in host else host}:{port}")


def _named(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.kind
