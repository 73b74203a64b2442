"""Webhooks as a provider would send them: body, headers, signature. Time and randomness are handed in; nothing is sent."""

import hashlib
import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from string import Template
from urllib.parse import urlencode

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line
from forebay.signatures.scheme import Scheme
from forebay.signatures.sign import sign

Headers = list[tuple[str, str]]

# What is sent if nobody says which event; for other providers "example".
USUAL_EVENT = {"GitHub": "push", "Stripe": "payment_intent.succeeded", "StandardWebhooks": "user.created"}
_AGENTS = {"GitHub": "GitHub-Hookshot/f0reba1", "Stripe": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What makes one sample different from the next."""

    number: int  # counts samples, from 1
    now: float  # seconds since 1970
    seed: bytes  # random; ids follow from it

    def hex(self, name: str, length: int) -> str:
        """An id: the same within one sample for the same name."""
        return hashlib.sha512(self.seed + name.encode()).hexdigest()[:length]

    @property
    def uuid(self) -> str:
        digits = self.hex("uuid", 32)
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request, ready to be sent."""

    id: str  # the provider's delivery id
    body: bytes
    headers: Headers = field(repr=False)  # the signature is in them


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How the samples of one source are made."""

    provider: str
    scheme: Scheme
    secret: bytes = field(repr=False)
    event: str
    data: bytes | None = None  # the body; None: the provider's sample of the event
    headers: tuple[tuple[str, str], ...] = ()  # they win over the provider's
    url: str = ""  # the public one, for schemes that sign it

    def sample(self, moment: Moment) -> Sample:
        """One webhook. Raises SpecError if it can not be signed."""
        body = body_of(self.provider, self.scheme, self.event, moment) if self.data is None else self.data
        usual = [*_usual_headers(self.provider, self.scheme, self.event)]
        signed = sign(
            self.scheme,
            self.secret,
            body,
            now=moment.now,
            delivery_id=moment.uuid,
            headers=[*usual, *self.headers],
            line=Line("POST", self.url),
        )
        return Sample(id=moment.uuid, body=body, headers=_merged([*usual, *signed], self.headers))


def events(provider: str) -> list[str]:
    """The events that there are realistic samples of."""
    folder = resources.files("forebay_cli") / "samples" / provider.lower()
    return sorted(file.name.removesuffix(".json") for file in folder.iterdir()) if folder.is_dir() else []


def body_of(provider: str, scheme: Scheme, event: str, moment: Moment) -> bytes:
    """The provider's sample of the event; for an event it has none of, a small JSON object that says its type."""
    if event in events(provider):
        return Template(_text(provider, event)).substitute(_values(moment)).encode()
    if scheme.content_type == "application/x-www-form-urlencoded":
        return urlencode({"EventType": event, "Sid": moment.hex("sid", 32)}).encode()
    place, name = scheme.event_place
    sample: dict[str, object] = {
        "id": moment.uuid,
        "created": _values(moment)["iso"],
        "data": {"number": moment.number},
    }
    first, *below = (name if place == "json" else "type").split(".")
    value: object = event
    for step in reversed(below):
        value = {step: value}
    return json.dumps({first: value} | sample).encode()


def parse_header(text: str) -> tuple[str, str]:
    """Name and value of "Name: value". Raises SpecError."""
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and text.isprintable()):
        raise SpecError(f"--header {text!r} is no header; write 'Name: value'")
    return name.strip(), value.strip()


def curl(url: str, sample: Sample) -> str:
    """The shell command that sends it; for signatures with a time it works for some minutes."""
    headers = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in sample.headers]
    lines = [f"curl -i {shlex.quote(url)}", *headers, f"--data-binary {shlex.quote(sample.body.decode())}"]
    return " \\\n    ".join(lines)


@cache
def _text(provider: str, event: str) -> str:
    file = resources.files("forebay_cli") / "samples" / provider.lower() / f"{event}.json"
    return file.read_text("utf-8").rstrip("\n")


def _values(moment: Moment) -> dict[str, str]:
    sha, before = moment.hex("sha", 40), moment.hex("before", 40)
    return {
        "sha": sha,
        "short": sha[:12],
        "sha_before": before,
        "short_before": before[:12],
        "sha_tree": moment.hex("tree", 40),
        "token": moment.hex("token", 24),
        "uuid": moment.uuid,
        "number": str(int(moment.hex("number", 8), 16)),
        "count": str(moment.number),
        "seconds": str(int(moment.now)),
        "iso": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment.now)),
    }


def _usual_headers(provider: str, scheme: Scheme, event: str) -> Headers:
    place, name = scheme.event_place
    return [
        ("User-Agent", _AGENTS.get(provider, "forebay-send")),
        ("Content-Type", scheme.content_type),
        *([(name, event)] if place == "header" else []),
    ]


def _merged(usual: Headers, given: Iterable[tuple[str, str]]) -> Headers:
    """The headers that are given, and of the usual ones those whose name is not among them."""
    taken = {name.lower() for name, _ in given}
    return [*((name, value) for name, value in usual if name.lower() not in taken), *given]
