"""Requests as a sender would make them, in the form aiohttp hands to the verifier."""

from collections.abc import Iterable

from forebay.signatures.elsewhere import Line
from forebay.signatures.presets import preset
from forebay.signatures.scheme import Scheme
from forebay.signatures.sign import sign
from forebay.signatures.verify import Reason, Refused, Streamed, Verified, Verifier

RawHeaders = tuple[tuple[bytes, bytes], ...]

NOW = 1_800_000_000.0
DELIVERY_ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"

GITHUB = preset("GitHub").scheme
STRIPE = preset("Stripe").scheme
STANDARD = preset("StandardWebhooks").scheme
HMAC = preset("HMAC").scheme
NONE = preset("None").scheme

# One usable secret, and another, for each provider that signs.
SECRETS = {
    "GitHub": (b"It's a Secret to Everybody", b"another one"),
    "Stripe": (b"whsec_test_secret", b"whsec_other_secret"),
    "StandardWebhooks": (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    "HMAC": (b"a key", b"another key"),
}


def raw(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    return tuple((name.encode(), value.encode("latin-1")) for name, value in headers)


def signed(
    scheme: Scheme,
    secret: bytes,
    body: bytes,
    now: float = NOW,
    delivery_id: str = DELIVERY_ID,
    *,
    line: Line | None = None,
) -> RawHeaders:
    """The headers of a request that is signed as it should be, among some that mean nothing."""
    ours = sign(scheme, secret, body, now=now, delivery_id=delivery_id, line=line)
    return raw([("Host", "hooks.example.com"), ("Accept", "*/*"), *ours, ("Content-Length", str(len(body)))])


def verdict(
    scheme: Scheme,
    secrets: tuple[bytes, ...],
    headers: RawHeaders,
    body: bytes,
    now: float = NOW,
    line: Line | None = None,
) -> int | Reason | None:
    """The number of the secret that matched, or the reason of the refusal."""
    answer = Verifier(scheme, secrets).verify(headers, body, now, line)
    if scheme.streams:
        assert streamed(Verifier(scheme, secrets), headers, body, now, line) == answer
    match answer:
        case Verified(secret):
            return secret
        case Refused(reason):
            return reason


def streamed(verifier: Verifier, headers: RawHeaders, body: bytes, now: float, line: Line | None) -> Verified | Refused:
    """The answer where the body comes in pieces."""
    begun = verifier.begin(headers, now, line)
    if not isinstance(begun, Streamed):
        return begun
    for start in range(0, len(body), 7):
        begun.take(body[start : start + 7])
    return begun.verdict()


def with_value(headers: RawHeaders, name: bytes, value: bytes) -> RawHeaders:
    """The same headers, one of them with another value."""
    assert any(known.lower() == name.lower() for known, _ in headers)
    return tuple((known, value if known.lower() == name.lower() else old) for known, old in headers)


def without(headers: RawHeaders, name: bytes) -> RawHeaders:
    kept = tuple((known, value) for known, value in headers if known.lower() != name.lower())
    assert len(kept) == len(headers) - 1
    return kept


def value_of(headers: RawHeaders, name: bytes) -> bytes:
    (value,) = (value for known, value in headers if known.lower() == name.lower())
    return value
