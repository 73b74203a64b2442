"""Which requests are let in, and the word for it when one is not."""

import math
from dataclasses import replace

import pytest

from forebay.errors import SpecError
from forebay.signatures.scheme import Encoding, Timestamp, Unit
from forebay.signatures.sign import sign
from forebay.signatures.verify import MAX_ITEMS, Reason, Verified, Verifier
from tests.verifying.signed import (
    GITHUB,
    HMAC,
    NONE,
    NOW,
    SECRETS,
    STANDARD,
    STRIPE,
    raw,
    signed,
    value_of,
    verdict,
    with_value,
    without,
)

BODY = b'{"zen": "Keep it logically awesome."}'
GITHUB_KEYS, STRIPE_KEYS, STANDARD_KEYS = SECRETS["GitHub"], SECRETS["Stripe"], SECRETS["StandardWebhooks"]
GITHUB_SIGNED = signed(GITHUB, GITHUB_KEYS[0], BODY)
STRIPE_SIGNED = signed(STRIPE, STRIPE_KEYS[0], BODY)
STANDARD_SIGNED = signed(STANDARD, STANDARD_KEYS[0], BODY)


def github(value: bytes) -> int | Reason | None:
    headers = with_value(GITHUB_SIGNED, b"X-Hub-Signature-256", value)
    return verdict(GITHUB, GITHUB_KEYS[:1], headers, BODY)


def stripe(value: bytes, now: float = NOW) -> int | Reason | None:
    headers = with_value(STRIPE_SIGNED, b"Stripe-Signature", value)
    return verdict(STRIPE, STRIPE_KEYS[:1], headers, BODY, now)


def standard(name: bytes, value: bytes) -> int | Reason | None:
    return verdict(STANDARD, STANDARD_KEYS[:1], with_value(STANDARD_SIGNED, name, value), BODY)


def test_without_a_secret_everything_is_refused() -> None:
    assert verdict(GITHUB, (), GITHUB_SIGNED, BODY) is Reason.NO_SECRET
    assert verdict(GITHUB, (), (), b"") is Reason.NO_SECRET


def test_everything_is_let_in_only_where_none_is_spelled_out() -> None:
    assert Verifier(NONE, ()).verify((), b"", NOW) == Verified(None)


def test_secrets_for_a_source_that_verifies_nothing_are_a_mistake() -> None:
    with pytest.raises(SpecError, match="nothing is verified"):
        Verifier(NONE, (b"secret",))


def test_an_empty_body_has_a_signature_too() -> None:
    assert verdict(GITHUB, GITHUB_KEYS[:1], signed(GITHUB, GITHUB_KEYS[0], b""), b"") == 0


def test_the_body_is_signed_byte_by_byte_whatever_it_holds() -> None:
    body = bytes(range(256)) * 5000
    assert verdict(GITHUB, GITHUB_KEYS[:1], signed(GITHUB, GITHUB_KEYS[0], body), body) == 0


def test_the_case_of_header_names_does_not_matter() -> None:
    headers = tuple((name.upper(), value) for name, value in STANDARD_SIGNED)
    assert verdict(STANDARD, STANDARD_KEYS[:1], headers, BODY) == 0


def test_the_number_of_the_secret_that_matched_is_told() -> None:
    by_second = signed(GITHUB, GITHUB_KEYS[1], BODY)
    assert verdict(GITHUB, GITHUB_KEYS, by_second, BODY) == 1
    assert verdict(GITHUB, GITHUB_KEYS, GITHUB_SIGNED, BODY) == 0
    assert verdict(GITHUB, GITHUB_KEYS[:1], by_second, BODY) is Reason.BAD_SIGNATURE


def test_the_same_secret_twice_counts_as_the_first() -> None:
    assert verdict(GITHUB, GITHUB_KEYS[:1] * 2, GITHUB_SIGNED, BODY) == 0


def test_a_request_without_a_signature_is_refused() -> None:
    assert (
        verdict(GITHUB, GITHUB_KEYS, without(GITHUB_SIGNED, b"x-hub-signature-256"), BODY) is Reason.MISSING_SIGNATURE
    )


def test_the_old_sha1_signature_of_github_does_not_count() -> None:
    scheme = replace(GITHUB, signature_headers=("X-Hub-Signature",))
    old = signed(scheme, GITHUB_KEYS[0], BODY)
    assert verdict(GITHUB, GITHUB_KEYS, old, BODY) is Reason.MISSING_SIGNATURE


@pytest.mark.parametrize("name", [b"X-Hub-Signature-256", b"x-hub-signature-256"])
def test_a_second_signature_header_is_refused_even_if_it_says_the_same(name: bytes) -> None:
    again = (*GITHUB_SIGNED, (name, value_of(GITHUB_SIGNED, b"X-Hub-Signature-256")))
    assert verdict(GITHUB, GITHUB_KEYS, again, BODY) is Reason.DUPLICATE_HEADER


@pytest.mark.parametrize("name", [b"webhook-id", b"Webhook-Timestamp", b"webhook-signature"])
def test_every_header_that_is_signed_may_come_once(name: bytes) -> None:
    again = (*STANDARD_SIGNED, (name, value_of(STANDARD_SIGNED, name)))
    assert verdict(STANDARD, STANDARD_KEYS, again, BODY) is Reason.DUPLICATE_HEADER


def test_headers_that_are_not_signed_may_come_twice() -> None:
    assert verdict(GITHUB, GITHUB_KEYS, (*GITHUB_SIGNED, *GITHUB_SIGNED[:2], (b"X-GitHub-Delivery", b"")), BODY) == 0


HEX = value_of(GITHUB_SIGNED, b"X-Hub-Signature-256").removeprefix(b"sha256=")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"sha256=",
        HEX,
        b"sha1=" + HEX,
        b"SHA256=" + HEX,
        b"sha256=" + HEX[:-1],
        b"sha256=" + HEX + b"0",
        b"sha256=" + HEX.upper(),
        b"sha256= " + HEX,
        b"sha256=" + HEX + b", sha256=" + HEX,
        b"sha256=" + HEX[:-1] + b"\xe9",
        b"sha256=" + b"\xff\x00" * 32,
        b"sha256=" + b"0" * 1_000_000,
        b"\x00",
    ],
)
def test_what_has_not_the_form_of_a_signature_is_called_malformed(value: bytes) -> None:
    assert github(value) is Reason.MALFORMED_SIGNATURE


def test_a_well_formed_signature_of_something_else_is_called_bad() -> None:
    assert github(b"sha256=" + b"0" * 64) is Reason.BAD_SIGNATURE
    assert verdict(GITHUB, GITHUB_KEYS, GITHUB_SIGNED, BODY + b" ") is Reason.BAD_SIGNATURE


def test_base64_is_accepted_in_its_one_spelling_only() -> None:
    scheme = replace(HMAC, encoding=Encoding.BASE64)
    body, signature = next(  # one with characters in which the spellings differ
        (body, value)
        for body in (b"%d" % number for number in range(100))
        if b"+" in (value := value_of(signed(scheme, b"key", body), b"X-Signature"))
    )
    spellings = [signature.replace(b"+", b"-"), signature.rstrip(b"="), signature + b"=", b" " + signature]
    assert verdict(scheme, (b"key",), ((b"X-Signature", signature),), body) == 0
    for spelling in spellings:
        answer = verdict(scheme, (b"key",), ((b"X-Signature", spelling),), body)
        assert answer is Reason.MALFORMED_SIGNATURE, spelling


V1 = value_of(STRIPE_SIGNED, b"Stripe-Signature").partition(b",v1=")[2]
T = b"t=%d," % NOW


def test_any_of_several_stripe_signatures_will_do() -> None:
    assert stripe(T + b"v1=" + b"0" * 64 + b",v1=" + V1) == 0
    assert stripe(T + b"v1=" + V1 + b",v1=bad_signature") == 0


def test_a_stripe_header_may_have_other_items_other_order_and_spaces() -> None:
    assert stripe(b"v0=" + b"0" * 64 + b", v1=" + V1 + b" ,\tv2=x, " + T.strip(b",")) == 0


def test_a_stripe_signature_under_another_version_does_not_count() -> None:
    assert stripe(T + b"v0=" + V1) is Reason.MALFORMED_SIGNATURE
    assert stripe(T + b"v1=" + b"0" * 64 + b",v0=" + V1) is Reason.BAD_SIGNATURE
    assert stripe(b"i'm not even a real signature header") is Reason.MALFORMED_SIGNATURE


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (b"", Reason.MISSING_TIMESTAMP),
        (b"t=,", Reason.MALFORMED_TIMESTAMP),
        (b"t=-5,", Reason.MALFORMED_TIMESTAMP),
        (b"t=1.8e9,", Reason.MALFORMED_TIMESTAMP),
        (b"t=1_8,", Reason.MALFORMED_TIMESTAMP),
        ("t=١٢٣,".encode(), Reason.MALFORMED_TIMESTAMP),
        (b"t=" + b"9" * 5000 + b",", Reason.MALFORMED_TIMESTAMP),
        (T + T, Reason.MALFORMED_TIMESTAMP),
        (b"t=%d," % (NOW - 1), Reason.BAD_SIGNATURE),
        (b"t=0%d," % NOW, Reason.BAD_SIGNATURE),
    ],
)
def test_a_stripe_timestamp_is_one_whole_number_and_signed(stamp: bytes, reason: Reason) -> None:
    assert stripe(stamp + b"v1=" + V1) is reason


def test_the_signature_stays_good_for_the_tolerance_in_both_directions() -> None:
    value = T + b"v1=" + V1
    assert stripe(value, NOW + 300) == stripe(value, NOW - 300) == 0
    assert stripe(value, NOW + 300.1) is Reason.TIMESTAMP_TOO_OLD
    assert stripe(value, NOW - 300.1) is Reason.TIMESTAMP_IN_FUTURE
    assert verdict(STANDARD, STANDARD_KEYS, STANDARD_SIGNED, BODY, NOW + 300) == 0
    assert verdict(STANDARD, STANDARD_KEYS, STANDARD_SIGNED, BODY, NOW + 300.1) is Reason.TIMESTAMP_TOO_OLD


def test_the_age_is_only_judged_of_senders_that_know_the_secret() -> None:
    assert stripe(T + b"v1=" + b"0" * 64, NOW + 9999) is Reason.BAD_SIGNATURE


def test_the_tolerance_can_be_set_per_source() -> None:
    strict = Verifier(STRIPE, STRIPE_KEYS, tolerance=5)
    assert strict.verify(STRIPE_SIGNED, BODY, NOW + 5) == Verified(0)
    assert strict.verify(STRIPE_SIGNED, BODY, NOW + 6) != Verified(0)
    assert Verifier(STRIPE, STRIPE_KEYS, tolerance=math.inf).verify(STRIPE_SIGNED, BODY, NOW * 2) == Verified(0)


def test_timestamps_in_milliseconds_are_understood() -> None:
    stamp = Timestamp(headers=("X-Time",), unit=Unit.MILLISECONDS, tolerance=1)
    scheme = replace(HMAC, signed="{timestamp}{body}", timestamp=stamp)
    headers = signed(scheme, b"key", BODY, NOW + 0.25)
    assert value_of(headers, b"X-Time") == b"1800000000250"
    assert verdict(scheme, (b"key",), headers, BODY, NOW + 1.25) == 0
    assert verdict(scheme, (b"key",), headers, BODY, NOW + 1.26) is Reason.TIMESTAMP_TOO_OLD
    assert verdict(scheme, (b"key",), headers, BODY, NOW - 0.76) is Reason.TIMESTAMP_IN_FUTURE


def test_a_standard_webhook_needs_all_its_headers() -> None:
    for name, reason in [
        (b"webhook-id", Reason.MISSING_HEADER),
        (b"webhook-timestamp", Reason.MISSING_TIMESTAMP),
        (b"webhook-signature", Reason.MISSING_SIGNATURE),
    ]:
        assert verdict(STANDARD, STANDARD_KEYS, without(STANDARD_SIGNED, name), BODY) is reason


def test_any_of_several_standard_signatures_will_do_and_other_versions_are_passed_over() -> None:
    good = value_of(STANDARD_SIGNED, b"webhook-signature")
    other = b"v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    asymmetric = b"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    assert standard(b"webhook-signature", b" ".join([other, asymmetric, good, other])) == 0
    assert standard(b"webhook-signature", other) is Reason.BAD_SIGNATURE
    assert standard(b"webhook-signature", asymmetric) is Reason.MALFORMED_SIGNATURE
    assert standard(b"webhook-signature", good.replace(b"v1,", b"v2,")) is Reason.MALFORMED_SIGNATURE


def test_a_request_with_both_families_of_standard_headers_is_accepted() -> None:
    both = (*STANDARD_SIGNED, *((name.replace(b"webhook", b"svix"), value) for name, value in STANDARD_SIGNED))
    assert verdict(STANDARD, STANDARD_KEYS, both, BODY) == 0


def test_the_id_is_part_of_what_a_standard_webhook_signs() -> None:
    assert standard(b"webhook-id", b"msg_other") is Reason.BAD_SIGNATURE
    assert standard(b"webhook-id", b"\xff\xfe") is Reason.BAD_SIGNATURE


def test_only_so_many_signatures_are_tried() -> None:
    one, good = b"v1=" + b"0" * 64, b"v1=" + V1
    assert stripe(T + b",".join([one] * (MAX_ITEMS - 2) + [good])) == 0
    assert stripe(T + b",".join([one] * (MAX_ITEMS - 1) + [good])) is Reason.MALFORMED_SIGNATURE
    assert stripe(b"," * 1_000_000) is Reason.MALFORMED_SIGNATURE


def test_a_scheme_may_sign_any_header() -> None:
    scheme = replace(HMAC, signed="{header:X-Tenant}|{header:X-Tenant}|{body}")
    ours = sign(scheme, b"key", BODY, now=NOW, delivery_id="", headers=[("X-Tenant", "acme")])
    headers = (*raw(ours), (b"x-tenant", b"acme"))
    assert verdict(scheme, (b"key",), headers, BODY) == 0
    assert verdict(scheme, (b"key",), with_value(headers, b"x-tenant", b"evil"), BODY) is Reason.BAD_SIGNATURE
    assert verdict(scheme, (b"key",), without(headers, b"x-tenant"), BODY) is Reason.MISSING_HEADER


def test_a_signature_may_stand_in_any_of_several_headers() -> None:
    scheme = replace(HMAC, signature_headers=("Sign-Primary", "Sign-Secondary"))
    second = signed(replace(HMAC, signature_headers=("Sign-Secondary",)), b"key", BODY)
    assert verdict(scheme, (b"key",), (*second, (b"Sign-Primary", b"0" * 64)), BODY) == 0
    assert verdict(scheme, (b"key",), second, BODY) == 0
