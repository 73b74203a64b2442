"""The door before the receiver of a source whose provider makes sure that the endpoint is ours: it answers handshakes.

No broker is asked, so the answer is there within the provider's clock. What is no handshake is a webhook like any other.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from forebay.signatures.replies import MAX_BODY, Denied, Question, Replies, Reply
from forebay.signatures.verify import Refused, Verified, Verifies
from forebay.telemetry import Log, Throttle
from forebay_ingest import answers
from forebay_ingest.answers import Refusal
from forebay_ingest.fetching import Fetched, Fetcher
from forebay_ingest.head import target_of
from forebay_ingest.measures import Measures
from forebay_ingest.receive import Receiver, Respond

_DENIED = {Denied.TOKEN: answers.VERIFY_TOKEN, Denied.TEXT: answers.CHALLENGE}


class Sent(NamedTuple):
    """The request in which a provider sends the secret that it will sign with."""

    head: Any
    body: bytes
    block: bytes
    client: bytes
    secret: str


# Has it safe; then, and only then, it responds by an id.
Keep = Callable[[Sent, Respond], None]


class Door:
    """Answers handshakes, and gives everything else to the receiver. `replies` may be exchanged while it works."""

    def __init__(
        self,
        receiver: Receiver,
        replies: Replies,
        measures: Measures,
        log: Log,
        *,
        visits: Fetcher | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.replies = replies
        self.refused = receiver.refused
        self.hung_up = receiver.hung_up
        self.line_of = receiver.line_of
        self._receiver = receiver
        self._visits = visits
        self._keep = keep
        self._measures = measures
        self._log = log
        self._throttle = Throttle()

    @property
    def verifier(self) -> Verifies:
        """What verifies webhooks, and those handshakes that are signed like them."""
        return self._receiver.verifier

    @verifier.setter
    def verifier(self, verifier: Verifies) -> None:
        self._receiver.verifier = verifier

    def check(self, head: Any, length: int | None) -> Refusal | None:
        """As the receiver's; methods and content types of handshakes are let through to `receive`."""
        refusal = self._receiver.check(head, length)
        if refusal not in (answers.METHOD, answers.CONTENT_TYPE) or not self.replies.expects(_question(head)):
            return refusal
        if self._receiver.settings.suspended:
            return answers.SUSPENDED
        return None if (length or 0) <= MAX_BODY else refusal

    def receive(self, head: Any, body: bytes, block: bytes, client: bytes, respond: Respond) -> None:
        """Answer a handshake at once; of a webhook the receiver decides."""
        reply = self.replies.reply(_question(head, body), lambda question: self._verify(head, question))
        if isinstance(reply, Reply) and reply.secret is not None and self._keep is not None:
            # The answer tells the provider that its secret is known: so it has to be safe before.
            answer = functools.partial(self._answer, reply, head.method, respond)
            self._keep(
                Sent(head, body, block, client, reply.secret),
                lambda said: answer() if isinstance(said, bytes) else respond(said),
            )
        elif isinstance(reply, Reply):
            self._answer(reply, head.method, respond)
        elif isinstance(reply, Refused):
            self._measures.signature_refused(reply.reason)
            respond(answers.SIGNATURE)
        elif reply is not None:
            respond(_DENIED[reply])
        elif (refusal := self._receiver.check(head, len(body))) is not None:
            respond(refusal)
        else:
            self._receiver.receive(head, body, block, client, respond)

    def _answer(self, reply: Reply, method: str, respond: Respond) -> None:
        """At once; where a visit was asked for, after it: who is told no comes again with a later question."""

        def visited(outcome: Fetched) -> None:
            if outcome is not Fetched.HERE:
                respond(answers.CONFIRMATION)
                return
            self._measures.replied()
            if self._throttle.admit("handshake") is not None:
                self._log.info("handshake.answered", method=method, status=reply.status)
            respond(reply)

        if reply.visit and self._visits:
            self._visits.ask(reply.visit, visited)
            return
        if reply.visit:
            self._log.warning(
                "subscription.unconfirmed", remedy="set handshake.confirm, or visit the URL", url=reply.visit
            )
        visited(Fetched.HERE)

    def _verify(self, head: Any, question: Question) -> Verified | Refused:
        line = self.line_of(head)
        return self.verifier.verify(question.headers, question.body, time.time(), line)


def _question(head: Any, body: bytes = b"") -> Question:
    return Question(head.method, target_of(head), head.raw_headers, body)
