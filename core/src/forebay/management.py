"""RabbitMQ's management API, as far as Forebay speaks it: declare objects, look at queues. Nothing else of Forebay does.

Protocol: https://www.rabbitmq.com/docs/http-api-reference. Works on RabbitMQ 3.10 to 4.3. No error holds a password.
"""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from forebay.errors import ForebayError, Rejected, Unavailable
from forebay.topology import BrokerObject

# What a declaration needs to be there before it: permissions name a user, bindings name both ends, and a policy must be
# in force when its queue appears. Within one phase the order does not matter.
_PHASES = {
    "user": 0, "exchange": 0, "policy": 0,
    "permission": 1, "topic-permission": 1, "queue": 1,
    "binding": 2,
}  # fmt: skip
# RabbitMQ writes down half a second after the fact that a quorum queue exists here. If it is killed before, the queue
# comes back empty, without the messages that it had confirmed (seen on 3.10.8, 4.0.5 and 4.3.6, killed within 0.6 s).
SETTLE_S = 2.0
_TOTALS = (
    "disable_stats=true&enable_queue_totals=true"  # what the queues themselves last said, not the statistics database
)
_RETRIES, _RETRY_S = 3, 0.5  # of a declaration that the broker itself stumbled over
_AT_ONCE = 16  # 1,000 exchanges, 2,000 queues and as many bindings take about four seconds so


class Inequivalent(Rejected):
    """The object is already there with other arguments, which can not be changed in place."""


class Silent(Unavailable):
    """The API gave no answer in time: it may hang, and so may whoever asks it next."""


class Missing(Rejected):
    """The broker has no such object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """How many messages a queue holds, as of the last time it said so: every five seconds unless configured otherwise."""

    name: str
    ready: int
    unacknowledged: int  # handed to a consumer, not settled yet

    @property
    def messages(self) -> int:
        return self.ready + self.unacknowledged


class Management:
    """A session with one broker's management API: `async with Management(url, username, password) as management`.

    Every call raises Unavailable if the API can not be reached, is too slow or fails itself (5xx), and Rejected if it
    understood and refused (4xx). Paths are relative to `/api/` and percent-encoded.
    """

    def __init__(self, url: str, username: str, password: str, *, timeout_s: float = 10.0) -> None:
        self._api = str(URL(url).with_user(None) / "api/")  # a path prefix of the API is part of its URL
        self._username = username
        self._headers = {"Authorization": aiohttp.encode_basic_auth(username, password)}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=_AT_ONCE)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Any:
        return self._parsed((await self._call("GET", path, about=path))[1])

    async def put(self, path: str, body: Mapping[str, object] | None = None) -> None:
        await self._call("PUT", path, body or {}, about=path)

    async def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        return self._parsed((await self._call("POST", path, body or {}, about=path))[1] or "null")

    async def delete(self, path: str) -> None:
        """Delete the object. That it is not there is success."""
        with contextlib.suppress(Missing):
            await self._call("DELETE", path, about=path)

    async def first(self, vhost: str, queue: str, *, take: bool = False) -> tuple[Mapping[str, Any], bytes] | None:
        """Headers and body of a queue's oldest message, which stays where it is unless it is to be taken; None: it is empty."""
        ackmode = "ack_requeue_false" if take else "ack_requeue_true"
        wish: dict[str, object] = {"count": 1, "ackmode": ackmode, "encoding": "base64"}
        found = await self.post(f"queues/{quote(vhost, safe='')}/{quote(queue, safe='')}/get", wish)
        if not found:
            return None
        properties = found[0]["properties"] or {}  # of a message without any it is an empty list
        return properties.get("headers") or {}, base64.b64decode(found[0]["payload"])

    async def version(self) -> str:
        """The broker's version, as in "4.0.5"."""
        return str((await self.get("overview?columns=rabbitmq_version"))["rabbitmq_version"])

    async def queues(self, vhost: str) -> list[QueueDepth]:
        """Every queue of the virtual host, in one call that stays cheap with thousands of queues."""
        return [_depth(queue) for queue in await self.get(f"queues/{quote(vhost, safe='')}?{_TOTALS}")]

    async def depth(self, vhost: str, queue: str) -> QueueDepth:
        """One queue's depth. Raises Missing if there is no such queue."""
        # The list and a filter: older releases give no totals on the queue's own path, and statistics lag behind totals.
        only = f"page=1&page_size=1&use_regex=true&name={quote(f'^{re.escape(queue)}$', safe='')}"
        found = await self.get(f"queues/{quote(vhost, safe='')}?{_TOTALS}&{only}")
        if not found["items"]:
            raise Missing(f"RabbitMQ has no queue '{queue}' in the virtual host '{vhost}'")
        return _depth(found["items"][0])

    async def declare(self, objects: Iterable[BrokerObject], *, settle_s: float = SETTLE_S) -> None:
        """Make the broker hold these objects; what is there already with the same arguments is left as it is.

        If it made a queue it returns only after `settle_s` more: from then on the queue survives a crash. Raises
        Inequivalent, naming the object, if it is there with other arguments; nothing is undone.
        """
        made_a_queue = False
        for _, phase in groupby(sorted(objects, key=_phase), _phase):
            made_a_queue |= await _any_of(phase, self._declare)
        if made_a_queue:
            await asyncio.sleep(settle_s)

    async def _declare(self, item: BrokerObject) -> bool:
        """Whether a queue came into being."""
        about = f"{item.kind} '{item.name}'"
        for _ in range(_RETRIES):
            try:
                status, _text = await self._call(item.method, item.path, item.body, about=about)
            except _StumbledError:
                await asyncio.sleep(_RETRY_S)
            else:
                return item.kind == "queue" and status == 201
        status, _text = await self._call(item.method, item.path, item.body, about=about)
        return item.kind == "queue" and status == 201

    async def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, about: str
    ) -> tuple[int, str]:
        """The status and the body of an answer that is no refusal."""
        if self._session is None:
            raise RuntimeError("Management is used outside of its `async with` block")
        url = URL(self._api + path, encoded=True)
        try:
            async with self._session.request(method, url, json=body) as answer:
                text = await answer.text(errors="replace")
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
            kind = Silent if isinstance(error, TimeoutError) else Unavailable
            raise kind(f"RabbitMQ's management API at {self._api} can not be reached: {_cause(error)}") from error
        if answer.status >= 400:
            raise self._refusal(method, about, answer.status, _reason(text))
        return answer.status, text

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise Unavailable(
                f"what answers at {self._api} is not RabbitMQ's management API: {_reason(text)}"
            ) from error

    def _refusal(self, method: str, about: str, status: int, reason: str) -> Exception:
        if status >= 500:
            return Unavailable(f"RabbitMQ's management API at {self._api} failed on {about} ({status}): {reason}")
        if status == 401:
            return Rejected(f"RabbitMQ's management API at {self._api} refused user '{self._username}': {reason}")
        if status == 404:
            return Missing(f"RabbitMQ has no {about}, or no virtual host for it: {reason}")
        if status == 400 and "'EXIT'" in reason:
            return _StumbledError(f"RabbitMQ stumbled over {about}: {reason}")
        if "inequivalent" in reason:
            return Inequivalent(f"RabbitMQ already has {about} with other arguments: {reason}")
        return Rejected(f"RabbitMQ refused {method} of {about} ({status}): {reason}")


class _StumbledError(Unavailable):
    """A process inside the broker had died, and the next try finds its successor (seen on 3.10 while it is busy)."""


def _phase(item: BrokerObject) -> int:
    return _PHASES[item.kind]


async def _any_of(items: Iterable[BrokerObject], declare: Callable[[BrokerObject], Awaitable[bool]]) -> bool:
    """Declare every item, a bounded number at a time; raise the first failure, once all that was begun has ended.

    A request that we cancelled would go on in the broker: a queue could appear after its declaration had failed, and
    would take seconds to delete.
    """
    left = iter(items)
    results: list[bool] = []
    failures: list[ForebayError] = []

    async def declare_what_is_left() -> None:
        for item in left:
            try:
                results.append(await declare(item))
            except ForebayError as failure:
                failures.append(failure)
            if failures:
                return

    await asyncio.gather(*(declare_what_is_left() for _ in range(_AT_ONCE)))
    if failures:
        raise failures[0]
    return any(results)


def _depth(queue: Mapping[str, Any]) -> QueueDepth:
    # A queue that was declared a moment ago has no totals yet.
    return QueueDepth(
        name=queue["name"],
        ready=queue.get("messages_ready", 0),
        unacknowledged=queue.get("messages_unacknowledged", 0),
    )


def _reason(text: str) -> str:
    """What the API says went wrong, on one line."""
    try:
        said = json.loads(text)
        reason = said.get("reason", said.get("error", said))
    except (ValueError, AttributeError):
        reason = text
    return " ".join(str(reason).split())[:500] or "no reason given"


def _cause(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
