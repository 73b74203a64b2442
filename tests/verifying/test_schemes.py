"""A scheme, a secret or a preset that could not protect anything is refused when it is read, with the reason."""

import math
from typing import Any

import pytest

from forebay.errors import SpecError
from forebay.signatures.mac import decode_key
from forebay.signatures.presets import parse_preset, preset, presets
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Scheme, Timestamp
from forebay.signatures.sign import sign
from forebay.signatures.template import compile_template
from forebay.signatures.verify import Verifier
from tests.verifying.signed import GITHUB, HMAC, NONE, STANDARD, STRIPE, signed, verdict


def scheme(**changes: Any) -> Scheme:
    return Scheme(**{"algorithm": Algorithm.HMAC_SHA256, "signature_headers": ("X-Signature",), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signature_headers": ()}, "header that carries the signature is missing"),
        ({"signature_headers": ("X Signature",)}, "can not be a header's name"),
        ({"delivery_id_headers": ("Ü",)}, "can not be a header's name"),
        ({"signed": "{timestamp}", "timestamp": Timestamp(headers=("T",))}, "exactly once"),
        ({"signed": "{body}{body}"}, "exactly once"),
        ({"signed": ""}, "exactly once"),
        ({"signed": "{id}.{body}"}, "which header carries the delivery's id"),
        ({"signed": "{timestamp}.{body}"}, "needs both a place"),
        ({"timestamp": Timestamp(headers=("T",))}, "needs both a place"),
        ({"signed": "{timestamp}.{body}", "timestamp": Timestamp()}, "either in a header or in an item"),
        ({"signed": "{timestamp}.{body}", "timestamp": Timestamp(headers=("T",), item="t=")}, "either in a header"),
        ({"signed": "{timestamp}.{body}", "timestamp": Timestamp(item="t=")}, "needs a separator"),
        (
            {
                "signature_headers": ("A", "B"),
                "separator": ",",
                "signed": "{timestamp}{body}",
                "timestamp": Timestamp(item="t="),
            },
            "and one signature header",
        ),
        ({"signed": "{timestamp}{body}", "timestamp": Timestamp(headers=("T",), tolerance=0)}, "accepts nothing"),
        (
            {"signed": "{timestamp}{body}", "timestamp": Timestamp(headers=("T",), tolerance=math.nan)},
            "accepts nothing",
        ),
        ({"signed": "{timestamp}{body}", "timestamp": Timestamp(headers=("T\r\n",))}, "can not be a header's name"),
        ({"signed": "{path}{body}"}, "is not known; use {body}"),
        ({"signed": "{form}{body}"}, "exactly once"),
        ({"signed": "{url}"}, "exactly once"),
        ({"signed": "{body}", "body_is_free": True}, "exactly once"),
        ({"encoding": Encoding.TEXT}, "hex or base64"),
        ({"timestamp": Timestamp(headers=("jwt:iat",))}, "a timestamp needs both"),
        ({"signature_headers": ("cookie:a",)}, "can not be a header's name"),
        ({"signed": "{header:}{body}"}, "is not known"),
        ({"signed": "{header:a b}{body}"}, "is not known"),
        ({"signed": "{body!r}"}, "is not known"),
        ({"signed": "{body:>10}"}, "{body:>10} is not known"),
        ({"signed": "{body"}, "expected '}'"),
        ({"signed": "{body}\ud800"}, "surrogates not allowed"),
        ({"event_type": "type"}, "neither header:NAME nor json:PATH"),
        ({"prefix": "é"}, "is not ASCII"),
        ({"algorithm": Algorithm.NONE}, "checks nothing"),
        (
            {"algorithm": Algorithm.NONE, "signature_headers": (), "timestamp": Timestamp(headers=("T",))},
            "checks nothing",
        ),
    ],
)
def test_a_scheme_that_can_not_work_says_why(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        scheme(**changes)
    assert message in str(error.value)


def test_all_faults_of_a_scheme_are_said_at_once() -> None:
    with pytest.raises(SpecError, match=r"signature is missing; .*exactly once.*; .*neither header"):
        scheme(signature_headers=(), signed="x", event_type="x")


def test_braces_in_a_signed_string_are_doubled() -> None:
    assert compile_template("{{{body}}}").render({b"{body}": b"x"}) == [b"{", b"x", b"}"]


@pytest.mark.parametrize(
    ("which", "secret", "message"),
    [
        (GITHUB, b"", "secret 2 of 2 is empty"),
        (STANDARD, b"", "is empty"),
        (STANDARD, b"whsec_", "is empty"),
        (STANDARD, b" \n", "is empty"),
        (STANDARD, b"whsec_not*base64", "is not base64 after 'whsec_'"),
        (STANDARD, b"whsec_QUJD-_", "is not base64"),
        (STANDARD, b"whsec_QUJ\nDREVG", "is not base64"),
        (STANDARD, b"whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "is not base64"),
        (STANDARD, b"\xff\xfe", "is not base64"),
        (scheme(key_encoding=KeyEncoding.HEX), b"abc", "is not hex"),
        (scheme(key_encoding=KeyEncoding.HEX), b"\xc3\xa9", "is not hex"),
    ],
)
def test_a_secret_that_can_not_be_used_is_refused_without_being_shown(
    which: Scheme, secret: bytes, message: str
) -> None:
    good = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    with pytest.raises(SpecError) as error:
        Verifier(which, (good, secret))
    assert message in str(error.value)
    told = str(error.value)
    hidden = secret.removeprefix(b"whsec_").decode("latin-1")
    assert len(hidden) < 3 or hidden not in told
    assert error.value.__cause__ is None
    with pytest.raises(SpecError, match="the secret is"):
        sign(which, secret, b"", now=0, delivery_id="")
    with pytest.raises(SpecError, match=r"^is ") as error:
        decode_key(which, secret)
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    "secret",
    [
        b"whsec_c2VjcmV0",
        b"c2VjcmV0",
        b"whsec_c2VjcmV0\n",
    ],
)
def test_a_base64_secret_may_come_with_or_without_its_prefix_and_a_newline(secret: bytes) -> None:
    assert verdict(STANDARD, (secret,), signed(STANDARD, b"whsec_c2VjcmV0", b"x"), b"x") == 0


def test_a_base64_secret_may_lack_its_padding() -> None:
    assert verdict(STANDARD, (b"whsec_c2VjcmV0cw",), signed(STANDARD, b"whsec_c2VjcmV0cw==", b"x"), b"x") == 0


def test_a_text_secret_is_taken_to_the_letter() -> None:
    for other in (b"test", b"whsec_test\n", b"WHSEC_test"):
        assert verdict(STRIPE, (other,), signed(STRIPE, b"whsec_test", b"x"), b"x") != 0


def test_a_tolerance_that_would_do_nothing_is_a_mistake() -> None:
    with pytest.raises(SpecError, match="signs no timestamp"):
        Verifier(GITHUB, (b"x",), tolerance=60)
    for tolerance in (0, -1, math.nan):
        with pytest.raises(SpecError, match="accepts nothing"):
            Verifier(STRIPE, (b"x",), tolerance=tolerance)


def test_samples_can_not_be_signed_without_what_the_scheme_signs() -> None:
    with pytest.raises(SpecError, match="signs the header x-tenant"):
        sign(scheme(signed="{header:X-Tenant}{body}"), b"x", b"", now=0, delivery_id="")
    for delivery_id in ("a\r\nb: c", "\x00", "é"):
        with pytest.raises(SpecError, match="printable ASCII"):
            sign(STANDARD, b"c2VjcmV0", b"", now=0, delivery_id=delivery_id)


def test_a_sample_for_a_source_that_verifies_nothing_has_no_signature() -> None:
    assert sign(NONE, b"", b"", now=0, delivery_id="1") == []


@pytest.mark.parametrize("name", ["GitHub", "Stripe", "StandardWebhooks", "HMAC", "None"])
def test_providers_are_found_in_any_case(name: str) -> None:
    assert preset(name) is preset(name.lower()) is preset(name.upper())
    assert preset(name).name == name


def test_an_unknown_provider_is_an_error_and_never_lets_anybody_in() -> None:
    for name in ("githubb", "", "no"):
        with pytest.raises(
            SpecError, match=r"use one of Adyen, .*GitHub, .*HMAC, .*None, .*StandardWebhooks, .*Stripe, "
        ):
            preset(name)


def test_every_preset_but_none_verifies_and_names_its_source() -> None:
    for known in presets().values():
        assert (known.scheme.algorithm is Algorithm.NONE) == (known.name == "None")
        assert known.name == "None" or all(source.startswith("https://") for source in known.sources)
        assert known.name == "None" or known.sources


def test_where_presets_find_the_event_type_and_the_delivery() -> None:
    assert (GITHUB.event_type, GITHUB.delivery_id_headers) == ("header:X-GitHub-Event", ("X-GitHub-Delivery",))
    assert (STRIPE.event_type, STRIPE.delivery_id_headers) == ("json:type", ())
    assert (STANDARD.event_type, STANDARD.delivery_id_headers) == ("json:type", ("webhook-id", "svix-id"))
    assert (HMAC.event_type, HMAC.delivery_id_headers) == (None, ())


PRESET = """
name = "Acme"
sources = ["https://acme.example"]
checked = 2026-11-24
confidence = "published"
setup = "The secret is in the safe."
[scheme]
algorithm = "hmac-sha512"
signature_headers = ["X-Acme"]
"""


def test_a_preset_is_a_small_file() -> None:
    assert parse_preset(PRESET).scheme == scheme(algorithm=Algorithm.HMAC_SHA512, signature_headers=("X-Acme",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "Acme"', "", "needs 'name'"),
        ("[scheme]", "[other]", "needs 'scheme'"),
        ('algorithm = "hmac-sha512"', "", "algorithm"),
        ("hmac-sha512", "md4", "'md4' is not a valid Algorithm"),
        ("algorithm", "algoritm", "unexpected keyword argument 'algoritm'"),
        ('["X-Acme"]', "[]", "header that carries the signature is missing"),
        ('["X-Acme"]', '"X-Acme"', "signature_headers is not a list of texts"),
        ('["X-Acme"]', "[5]", "signature_headers is not a list of texts"),
        ('["X-Acme"]', '["X-Acme"]\nprefix = 5', "prefix is 5, not str"),
        ('["X-Acme"]', '["X-Acme"]\ntimestamp = {tolerance = "5 m", item = "t="}', "tolerance is '5 m', not number"),
        ('["X-Acme"]', '["X-Acme"]\ntimestamp = "X-Time"', "timestamp is 'X-Time', not dict"),
        ("[scheme]", "scheme = 5\n[other]", "scheme is 5, not dict"),
        ("checked = 2026-11-24", 'checked = "today"', "checked is 'today', not date"),
        ('"published"', '"hearsay"', "'hearsay' is not a valid Confidence"),
        ('setup = "The secret is in the safe."', "", "needs 'setup'"),
        ("[scheme]", "[scheme", "can not be read"),
    ],
)
def test_a_preset_that_can_not_be_read_says_why(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_preset(PRESET.replace(old, new))
    assert message in str(error.value)
