"""Providers whose keys are published: what a certificate or a key set verifies, and what it is never fetched for."""

import base64
import json
from typing import Any

import pytest

from forebay.errors import SpecError
from forebay.settings import Jwt, Verification
from forebay.signatures import web_token
from forebay.signatures.configured import Fetching, verifier_of
from forebay.signatures.elsewhere import Line
from forebay.signatures.key_ring import (
    AGAIN_S,
    FRESH_S,
    KEPT_S,
    MAX_HELD,
    KeyRing,
    Keys,
    read_certificate,
    read_key_set,
)
from forebay.signatures.presets import preset
from forebay.signatures.verify import Reason, Refused, Verified, Verifier
from tests.support.publishing import (
    CERTIFICATE,
    GRAPH,
    KEYS,
    PAYPALS,
    TOPIC,
    WEBHOOK_ID,
    Request,
    certificate,
    issuer,
    key,
    paypal,
    sns,
    url64,
)
from tests.verifying.signed import NOW, raw

LINE = Line("POST", "/")
OTHER = b"arn:aws:sns:us-east-1:123456789012:other"


def certified(name: str, *secrets: bytes, ring: KeyRing | None = None) -> Fetching:
    made = verifier_of(Verification(provider=name), secrets, full() if ring is None else ring)
    assert isinstance(made, Fetching)
    return made


def full() -> KeyRing:
    ring = KeyRing()
    for url in (CERTIFICATE, PAYPALS):
        ring.keep(url, read_certificate(certificate()), NOW)
    return ring


def answer(verifier: Fetching, request: Request, now: float = NOW) -> int | Reason | None:
    match verifier.verify(*request, now, LINE):
        case Verified(secret):
            return secret
        case Refused(reason):
            return reason


# ---------------------------------------------------------------------------------------------------------------- SNS


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Zoë", None])
def test_a_message_of_the_topic_is_let_in(version: str, subject: str | None) -> None:
    assert answer(certified("SNS", OTHER, TOPIC), sns(version=version, Subject=subject)) == 1


def test_the_question_whether_to_subscribe_is_signed_with_its_token() -> None:
    asked: dict[str, Any] = {
        "Type": "SubscriptionConfirmation",
        "SubscribeURL": "https://sns.us-east-1.amazonaws.com/",
        "Subject": None,
    }
    assert answer(certified("SNS", TOPIC), sns(Token="2336412f37", **asked)) == 0
    assert isinstance(answer(certified("SNS", TOPIC), sns(**asked)), Reason)
    assert isinstance(answer(certified("SNS", TOPIC), sns(Token="a")), Reason)


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"])
def test_every_field_that_sns_signs_counts(name: str) -> None:
    headers, body = sns()
    said = json.loads(body)
    for changed in (said[name] + " ", said[name][:-1], None, 1, [said[name]], ""):
        other = json.dumps(said | {name: changed}).encode()
        assert isinstance(answer(certified("SNS", TOPIC), (headers, other)), Reason), changed
    del said[name]
    assert isinstance(answer(certified("SNS", TOPIC), (headers, json.dumps(said).encode())), Reason)


@pytest.mark.parametrize("signature", ["", "AAAA", "%", "é", "A" * 4000, 1, None])
def test_a_signature_that_is_none_is_refused(signature: object) -> None:
    headers, body = sns()
    other = json.dumps(json.loads(body) | {"Signature": signature}).encode()
    assert isinstance(answer(certified("SNS", TOPIC), (headers, other)), Reason)


def test_every_byte_of_the_signature_counts() -> None:
    headers, body = sns()
    said = json.loads(body)
    made = base64.b64decode(said["Signature"])
    for index in range(0, len(made), 7):
        other = base64.b64encode(made[:index] + bytes([made[index] ^ 1]) + made[index + 1 :]).decode()
        changed = json.dumps(said | {"Signature": other}).encode()
        assert answer(certified("SNS", TOPIC), (headers, changed)) is Reason.BAD_SIGNATURE


def test_a_message_of_another_topic_is_refused_and_no_certificate_is_fetched_for_it() -> None:
    verifier = certified("SNS", OTHER, ring=KeyRing())
    assert answer(verifier, sns()) is Reason.OTHER_PARTY
    assert verifier.wants(*sns(), NOW, LINE) is None
    assert answer(certified("SNS"), sns()) is Reason.NO_SECRET


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
        "https://a@sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/SimpleNotificationService-1.pem",
        "https://sns.a.b.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/../bucket/SimpleNotificationService-1.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem?a=.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem\n",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1xpem",
        "https://snsXus-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://SNS.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "file:///etc/passwd", "", "https://169.254.169.254/SimpleNotificationService-1.pem", "é" * 1000,
    ],
)  # fmt: skip
def test_a_certificate_from_anywhere_else_is_neither_fetched_nor_used(url: str) -> None:
    request = sns(SigningCertURL=url)
    ring = full()
    ring.keep(url, read_certificate(certificate()), NOW)
    verifier = certified("SNS", TOPIC, ring=ring)
    assert answer(verifier, request) is Reason.UNKNOWN_KEY
    assert certified("SNS", TOPIC, ring=KeyRing()).wants(*request, NOW, LINE) is None


def test_a_certificate_from_each_of_its_hosts_is_fetched() -> None:
    for host in (
        "sns.eu-central-1.amazonaws.com",
        "sns.us-gov-west-1.amazonaws.com",
        "sns.cn-north-1.amazonaws.com.cn",
    ):
        url = f"https://{host}/SimpleNotificationService-ab12.pem"
        assert certified("SNS", TOPIC, ring=KeyRing()).wants(*sns(SigningCertURL=url), NOW, LINE) == url


def test_another_certificate_or_one_whose_time_is_over_is_refused() -> None:
    ring = KeyRing()
    assert answer(certified("SNS", TOPIC, ring=ring), sns()) is Reason.UNKNOWN_KEY
    ring.keep(CERTIFICATE, read_certificate(certificate(key(number=1))), NOW)
    assert answer(certified("SNS", TOPIC, ring=ring), sns()) is Reason.BAD_SIGNATURE
    ring.keep(CERTIFICATE, read_certificate(certificate(now=NOW - 86_400)), NOW)
    assert answer(certified("SNS", TOPIC, ring=ring), sns()) is Reason.UNKNOWN_KEY
    ring.keep(CERTIFICATE, read_certificate(certificate(now=NOW + 7200)), NOW)
    assert answer(certified("SNS", TOPIC, ring=ring), sns()) is Reason.UNKNOWN_KEY


@pytest.mark.parametrize("version", ["0", "3", "", "sha256"])
def test_another_version_is_refused(version: str) -> None:
    assert answer(certified("SNS", TOPIC), sns(version=version)) is Reason.UNKNOWN_KEY


def test_a_message_is_a_day_old_at_most() -> None:
    verifier = certified("SNS", TOPIC)
    verifier._ring.keep(CERTIFICATE, read_certificate(certificate(days=9)), NOW)
    assert answer(verifier, sns(NOW - 86_400)) == 0
    assert answer(verifier, sns(NOW - 86_402)) is Reason.TIMESTAMP_TOO_OLD
    assert answer(verifier, sns(NOW + 86_402)) is Reason.TIMESTAMP_IN_FUTURE
    assert answer(verifier, sns(Timestamp="yesterday")) is Reason.MALFORMED_TIMESTAMP


# ------------------------------------------------------------------------------------------------------------- PayPal


def test_a_webhook_of_paypals_is_let_in() -> None:
    assert answer(certified("PayPal", b"another", WEBHOOK_ID), paypal()) == 1
    assert answer(certified("PayPal", WEBHOOK_ID), paypal(body=b"")) == 0
    assert answer(certified("PayPal", b"another"), paypal()) is Reason.BAD_SIGNATURE


def changed_paypal(name: str, value: str) -> Request:
    changes: dict[str, Any] = {name: value}
    return paypal(**changes)


def test_every_byte_that_paypal_sends_with_it_counts() -> None:
    headers, body = paypal()
    verifier = certified("PayPal", WEBHOOK_ID)
    assert answer(verifier, (headers, body + b" ")) is Reason.BAD_SIGNATURE
    for index, (name, value) in enumerate(headers):
        assert answer(verifier, ((*headers, (name.lower(), value)), body)) is Reason.DUPLICATE_HEADER
        assert isinstance(answer(verifier, ((*headers[:index], *headers[index + 1 :]), body)), Reason)
        for at in range(0, len(value), 3):
            other = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
            assert isinstance(
                answer(verifier, ((*headers[:index], (name, other), *headers[index + 1 :]), body)), Reason
            )
    for strange in ("", "x" * 100_000, "\xff", "=,;"):
        for changed in ("PAYPAL-TRANSMISSION-SIG", "PAYPAL-CERT-URL", "PAYPAL-AUTH-ALGO", "PAYPAL-TRANSMISSION-TIME"):
            assert isinstance(answer(verifier, changed_paypal(changed, strange)), Reason)


def test_a_certificate_of_anybody_else_is_not_fetched_for_paypal() -> None:
    for url in (
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/other",
        CERTIFICATE,
    ):
        verifier = certified("PayPal", WEBHOOK_ID, ring=KeyRing())
        assert verifier.wants(*changed_paypal("PAYPAL-CERT-URL", url), NOW, LINE) is None
    assert certified("PayPal", WEBHOOK_ID, ring=KeyRing()).wants(*paypal(), NOW, LINE) == PAYPALS


# ------------------------------------------------------------------------------------------------------------- tokens

JWT = Jwt(audience="us", keys_url=KEYS, issuers=("https://issuer.example.com",), claims=(("email", "a@example.com"),))


def tokens(ring: KeyRing | None = None, provider: str = "JWT", jwt: Jwt | None = JWT) -> Fetching:
    if ring is None:
        ring = KeyRing()
        ring.keep(KEYS, read_key_set(issuer().key_set()), NOW)
    made = verifier_of(Verification(provider=provider, jwt=jwt), (), ring)
    assert isinstance(made, Fetching)
    return made


def bearer(token: str, prefix: str = "Bearer ") -> Request:
    return raw([("Authorization", prefix + token)]), b"{}"


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_token_by_a_published_key_is_let_in_and_a_changed_one_is_not(alg: str) -> None:
    token = issuer().token(alg=alg)
    assert answer(tokens(), bearer(token)) is None
    assert answer(tokens(), bearer(token, "bearer ")) is None
    head, claims, signature = token.split(".")
    for index in range(0, len(token), 11):
        other = token[:index] + chr(ord(token[index]) ^ 1) + token[index + 1 :]
        assert isinstance(answer(tokens(), bearer(other)), Reason)
    for forged in (
        f"{head}.{claims}.",
        f"{head}.{claims}",
        token + ".",
        f"{head}.{claims}.{signature[:-4]}",
        "",
        "a.b.c",
    ):
        assert isinstance(answer(tokens(), bearer(forged)), Reason)


@pytest.mark.parametrize(
    ("alg", "kid"),
    [
        ("RS256", "c"),
        ("RS256", "e"),
        ("ES256", "r"),
        ("EdDSA", "r"),
        ("RS256", "weak"),
        ("RS256", "secret"),
        ("RS256", "x"),
    ],
)
def test_a_key_of_another_kind_verifies_nothing(alg: str, kid: str) -> None:
    assert answer(tokens(), bearer(issuer().token(alg=alg, kid=kid))) in (Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY)


@pytest.mark.parametrize(
    "head", [{"alg": "none"}, {"alg": "HS256"}, {"alg": ["RS256"]}, {"alg": "RS256", "crit": ["b64"]}, []]
)
def test_a_token_that_names_another_algorithm_is_refused(head: object) -> None:
    _, claims, signature = issuer().token().split(".")
    forged = f"{url64(json.dumps(head).encode())}.{claims}.{signature}"
    assert answer(tokens(), bearer(forged)) is Reason.MALFORMED_SIGNATURE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://other.example.com"}, Reason.OTHER_PARTY), ({"iss": None}, Reason.OTHER_PARTY),
        ({"aud": "others"}, Reason.OTHER_PARTY), ({"aud": ["others", "us"]}, None), ({"aud": None}, Reason.OTHER_PARTY),
        ({"aud": {"us": 1}}, Reason.OTHER_PARTY), ({"email": "b@example.com"}, Reason.OTHER_PARTY),
        ({"email": None}, Reason.OTHER_PARTY), ({"exp": None}, Reason.MISSING_TIMESTAMP),
        ({"exp": "soon"}, Reason.MALFORMED_TIMESTAMP), ({"exp": float("inf")}, Reason.MALFORMED_TIMESTAMP),
        ({"exp": float("nan")}, Reason.MALFORMED_TIMESTAMP), ({"exp": True}, Reason.MALFORMED_TIMESTAMP),
        ({"exp": NOW - 61}, Reason.TIMESTAMP_TOO_OLD), ({"exp": NOW - 59}, None),
        ({"nbf": NOW + 61}, Reason.TIMESTAMP_IN_FUTURE), ({"nbf": NOW + 59}, None), ({"iat": None}, None),
    ],
)  # fmt: skip
def test_what_a_token_says_counts(claims: dict[str, Any], reason: Reason | None) -> None:
    assert answer(tokens(), bearer(issuer().token(**claims))) == reason


def test_strange_headers_are_refused() -> None:
    token = issuer().token()
    twice = (*bearer(token)[0], *bearer(token)[0])
    assert answer(tokens(), (twice, b"")) is Reason.DUPLICATE_HEADER
    assert answer(tokens(), (raw([("Host", "a")]), b"")) is Reason.MISSING_SIGNATURE
    for strange in ("Basic a", "", "Bearer", "Bearer " + "a" * 100_000, "Bearer \xff.\xff.\xff", "Bearer " + "[" * 999):
        assert isinstance(answer(tokens(), (raw([("Authorization", strange)]), b"")), Reason)
    nested = ".".join([url64(b"[" * 100_000)] * 3)
    assert isinstance(answer(tokens(), bearer(nested)), Reason)


def test_keys_are_not_fetched_for_a_token_that_is_for_somebody_else() -> None:
    verifier = tokens(KeyRing())
    assert verifier.wants(*bearer(issuer().token(aud="others")), NOW, LINE) is None
    assert verifier.wants(*bearer(issuer().token()), NOW, LINE) == KEYS


def test_a_key_that_is_not_in_the_set_is_looked_for_again_but_not_at_once() -> None:
    ring = KeyRing()
    ring.keep(KEYS, read_key_set(issuer().key_set()), NOW)
    new = bearer(issuer().token(kid="new"))
    assert tokens(ring).wants(*new, NOW + AGAIN_S, LINE) is None
    assert tokens(ring).wants(*new, NOW + AGAIN_S + 1, LINE) == KEYS
    assert tokens(ring).wants(*bearer(issuer().token()), NOW + AGAIN_S + 1, LINE) is None


def test_googles_subscriptions_need_their_account_and_others_their_issuer() -> None:
    email = (("email", "push@project.iam.gserviceaccount.com"),)
    known = preset("GooglePubSub").scheme.published
    assert known is not None
    ring = KeyRing()
    ring.keep(known.url, read_key_set(issuer().key_set()), NOW)
    verifier = tokens(ring, "GooglePubSub", Jwt(audience="us", claims=email))
    token = issuer().token(iss="https://accounts.google.com", email=email[0][1])
    assert answer(verifier, bearer(token)) is None
    assert answer(verifier, bearer(issuer().token(iss="https://accounts.google.com"))) is Reason.OTHER_PARTY
    for provider, jwt in (
        ("GooglePubSub", Jwt(audience="us")),
        ("JWT", Jwt(audience="us")),
        ("JWT", None),
        ("JWT", Jwt(audience="", keys_url=KEYS, issuers=("a",))),
    ):
        with pytest.raises(SpecError, match=f"provider {provider} needs"):
            tokens(KeyRing(), provider, jwt)


# ----------------------------------------------------------------------------------------------------------- the ring


def test_what_was_fetched_is_used_for_an_hour_and_for_a_day_while_nobody_answers() -> None:
    ring, keys = KeyRing(), Keys(by_id={"": None})
    assert ring.wants("a", NOW)
    assert ring.find("a", NOW) is None
    ring.keep("a", keys, NOW)
    assert not ring.wants("a", NOW + FRESH_S)
    assert ring.wants("a", NOW + FRESH_S + 1)
    assert ring.find("a", NOW + KEPT_S) is keys
    assert ring.find("a", NOW + KEPT_S + 1) is None


def test_the_ring_is_bounded() -> None:
    ring = KeyRing()
    for number in range(MAX_HELD + 1):
        ring.keep(str(number), Keys(by_id={"": None}), NOW)
    assert ring.find("0", NOW) is None
    assert ring.find("1", NOW) is not None


@pytest.mark.parametrize("text", [b"", b"no", certificate().replace(b"MII", b"AAA"), certificate(key(1024))])
def test_what_is_no_certificate_is_told(text: bytes) -> None:
    with pytest.raises(SpecError):
        read_certificate(text)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b'{"keys":1}', b'{"keys":[1,{},{"kty":"oct","k":"AAAA"}]}', b'{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}',
        b'{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}', b'{"keys":[{"kty":["RSA"]}]}', b"[" * 100_000,
        b'{"keys":[{"kty":"OKP","crv":"X25519","x":"AA"}]}', b'{"keys":[{"kty":"RSA","n":1,"e":"\\u00e9"}]}',
    ],
)  # fmt: skip
def test_what_is_no_key_set_is_told(text: bytes) -> None:
    with pytest.raises(SpecError):
        read_key_set(text)


def test_the_usual_verifier_never_takes_them() -> None:
    for name in ("SNS", "PayPal", "JWT", "GooglePubSub", "EventGridEntra", "MicrosoftGraphTokens"):
        with pytest.raises(SpecError, match="fetched"):
            Verifier(preset(name).scheme, (b"a",))


def test_the_token_that_rfc_7515_shows_is_verified_by_its_key() -> None:
    # RFC 7515 A.3: its key, its signing input and its signature; it is for nobody, so only the signature is asked for
    key = {
        "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }  # fmt: skip
    token = (
        "eyJhbGciOiJFUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    (made,) = read_key_set(json.dumps({"keys": [key]}).encode()).by_id.values()
    parsed = web_token._parse(token.encode())
    assert parsed is not None
    assert web_token._verifies(made, parsed)
    other = web_token._parse(f"{token[:-2]}2Q".encode())
    assert other is not None
    assert not web_token._verifies(made, other)


# ------------------------------------------------------------------------------------------------- Microsoft Graph

ENTRA = "https://login.microsoftonline.com/tenant/discovery/v2.0/keys"


def graph() -> Fetching:
    ring = KeyRing()
    ring.keep(ENTRA, read_key_set(issuer().key_set()), NOW)
    jwt = Jwt(audience="us", keys_url=ENTRA, issuers=("https://issuer.example.com",))
    made = verifier_of(Verification(provider="MicrosoftGraphTokens", jwt=jwt), (), ring)
    assert isinstance(made, Fetching)
    return made


def notified(*tokens: object) -> Request:
    return raw([("Host", "a")]), json.dumps({"value": [{"changeType": "updated"}], "validationTokens": tokens}).encode()


@pytest.mark.parametrize("claim", [{"appid": GRAPH}, {"azp": GRAPH}, {"appid": GRAPH, "azp": GRAPH}])
def test_tokens_of_graphs_own_service_let_a_notification_in(claim: dict[str, Any]) -> None:
    token = issuer().token(**claim)
    assert answer(graph(), notified(token)) is None
    assert answer(graph(), notified(token, issuer().token(appid=GRAPH))) is None


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, Reason.OTHER_PARTY),
        ({"appid": "8e460676-ae3f-4b1e-8790-ee0fb5d6148f"}, Reason.OTHER_PARTY),
        ({"appid": GRAPH, "azp": "another"}, Reason.OTHER_PARTY),
        ({"appid": [GRAPH]}, Reason.OTHER_PARTY),
        ({"appid": GRAPH, "aud": "them"}, Reason.OTHER_PARTY),
        ({"appid": GRAPH, "iss": "https://sts.windows.net/another/"}, Reason.OTHER_PARTY),
        ({"appid": GRAPH, "exp": int(NOW) - 100}, Reason.TIMESTAMP_TOO_OLD),
        ({"appid": GRAPH, "exp": None}, Reason.MISSING_TIMESTAMP),
        ({"appid": GRAPH, "kid": "another"}, Reason.UNKNOWN_KEY),
    ],
)
def test_each_token_of_a_notification_has_to_be_good(claims: dict[str, Any], reason: Reason) -> None:
    good, bad = issuer().token(appid=GRAPH), issuer().token(**claims)
    for tokens in ((bad,), (good, bad), (bad, good)):
        assert answer(graph(), notified(*tokens)) is reason


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [((), Reason.MISSING_SIGNATURE), (("",), Reason.MALFORMED_SIGNATURE), ((1,), Reason.MALFORMED_SIGNATURE),
     (("a.b.c",), Reason.MALFORMED_SIGNATURE), (("a.b.c",) * 9, Reason.MALFORMED_SIGNATURE), (("é" * 9000,), Reason.MALFORMED_SIGNATURE)],
)  # fmt: skip
def test_a_notification_without_tokens_is_refused(tokens: tuple[object, ...], reason: Reason) -> None:
    assert answer(graph(), notified(*tokens)) is reason


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"{", b'{"validationTokens":"a.b.c"}', b"[" * 100_000])
def test_a_body_that_is_no_notification_is_refused(body: bytes) -> None:
    assert (
        answer(graph(), (raw([("Authorization", f"Bearer {issuer().token(appid=GRAPH)}")]), body))
        is Reason.MISSING_SIGNATURE
    )


def test_every_byte_of_a_token_counts() -> None:
    token = issuer().token(appid=GRAPH)
    for at in range(0, len(token), 5):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        # The last sign of base64 holds bits that say nothing.
        assert isinstance(answer(graph(), notified(changed)), Reason) or at == len(token) - 1
