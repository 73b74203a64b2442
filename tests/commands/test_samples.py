"""What `forebay send` sends is what the provider would: correctly signed, of the right type, never the same twice."""

import json
import os
import shlex

import pytest

from forebay import manifest as manifests
from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line
from forebay.signatures.verify import Reason, Refused, Verified, Verifier
from forebay.source import WebhookSource
from forebay_cli.given import sampler_of
from forebay_cli.sampling import Moment, Sample, curl, events, parse_header
from tests.support.sources import manifest

NOW = 1_790_000_000.0
SECRETS = {"GitHub": b"s3cret", "Stripe": b"whsec_abc", "StandardWebhooks": b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
KNOWN = [(provider, event) for provider in SECRETS for event in [*events(provider), "made.up"]]


def source(provider: str) -> WebhookSource:
    return manifests.read_source(manifest(spec__ingest__verification__provider=provider))


def sample(provider: str, event: str | None = None, number: int = 1, data: bytes | None = None) -> Sample:
    sampler = sampler_of(source(provider), SECRETS[provider], event=event, data=data)
    return sampler.sample(Moment(number=number, now=NOW, seed=os.urandom(16)))


def verdict(provider: str, made: Sample) -> object:
    scheme = sampler_of(source(provider), b"").scheme
    headers = [(name.lower().encode(), value.encode()) for name, value in made.headers]
    return Verifier(scheme, [SECRETS[provider]]).verify(headers, made.body, NOW)


@pytest.mark.parametrize(("provider", "event"), KNOWN)
def test_each_sample_verifies(provider: str, event: str) -> None:
    assert verdict(provider, sample(provider, event)) == Verified(secret=0)


@pytest.mark.parametrize("provider", SECRETS)
def test_a_body_of_ones_own_verifies_too(provider: str) -> None:
    made = sample(provider, data=b"\xff\x00 not JSON")
    assert made.body == b"\xff\x00 not JSON"
    assert verdict(provider, made) == Verified(secret=0)


@pytest.mark.parametrize(("provider", "event"), KNOWN)
def test_each_sample_is_json_that_says_its_type_where_the_provider_does(provider: str, event: str) -> None:
    made = sample(provider, event)
    body = json.loads(made.body)
    if provider == "GitHub":
        assert ("X-GitHub-Event", event) in made.headers
    else:
        assert body["type"] == event


@pytest.mark.parametrize(("provider", "event"), KNOWN)
def test_no_two_samples_are_the_same(provider: str, event: str) -> None:
    first, second = sample(provider, event, 1), sample(provider, event, 2)
    assert first.id != second.id
    assert first.body != second.body


def test_a_header_of_ones_own_replaces_the_usual_one() -> None:
    sampler = sampler_of(source("GitHub"), b"x", headers=(("x-github-event", "deployment"), ("A", "1"), ("A", "2")))
    headers = sampler.sample(Moment(number=1, now=NOW, seed=b"")).headers
    assert [value for name, value in headers if name.lower() == "x-github-event"] == ["deployment"]
    assert [value for name, value in headers if name == "A"] == ["1", "2"]


def test_the_curl_command_carries_the_sample_through_a_shell() -> None:
    made = sample("GitHub", data=b"it's $HOME `and` \\more\n")
    words = shlex.split(curl("http://127.0.0.1/x?a=1&b=2", made).replace("\\\n", ""))
    assert words[:3] == ["curl", "-i", "http://127.0.0.1/x?a=1&b=2"]
    assert [tuple(word.split(": ", 1)) for word in words[4:-2:2]] == made.headers
    assert words[-1].encode() == made.body


@pytest.mark.parametrize("text", ["no colon", ": no name", "A: b\r\nEvil: c", ""])
def test_a_header_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--header"):
        parse_header(text)


@pytest.mark.parametrize("provider", ["Twilio", "Square", "HubSpot", "Trello"])
def test_a_sample_for_a_provider_that_signs_the_url_verifies(provider: str) -> None:
    url = "https://hooks.example.com/hooks"
    about = manifests.read_source(manifest(spec__ingest__verification__provider=provider, spec__ingest__publicUrl=url))
    sampler = sampler_of(about, b"secret")
    made = sampler.sample(Moment(number=1, now=NOW, seed=b"x"))
    headers = tuple((name.encode(), value.encode()) for name, value in made.headers)
    verifier = Verifier(sampler.scheme, (b"secret",))
    assert verifier.verify(headers, made.body, NOW, Line("POST", url)) == Verified(0)
    assert verifier.verify(headers, made.body, NOW, Line("POST", url + "/")) == Refused(Reason.BAD_SIGNATURE)
