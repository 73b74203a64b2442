"""Hands the signing secret that a provider sends in its handshake to the operator, or to `forebay dev`.

The endpoint faces strangers and has no rights in the cluster. It can write into the queue that leads to the operator, and not
read from it; that queue holds one secret, and is there only while one is awaited.
"""

import time

from forebay.amqp.publisher import Outcome, Publisher
from forebay.captured import Captured, message_of
from forebay.identity import IdSource
from forebay.telemetry import Log
from forebay.topology import Names
from forebay_ingest import answers
from forebay_ingest.answers import BROKER_REFUSALS
from forebay_ingest.handshakes import Sent
from forebay_ingest.receive import Respond

# There is no such queue, or one secret is in it already.
_CLOSED = (Outcome.UNROUTABLE, Outcome.REFUSED)


class Capture:
    """Keeps the secrets that the provider of one source sends."""

    def __init__(self, source: str, publisher: Publisher, log: Log) -> None:
        names = Names.of(source)
        self._exchange, self._queue = names.exchange, names.captured
        self._publisher = publisher
        self._log = log
        self._ids = IdSource()

    def keep(self, sent: Sent, respond: Respond) -> None:
        """Respond by an id once the broker has it. The first one that comes is kept, others are refused."""
        now_ms = int(time.time() * 1000)
        captured = Captured(secret=sent.secret.encode(), client=sent.client.decode("latin-1"), at=now_ms)
        event_id = self._ids.next(now_ms)

        def settled(outcome: Outcome) -> None:
            if outcome is Outcome.CONFIRMED:
                self._log.info("secret.captured", client=captured.client)
                respond(event_id.encode())
            else:
                respond(answers.CAPTURE if outcome in _CLOSED else BROKER_REFUSALS[outcome.value])

        publish = self._publisher.encode(self._exchange, self._queue, message_of(captured, event_id))
        self._publisher.send(publish, event_id.encode(), settled)
