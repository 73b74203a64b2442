"""The door of a source whose provider publishes its keys: a webhook whose key is not here yet waits before it.

It waits while the key is fetched, some seconds at most, among a bounded number: then the receiver verifies it. Where the
publisher can not be reached it gets 503 and comes again, unless a key that was fetched earlier still serves.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from forebay.signatures.configured import Fetching
from forebay.signatures.verify import Reason, Refused, Verifies
from forebay_ingest import answers
from forebay_ingest.answers import Refusal
from forebay_ingest.fetching import Fetched, Fetcher
from forebay_ingest.handshakes import Door
from forebay_ingest.receive import Receiver, Respond

# Webhooks that wait for keys at most, and the bytes of their bodies.
MAX_WAITING = 256
MAX_BYTES = 16 * 1024 * 1024


class WaitingRoom:
    """Gives to what is behind it, the receiver or the door of handshakes, what can be verified."""

    def __init__(self, behind: Receiver | Door, verifier: Fetching, keys: Fetcher) -> None:
        self.refused = behind.refused
        self.hung_up = behind.hung_up
        self.check = behind.check
        self.line_of = behind.line_of
        self._behind = behind
        self._verifier = verifier
        self._keys = keys
        self._waiting = 0
        self._bytes = 0

    @property
    def verifier(self) -> Verifies:
        """What verifies webhooks."""
        return self._verifier

    @verifier.setter
    def verifier(self, verifier: Verifies) -> None:
        assert isinstance(verifier, Fetching), "rotated secrets are of the same scheme"
        self._verifier = self._behind.verifier = verifier

    def receive(self, head: Any, body: bytes, block: bytes, client: bytes, respond: Respond) -> None:
        """As the receiver's, a little later if a key has to be fetched."""
        url = self._verifier.wants(head.raw_headers, body, time.time(), self.line_of(head))
        if url is None:
            self._behind.receive(head, body, block, client, respond)
            return
        if self._waiting >= MAX_WAITING or self._bytes + len(body) > MAX_BYTES:
            respond(answers.KEYS)
            return
        self._waiting += 1
        self._bytes += len(body)

        def then(outcome: Fetched) -> None:
            self._waiting -= 1
            self._bytes -= len(body)
            self._go_on(outcome, head, body, lambda: self._behind.receive(head, body, block, client, respond), respond)

        self._keys.ask(url, then)

    async def ready(self, head: Any, body: bytes) -> Refusal | None:
        """The same for a webhook that somebody else receives: return when it can be verified, or why it can not be."""
        url = self._verifier.wants(head.raw_headers, body, time.time(), self.line_of(head))
        if url is None:
            return None
        fetched: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._keys.ask(url, fetched.set_result)
        outcome = await fetched
        return answers.KEYS if outcome is Fetched.UNREACHABLE and self._lacks_key(head, body) else None

    def _go_on(self, outcome: Fetched, head: Any, body: bytes, receive: Callable[[], None], respond: Respond) -> None:
        try:
            if outcome is Fetched.UNREACHABLE and self._lacks_key(head, body):
                respond(answers.KEYS)
                return
            receive()
        except Exception as error:  # noqa: BLE001  # as in connection.py: it ends nothing but its connection
            context = {"message": "a webhook could not be handled", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            respond(answers.UNHANDLED)

    def _lacks_key(self, head: Any, body: bytes) -> bool:
        verdict = self._verifier.verify(head.raw_headers, body, time.time(), self.line_of(head))
        return isinstance(verdict, Refused) and verdict.reason is Reason.UNKNOWN_KEY
