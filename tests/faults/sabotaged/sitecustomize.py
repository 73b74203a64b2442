"""Breaks a part on purpose, at its start: Python imports this module where it stands in PYTHONPATH, and SABOTAGE says how.

Each function takes away one thing that keeps a webhook from being lost; the account must notice. Only tests set these
variables, only for processes that they start.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any


def answer_before_the_confirm() -> None:
    """The ingest says 2xx when it has written to the socket."""
    from forebay.amqp.publisher import Outcome, Publisher

    honest: Any = Publisher.send

    def send(self: Publisher, *arguments: Any) -> None:
        *publish, done = arguments
        if self.obstacle is not None:
            honest(self, *arguments)
            return
        honest(self, *publish, lambda _: None)
        done(Outcome.CONFIRMED)

    replace(Publisher, send=send)


def publish_without_mandatory() -> None:
    """The broker confirms what it could not route, and says nothing of it."""
    from forebay.amqp import frames

    frames._MANDATORY = b"\x00"


def ack_before_the_publish() -> None:
    """The worker acknowledges a message before its retry or dead letter is confirmed."""
    from forebay_worker.settle import Settler

    honest = Settler._confirmed

    async def confirmed(self: Settler, message: Any, *publish: Any) -> bool:
        message.ack()
        return await honest(self, _Acknowledged(message), *publish)

    replace(Settler, _confirmed=confirmed)


class _Acknowledged:
    """A message that was acknowledged already; nothing more is said of it to the broker."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)

    def ack(self) -> None: ...
    def reject(self, *, requeue: bool = True) -> None: ...


def ack_on_receipt() -> None:
    """The worker acknowledges a message before it is delivered."""
    from forebay_worker.consume import Consumption

    honest = Consumption.on_message

    def on_message(self: Consumption, message: Any) -> None:
        message.ack()
        honest(self, _Acknowledged(message))

    replace(Consumption, on_message=on_message)


def drop_on_sigterm() -> None:
    """The worker acknowledges what it has not finished when it is told to end."""
    from forebay.amqp.consumer import Message
    from forebay_worker.consume import Consumption

    ack, on_message, unfinished = Message.ack, Consumption.on_message, dict[int, Message]()

    def remembering(self: Consumption, message: Message) -> None:
        unfinished[message.delivery_tag] = message
        on_message(self, message)

    def forgetting(self: Message) -> None:
        unfinished.pop(self.delivery_tag, None)
        ack(self)

    async def drain(self: Consumption, within_s: float) -> int:
        for message in unfinished.values():
            ack(message)
        return 0

    replace(Consumption, on_message=remembering, drain=drain)
    replace(Message, ack=forgetting)


def seen_before_the_confirm() -> None:
    """The ingest counts a webhook as seen when it is sent to the broker."""
    from forebay_ingest.duplicates import Duplicates

    honest = Duplicates._publish

    def publish(self: Duplicates, digest: bytes, *arguments: Any) -> None:
        self._confirmed(digest)
        honest(self, digest, *arguments)

    replace(Duplicates, _publish=publish)


def publish_before_the_put() -> None:
    """The ingest publishes the reference to a large body, and stores the body beside that."""
    from forebay.storage import StorageError
    from forebay_ingest.claims import Claims

    honest = Claims._put

    async def put(self: Claims, key: str, body: Any) -> None:
        async def later() -> None:
            with contextlib.suppress(StorageError, OSError):
                await honest(self, key, body)

        self._spawn(later())

    replace(Claims, _put=put)


def deliver_out_of_turn() -> None:
    """The worker lets no webhook wait for another of its key."""
    from forebay_worker.ordered import Sequence

    def on_message(self: Sequence, message: Any) -> None:
        self._hand_on(message)

    replace(Sequence, on_message=on_message)


def replace(kind: type, **methods: Any) -> None:
    for name, method in methods.items():
        setattr(kind, name, method)


# How, and in which part.
SABOTAGES: dict[str, tuple[str, Callable[[], None]]] = {
    "answer before the confirm": ("forebay_ingest", answer_before_the_confirm),
    "publish without mandatory": ("forebay_ingest", publish_without_mandatory),
    "ack before the publish": ("forebay_worker", ack_before_the_publish),
    "ack on receipt": ("forebay_worker", ack_on_receipt),
    "drop on SIGTERM": ("forebay_worker", drop_on_sigterm),
    "seen before the confirm": ("forebay_ingest", seen_before_the_confirm),
    "publish before the put": ("forebay_ingest", publish_before_the_put),
    "deliver out of turn": ("forebay_worker", deliver_out_of_turn),
}

if (_name := os.environ.get("SABOTAGE")) is not None:
    _part, _apply = SABOTAGES[_name]
    if _part in sys.orig_argv:
        _apply()
