"""What a provider's handshake is answered: a decision on bytes. Never raises for what a sender sends.

What is given back was written by whoever sent it, so it is short and of letters, digits and a few signs: it can not
break the answer, can not be markup, and can not be a JSON object.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qsl

from forebay.errors import SpecError
from forebay.json_path import MISSING, dig
from forebay.signatures.certified import at_publisher
from forebay.signatures.handshake import MAC, VALUE, Condition, Handshake, Place
from forebay.signatures.mac import Mac
from forebay.signatures.scheme import Scheme
from forebay.signatures.verify import Reason, Refused, Verified

# Bytes of a body that may be a handshake; the longest that is known has about 1,500.
MAX_BODY = 4096
# Query parameters that are looked at.
MAX_PARAMETERS = 32

_REFLECTED = re.compile(r"[A-Za-z0-9 ._~:/+=@-]{1,512}", re.ASCII)
_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}", re.ASCII)

Verify = Callable[["Question"], Verified | Refused]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a handshake."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    secret: str | None = field(default=None, repr=False)  # that the provider will sign with: to be kept first
    visit: str | None = None  # a URL of the provider: to be visited first, if the owner has asked for it


class Denied(StrEnum):
    """Why a handshake is not answered."""

    TOKEN = "verify-token"  # noqa: S105 - a reason, not a secret: it shows another verify token than the one that was given to the provider
    TEXT = "text"  # it asks for a text that is not given back to anybody, or sends a secret that is none


@dataclass(frozen=True, slots=True)
class Question:
    """A request that may be a handshake."""

    method: str
    target: str  # path and query, as requested
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""


class Replies:
    """Answers the handshakes of one source: with its signing secrets, and the verify token given to the provider.

    Raises SpecError for a secret that can not be used, and if a handshake shows a verify token and none is given.
    """

    def __init__(
        self, handshakes: Sequence[Handshake], scheme: Scheme, secrets: Sequence[bytes], token: bytes | None = None
    ) -> None:
        self._known = tuple(_Known(item) for item in handshakes)
        self._token = token or b""
        self._scheme = scheme
        vouching = any(MAC in item.answer for item in handshakes)
        self._macs = tuple(Mac(scheme, secret) for secret in secrets) if vouching else ()
        self._vouches = any(item.vouches for item in handshakes)
        if any(item.token for item in handshakes) and not token:
            raise SpecError("the handshake shows a verify token, and none is given to compare it with")

    def expects(self, question: Question) -> bool:
        """Whether the head alone, without the body, may be that of a handshake."""
        return any(known.could_be(question) for known in self._known)

    def reply(self, question: Question, verify: Verify) -> Reply | Refused | Denied | None:
        """The answer; None for what is no handshake. `verify` says whether a request is signed as webhooks are."""
        if self._vouches and _vouched(question.body):
            return Refused(Reason.BAD_SIGNATURE)  # anybody can have it signed, so its signature says nothing
        if len(question.body) > MAX_BODY:
            return None
        for known in self._known:
            longest = known.handshake.longest or MAX_BODY
            if (
                known.could_be(question)
                and len(question.body) <= longest
                and all(needle in question.body for needle in known.needles)
            ):
                reply = self._reply(known.handshake, question, verify)
                if reply is not None:
                    return reply
        return None

    def _reply(self, handshake: Handshake, question: Question, verify: Verify) -> Reply | Refused | Denied | None:
        secret = 0
        if handshake.verified:  # before anything in the body is looked at
            verdict = verify(question)
            if isinstance(verdict, Refused):
                return verdict
            secret = verdict.secret or 0  # the one it was signed with is the one that the provider knows
        found = _Found(question)
        if not all(found.holds(condition) for condition in handshake.conditions):
            return None
        if handshake.token and not compare_digest(
            self._token, found.text(Place.parse(handshake.token)).encode(errors="replace")
        ):
            return Denied.TOKEN
        value = found.text(Place.parse(handshake.reflects)) if handshake.reflects else ""
        if handshake.reflects and not _REFLECTED.fullmatch(value):
            return Denied.TEXT
        made = _reply(handshake, value, self._mac(value, secret) if MAC in handshake.answer else "")
        return self._with_errand(handshake, found, made)

    def _with_errand(self, handshake: Handshake, found: "_Found", made: Reply) -> Reply | Denied:
        """The answer, and what has to be done before it is given."""
        if handshake.sends:
            secret = found.text(Place.parse(handshake.sends))
            return replace(made, secret=secret) if _SECRET.fullmatch(secret) else Denied.TEXT
        if not handshake.visits:
            return made
        url, published = found.text(Place.parse(handshake.visits)), self._scheme.published
        return replace(made, visit=url) if published and at_publisher(published, url) else Denied.TEXT

    def _mac(self, value: str, secret: int) -> str:
        return self._macs[secret].signature((value.encode(),)).decode()


class _Known:
    """A handshake, and what tells quickly that a request is not it."""

    __slots__ = ("_headers", "_in_target", "handshake", "needles")

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        conditions = handshake.conditions
        self.needles = tuple(_needle(item).encode() for item in conditions if item.place.kind == "json")
        self._in_target = tuple(f"{item.place.name}=" for item in conditions if item.place.kind == "query")
        self._headers = frozenset(
            item.place.name.lower().encode() for item in conditions if item.place.kind == "header"
        )

    def could_be(self, question: Question) -> bool:
        """Whether the head may be that of this handshake."""
        return (
            question.method == self.handshake.method
            and all(name in question.target for name in self._in_target)
            and (not self._headers or self._headers <= {name.lower() for name, _ in question.headers})
        )


class _Found:
    """What stands where in a request; read at most once."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._read: dict[str, Any] = {}

    def holds(self, condition: Condition) -> bool:
        value = self._at(condition.place)
        if condition.value is None:
            return value is not MISSING
        return value is not MISSING and _as_text(value) == condition.value

    def text(self, place: Place) -> str:
        """Empty for what is no text."""
        value = self._at(place)
        return value if isinstance(value, str) else ""

    def _at(self, place: Place) -> Any:
        if place.kind not in self._read:
            self._read[place.kind] = _READERS[place.kind](self._question)
        content = self._read[place.kind]
        if place.kind == "json":
            return dig(content, place.name)
        return content.get(place.name.lower() if place.kind == "header" else place.name, MISSING)


def _query(question: Question) -> Mapping[str, str]:
    query = question.target.partition("?")[2]
    try:
        return _once(parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="replace"))
    except ValueError:
        return {}


def _headers(question: Question) -> Mapping[str, str]:
    return _once((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in question.headers)


def _body(question: Question) -> Any:
    try:
        return json.loads(question.body)
    except (ValueError, RecursionError):
        return None


_READERS: dict[str, Callable[[Question], Any]] = {"query": _query, "header": _headers, "json": _body}


def _once(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """What came once: of what came twice nobody knows which one the sender meant."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _needle(condition: Condition) -> str:
    """What is in every body that meets a condition: the last key on the way to it."""
    return [step for step in condition.place.name.split(".") if not step.isdigit()][-1]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _vouched(body: bytes) -> bool:
    return len(body) <= MAX_BODY and _REFLECTED.fullmatch(body.decode("latin-1")) is not None


def _reply(handshake: Handshake, value: str, mac: str) -> Reply:
    body = handshake.answer.replace(MAC, mac).replace(VALUE, value)
    return Reply(handshake.status, tuple(_answer_headers(handshake, value, body)), body.encode())


def _answer_headers(handshake: Handshake, value: str, body: str) -> Iterator[tuple[str, str]]:
    if body:
        yield "Content-Type", handshake.content_type
    yield "X-Content-Type-Options", "nosniff"
    yield "Cache-Control", "no-store"
    for header in handshake.headers:
        name, _, text = header.partition(": ")
        yield name, text.replace(VALUE, value)
