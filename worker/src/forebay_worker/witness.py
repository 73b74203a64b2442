"""Tells what became of each message: metrics for every one, one wide log line for what somebody should look at.

Deliveries that succeed at once are counted, and logged at level debug only: they are the rule, and a line costs a fifth of a
delivery. One that succeeds after failures is logged, so that no webhook's story ends with a failure that was overcome.
In a flood of failures a few lines of each kind a second pass, and say how many were held back.
"""

import time
from collections.abc import Callable
from typing import Any

from forebay.envelope import DELIVERY_ID_HEADER, Envelope
from forebay.telemetry import Log, Throttle
from forebay_worker.consume import error_of
from forebay_worker.measures import Measures
from forebay_worker.outcome import WORDS, Delivered, Outcome, Refused
from forebay_worker.retry import UNDECODABLE, Ack, DeadLetter, Decision, RetryIn
from forebay_worker.settle import Message


class WorkerWitness:
    """Counts and logs for one worker."""

    def __init__(self, measures: Measures, log: Log, *, source: str, queue: str) -> None:
        self._measures = measures
        self._log = log
        self._throttle = Throttle()
        self._place = {"source": source, "queue": queue}
        self._tells_success = log.enabled("debug")

    def attempted(self, envelope: Envelope, outcome: Outcome, decision: Decision, seconds: float) -> None:
        self._measures.attempts(WORDS[type(outcome)])
        self._measures.seconds(seconds)
        if isinstance(outcome, Delivered):
            if self._tells_success:
                self._log.write("debug", "delivery.ok", self._line(envelope, outcome, decision, seconds))
            elif envelope.attempts_made or envelope.replayed_from:
                self._tell("info", "delivery.ok", "", lambda: self._line(envelope, outcome, decision, seconds))
            return
        level, event, kind = self._counted(outcome, decision)
        self._tell(level, event, kind, lambda: self._line(envelope, outcome, decision, seconds))

    def _tell(self, level: str, event: str, kind: str, line: Callable[[], dict[str, Any]]) -> None:
        """Write a line, unless too many of its kind were written within the second."""
        held_back = self._throttle.admit(f"{event} {kind}")
        if held_back is not None:
            self._log.write(level, event, {**line(), "held_back": held_back or None})

    def _counted(self, outcome: Outcome, decision: Decision) -> tuple[str, str, str]:
        """Count a decision; the level, event and kind of its line."""
        match decision:
            case RetryIn():
                self._measures.retries()
                return "info", "delivery.retry", WORDS[type(outcome)]
            case DeadLetter(reason):
                self._measures.dead_letters(reason)
                return "warning", "delivery.dead", reason
            case Ack():
                return "info", "delivery.dropped", WORDS[type(outcome)]

    def undecodable(self, message: Message, error: str) -> None:
        self._measures.dead_letters(UNDECODABLE)
        held_back = self._throttle.admit(UNDECODABLE)
        if held_back is not None:
            fields = {"id": message.message_id, "bytes": len(message.body), "reason": UNDECODABLE, "error": error}
            self._log.warning("delivery.dead", **self._place, **fields, held_back=held_back or None)

    def waits(self, message: Message, behind: str | None) -> None:
        """A webhook waits behind an earlier one of its key, by its id, which is tried again; None: no longer."""
        known = {"id": message.message_id, "delivery_id": message.headers.get(DELIVERY_ID_HEADER), "behind": behind}
        self._tell("info", "order.waits" if behind else "order.next", "", lambda: {**self._place, **known})

    def unsettled(self, error: Exception) -> None:
        """The broker did not take a retry or a dead letter; it will be tried again."""
        cause = type(error).__name__.lower()
        self._measures.unsettled(cause)
        held_back = self._throttle.admit(f"unsettled {cause}")
        if held_back is not None:
            self._log.warning("settle.repeated", **self._place, error=str(error), held_back=held_back or None)

    def tokens(self) -> Callable[[str | None], None]:
        """Who hears of each request for an access token: None, or what went wrong."""
        count = self._measures.token_requests()

        def told(error: str | None) -> None:
            count("failed" if error else "issued")
            if error:  # they come seldom: there is a pause after each
                self._log.warning("token.failed", **self._place, error=error)

        return told

    def fault(self, error: Exception) -> None:
        self._measures.faults()
        held_back = self._throttle.admit("fault")
        if held_back is not None:
            self._log.error("fault", **self._place, error=repr(error), held_back=held_back or None)

    def _line(self, envelope: Envelope, outcome: Outcome, decision: Decision, seconds: float) -> dict[str, Any]:
        return {
            **self._place,
            "id": envelope.id,
            "delivery_id": envelope.delivery_id,
            "event_type": envelope.event_type,
            "attempt": envelope.attempt,
            "outcome": WORDS[type(outcome)],
            "status": outcome.status if isinstance(outcome, (Delivered, Refused)) else None,
            "error": error_of(outcome) or None,
            "reason": decision.reason if isinstance(decision, DeadLetter) else None,
            "retry_in_s": decision.tier if isinstance(decision, RetryIn) else None,
            **(_in_place(envelope, decision) if isinstance(decision, RetryIn) and decision.in_place else {}),
            "ms": round(seconds * 1000, 1),
            "age_s": round(time.time() - envelope.received_at / 1000, 3),
            "bytes": envelope.size,
            "replayed_from": envelope.replayed_from,
            "traceparent": envelope.traceparent,
        }


def _in_place(envelope: Envelope, decision: RetryIn) -> dict[str, Any]:
    """What waits behind it, and whether that ends only when somebody does something."""
    return {"in_place": True, "held": decision.held or None, "key": envelope.key}
