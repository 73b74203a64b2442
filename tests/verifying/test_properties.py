"""What holds for every scheme, secret, body and request."""

import hmac
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from forebay.signatures.mac import Mac
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Scheme, Timestamp, Unit
from forebay.signatures.verify import Reason, Refused, Verified, Verifier
from tests.verifying.signed import (
    GITHUB,
    HMAC,
    NOW,
    SECRETS,
    STANDARD,
    STRIPE,
    RawHeaders,
    signed,
    value_of,
    verdict,
)

PRESETS = {"GitHub": GITHUB, "Stripe": STRIPE, "StandardWebhooks": STANDARD, "HMAC": HMAC}
UNSIGNED = {b"host", b"accept", b"content-length", b"x-github-delivery"}


@st.composite
def schemes(draw: st.DrawFn) -> Scheme:
    """Schemes that nobody has thought of yet."""
    timed = draw(st.sampled_from(["", "header", "item"]))
    identified = draw(st.booleans())
    separator = (
        draw(st.sampled_from([",", ";", " ", "&"])) if timed == "item" else draw(st.sampled_from(["", ",", " "]))
    )
    fields = ["{body}", *["{timestamp}"] * bool(timed), *["{id}"] * identified]
    return Scheme(
        algorithm=draw(st.sampled_from([algorithm for algorithm in Algorithm if algorithm.startswith("hmac")])),
        encoding=draw(st.sampled_from([Encoding.HEX, Encoding.BASE64])),
        signature_headers=("X-Acme-Signature",),
        separator=separator,
        prefix=draw(st.sampled_from(["", "v1=", "sha256=", "hmac "] if separator != " " else ["", "v1:"])),
        signed=draw(st.sampled_from(["", ".", ":", "|{{}}"])).join(draw(st.permutations(fields))),
        timestamp=Timestamp(
            headers=("X-Acme-Time",) if timed == "header" else (),
            item="ts=" if timed == "item" else "",
            unit=draw(st.sampled_from(Unit)),
            tolerance=draw(st.integers(1, 3600)),
        )
        if timed
        else None,
        delivery_id_headers=("X-Acme-Id",),
    )


any_scheme = st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__) | schemes()
seconds = st.integers(0, 4_000_000_000)


def secret_for(scheme: Scheme, key: bytes) -> bytes:
    assert scheme.key_encoding is not KeyEncoding.HEX
    return key.hex().encode() if scheme.key_encoding is KeyEncoding.BASE64 else key


@given(any_scheme, st.binary(min_size=2, max_size=200), st.binary(max_size=2000), seconds, st.uuids())
def test_what_was_signed_is_verified(scheme: Scheme, key: bytes, body: bytes, now: int, delivery: object) -> None:
    secret = secret_for(scheme, key)
    headers = signed(scheme, secret, body, now, str(delivery))
    assert verdict(scheme, (secret,), headers, body, now) == 0
    assert verdict(scheme, (secret + b"00", secret), headers, body, now) == 1
    assert verdict(scheme, (secret + b"00",), headers, body, now) is Reason.BAD_SIGNATURE


@given(st.sampled_from(sorted(PRESETS)), st.binary(min_size=1, max_size=300), st.data())
def test_one_changed_byte_of_the_body_is_refused(name: str, body: bytes, data: st.DataObject) -> None:
    scheme, secret = PRESETS[name], SECRETS[name][0]
    changed = _with_one_byte_changed(body, data)
    assert verdict(scheme, (secret,), signed(scheme, secret, body), changed) is Reason.BAD_SIGNATURE


@given(any_scheme, st.binary(max_size=50), st.data())
def test_one_changed_byte_of_any_signed_header_is_refused(scheme: Scheme, body: bytes, data: st.DataObject) -> None:
    secret = secret_for(scheme, b"some key")
    headers = signed(scheme, secret, body)
    unsigned = UNSIGNED if "{id}" in scheme.signed else UNSIGNED | {b"x-acme-id"}
    index = data.draw(st.sampled_from([i for i, (name, _) in enumerate(headers) if name.lower() not in unsigned]))
    name, value = headers[index]
    changed = (*headers[:index], (name, _with_one_byte_changed(value, data)), *headers[index + 1 :])
    assert isinstance(verdict(scheme, (secret,), changed, body), Reason)


@given(any_scheme, st.integers(-4000, 4000))
def test_a_signature_is_good_within_the_tolerance_and_not_a_second_longer(scheme: Scheme, later: int) -> None:
    assume(scheme.timestamp is not None)
    assert scheme.timestamp
    secret, tolerance = secret_for(scheme, b"some key"), scheme.timestamp.tolerance
    expected: int | Reason = 0
    if later > tolerance:
        expected = Reason.TIMESTAMP_TOO_OLD
    elif later < -tolerance:
        expected = Reason.TIMESTAMP_IN_FUTURE
    assert verdict(scheme, (secret,), signed(scheme, secret, b"body"), b"body", NOW + later) == expected


@given(st.sampled_from(Algorithm), st.binary(min_size=1, max_size=300), st.lists(st.binary(max_size=300)))
def test_a_mac_is_the_standard_librarys(algorithm: Algorithm, key: bytes, pieces: list[bytes]) -> None:
    assume(algorithm.startswith("hmac"))
    expected = hmac.digest(key, b"".join(pieces), algorithm.removeprefix("hmac-"))
    assert Mac(replace(HMAC, algorithm=algorithm), key).signature(pieces) == expected.hex().encode()


names = st.sampled_from(
    [
        *(b"X-Hub-Signature-256", b"stripe-signature", b"STRIPE-SIGNATURE", b"X-Signature"),
        *(b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"svix-id", b"svix-timestamp", b"svix-signature"),
        *(b"", b"{body}", b"{timestamp}", b"{id}"),
    ]
)
fragments = st.sampled_from(
    [
        b"sha256=",
        b"v1=",
        b"v1,",
        b"v0=",
        b"t=",
        b",",
        b" ",
        b"1800000000",
        b"0" * 64,
        b"A" * 43 + b"=",
        b"\xff",
        b"\x00",
    ]
)
values = st.binary(max_size=80) | st.lists(fragments, max_size=12).map(b"".join)
garbage = st.lists(st.tuples(names | st.binary(max_size=20), values), max_size=8).map(tuple)


@given(
    st.sampled_from(sorted(PRESETS)), garbage, st.binary(max_size=100), st.floats(allow_nan=False, allow_infinity=False)
)
def test_garbage_is_refused_and_never_raises(name: str, headers: RawHeaders, body: bytes, now: float) -> None:
    answer = Verifier(PRESETS[name], SECRETS[name]).verify(headers, body, now)
    assert isinstance(answer, Refused)


@given(st.sampled_from(sorted(PRESETS)), garbage, st.data())
def test_garbage_around_a_good_request_decides_nothing_but_a_refusal(
    name: str, headers: RawHeaders, data: st.DataObject
) -> None:
    good = signed(PRESETS[name], SECRETS[name][0], b"body")
    mixed = tuple(data.draw(st.permutations([*good, *headers])))
    answer = Verifier(PRESETS[name], SECRETS[name]).verify(mixed, b"body", NOW)
    assert answer == Verified(0) or isinstance(answer, Refused)
    signature = PRESETS[name].signature_headers[0].lower().encode()
    if (
        not {known.lower() for known, _ in headers} & {known.lower() for known, _ in good}
        and name != "StandardWebhooks"
    ):
        assert value_of(good, signature)
        assert answer == Verified(0)


def _with_one_byte_changed(text: bytes, data: st.DataObject) -> bytes:
    index = data.draw(st.integers(0, len(text) - 1))
    flip = data.draw(st.integers(1, 255))
    return text[:index] + bytes([text[index] ^ flip]) + text[index + 1 :]
