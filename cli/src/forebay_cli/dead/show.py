"""Dead letters as text and as JSON. Pure."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from forebay.envelope import Attempt, Claim
from forebay_cli.dead.letter import Letter, credible

HEX_BYTES = 256  # of a body that is no text, shown


def stamp(millis: int | None) -> str:
    """A time in UTC, to the second; "?" for none."""
    if millis is None or credible(millis) is None:
        return "?"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(millis / 1000))


def summary(letter: Letter) -> dict[str, Any]:
    """What a list says of a letter."""
    envelope = letter.envelope
    known = {} if envelope is None else {
        "event_type": envelope.event_type,
        "delivery_id": envelope.delivery_id,
        "source": envelope.source,
        "received_at": stamp(envelope.received_at),
        "attempts_made": envelope.attempts_made,
        "replayed_from": envelope.replayed_from,
    }  # fmt: skip
    return {
        "id": letter.id,
        "died_at": stamp(letter.died_at),
        "reason": letter.reason,
        "detail": letter.detail,
        "queue": letter.queue,
        "content_type": letter.raw.content_type,
        "bytes": letter.size,
        **known,
    }


def full(letter: Letter) -> dict[str, Any]:
    """Everything there is to know of a letter; the body as text where it is text, else in base64."""
    body = _body(letter)
    if letter.envelope is None:
        amqp = {name: value if isinstance(value, int) else str(value) for name, value in letter.raw.headers.items()}
        return {**summary(letter), "amqp_headers": amqp, **body}
    envelope = letter.envelope
    return {
        **summary(letter),
        "method": envelope.method,
        "target": envelope.target,
        "client": envelope.client,
        "headers": [list(pair) for pair in envelope.headers],
        "attempts": [told(attempt) for attempt in envelope.attempts],
        **body,
    }


def told(attempt: Attempt) -> dict[str, Any]:
    """An attempt in JSON."""
    return {
        "at": stamp(attempt.at),
        "ms": attempt.ms,
        "status": attempt.status,
        "error": attempt.error,
        "answer": attempt.answer or None,
    }


def _body(letter: Letter) -> dict[str, Any]:
    if letter.claim is not None:
        return {"claim": asdict(letter.claim)}
    text = as_text(letter.body)
    return {"body_base64": base64.b64encode(letter.body).decode()} if text is None else {"body": text}


def sections(letter: Letter) -> Iterator[tuple[str, list[str]]]:
    """A letter for a person: headings with lines below."""
    yield "why", [f"{letter.reason}: {letter.detail}", f"at {stamp(letter.died_at)}, in queue {letter.queue or '?'}"]
    yield "webhook", list(_facts(letter))
    if letter.envelope is not None:
        yield f"attempts ({letter.envelope.attempts_made})", list(_attempts(letter))
        yield "headers", [f"{name}: {value}" for name, value in letter.envelope.headers]
    else:
        yield "AMQP headers", [f"{name}: {value}" for name, value in letter.raw.headers.items()]
    body = body_lines(letter.body) if letter.claim is None else _reference(letter.claim)
    yield f"body ({letter.size:,} bytes, {letter.raw.content_type or 'no content type'})", body


def _reference(claim: Claim) -> list[str]:
    return [
        f"in object storage: {claim.key}",
        f"SHA-256 {claim.sha256}",
        "a replay sends the reference, and the object stays",
    ]


def _facts(letter: Letter) -> Iterator[str]:
    envelope = letter.envelope
    if envelope is None:
        yield "it is no envelope of Forebay's; replaying sends it as it is"
        return
    yield f"{envelope.method} {envelope.target}"
    yield f"received {stamp(envelope.received_at)} from {envelope.client}, for {envelope.source}"
    if envelope.event_type or envelope.delivery_id:
        yield f"event {envelope.event_type or '?'}, the provider's delivery {envelope.delivery_id or '?'}"
    if envelope.replayed_from:
        yield f"replayed before, from {envelope.replayed_from}"


def _attempts(letter: Letter) -> Iterator[str]:
    assert letter.envelope is not None
    kept, made = letter.envelope.attempts, letter.envelope.attempts_made
    if made > len(kept):
        yield f"the first {made - len(kept)} are not remembered one by one"
    for number, attempt in enumerate(kept, made - len(kept) + 1):
        yield _attempt(number, attempt)
        yield from (f"     | {line}" for line in answer_lines(attempt.error, attempt.answer))
    if not made:
        yield "none that ended"


def _attempt(number: int, attempt: Attempt) -> str:
    status = "no answer" if attempt.status is None else f"status {attempt.status}"
    return f"{number:>3}. {stamp(attempt.at)}  {attempt.ms:>6,} ms  {status}  {attempt.error}"


def answer_lines(error: str, answer: str) -> list[str]:
    """What the destination answered, where the error of the attempt does not say it all."""
    return [] if error.endswith(" ".join(answer.split())) else answer.splitlines()


def body_lines(body: bytes) -> list[str]:
    """A body as JSON in order, as text, or as the beginning of its bytes."""
    text = as_text(body)
    if text is None:
        rest = f"… and {len(body) - HEX_BYTES:,} more; --body-to FILE saves them" if len(body) > HEX_BYTES else ""
        return [*_hex(body[:HEX_BYTES]), *filter(None, [rest])]
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines()
    except (ValueError, RecursionError):
        return text.splitlines()


def as_text(body: bytes) -> str | None:
    """The body as text, None if it is none."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(character.isprintable() or character in "\r\n\t" for character in text) else None


def _hex(data: bytes) -> list[str]:
    rows = (data[start : start + 16] for start in range(0, len(data), 16))
    return [f"{row.hex(' '):<48} {''.join(chr(b) if 32 <= b < 127 else '.' for b in row)}" for row in rows]
