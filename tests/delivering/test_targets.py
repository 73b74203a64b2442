"""URLs that depend on the webhook: each placeholder's value, and that no stranger's text leads anywhere else."""

from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import manifest
from forebay.errors import SpecError
from forebay.placeholders import misplaced
from forebay.settings import Destination
from forebay_operator.desired import Platform
from forebay_operator.desired.worker_settings import worker_settings
from forebay_worker.request import RequestWriter, Unsendable, parse_url
from tests.support.envelopes import envelope
from tests.support.sources import manifest as source


def line(url: str, **changes: Any) -> str:
    """The request's first line and Host."""
    settings = Destination(url=url, source_path="/payments/github")
    head = RequestWriter(settings, parse_url(url), lambda _: b"").write(envelope(**changes))[1]
    first, host = head.split(b"\r\n")[:2]
    assert host == b"Host: a.example", head
    return first.decode().removeprefix("POST ").removesuffix(" HTTP/1.1")


def shop(value: str) -> dict[str, Any]:
    return {"header_block": b"Host: x\r\nX-Shop: " + value.encode("latin-1", "replace") + b"\r\n"}


@pytest.mark.parametrize(
    ("url", "changes", "target"),
    [
        ("http://a.example/{eventType}", {}, "/push"),
        ("http://a.example/e/{eventType}/x", {"event_type": "invoice/paid ü"}, "/e/invoice%2Fpaid%20%C3%BC/x"),
        ("http://a.example/{id}", {"id": "1?2#3"}, "/1%3F2%233"),
        ("http://a.example/{header.x-shop}", shop("one/../two"), "/one%2F..%2Ftwo"),
        ("http://a.example/?shop={header.X-Shop}&b=1", shop("a&b=2"), "/?shop=a%26b%3D2&b=1"),
        ("http://a.example/w/{path}", {"target": "/payments/github/a/b%20c?x=1"}, "/w/a/b%20c"),
        ("http://a.example/w/{path}?{query}", {"target": "/payments/github/a?x=1&y=%20"}, "/w/a?x=1&y=%20"),
        ("http://a.example/w/{path}?{query}", {"target": "/payments/github"}, "/w/"),
        ("http://a.example/%7Bx%7D", {}, "/%7Bx%7D"),
    ],
)
def test_a_placeholder_becomes_the_webhooks_value(url: str, changes: dict[str, Any], target: str) -> None:
    assert line(url, **changes) == target


@pytest.mark.parametrize(
    ("url", "changes", "why"),
    [
        ("http://a.example/{eventType}", {"event_type": None}, "asks for {eventType}, and the webhook has none"),
        ("http://a.example/{header.X-Shop}", {}, "asks for {header.X-Shop}"),
        ("http://a.example/{header.X-Shop}/x", shop(".."), "a step up the path"),
        ("http://a.example/w/{path}", {"target": "/payments/github/a/../../admin"}, "lead out of the path"),
        ("http://a.example/w/{path}", {"target": "/payments/github/a/%2e%2E/admin"}, "lead out of the path"),
        ("http://a.example/w/{path}", {"target": "/payments/github/a%2f..%2fadmin"}, "lead out of the path"),
        ("http://a.example/w/{path}", {"target": "/payments/github/%252e%252e/admin"}, "lead out of the path"),
        ("http://a.example/{header.X-Shop}", shop("x" * 8000), "8001 characters"),
    ],
)
def test_a_webhook_without_the_value_or_with_a_dangerous_one_is_undeliverable(
    url: str, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(Unsendable, match=why.replace("{", r"\{")):
        line(url, **changes)


@given(st.text(st.characters(max_codepoint=255), min_size=1, max_size=30), st.text(max_size=30))
def test_no_value_reaches_beyond_its_place(value: str, event: str) -> None:
    try:
        target = line(
            "http://a.example/a/{header.X-Shop}/{eventType}?q={header.X-Shop}", **shop(value), event_type=event
        )
    except Unsendable:
        return
    parts = urlsplit(f"http://a.example{target}")
    segments = parts.path.split("/")
    assert (parts.netloc, len(segments), parts.fragment) == ("a.example", 4, "")
    assert segments[1] == "a"
    assert parts.query.startswith("q=")
    assert "&" not in parts.query
    assert all(unquote_to_bytes(segment).strip(b".") for segment in segments[1:])
    assert target.isascii()
    assert not set(target) & {" ", "\r", "\n"}


@given(st.binary(max_size=40))
def test_no_path_leads_out_of_the_destinations(rest: bytes) -> None:
    try:
        target = line("http://a.example/w/{path}", target="/payments/github/" + rest.decode("latin-1"))
    except Unsendable:
        return
    path = target.partition("?")[0]
    assert path.startswith("/w/")
    assert not {"..", "."} & {unquote_to_bytes(segment).decode("latin-1") for segment in path.split("/")}
    assert target.isascii()
    assert not set(target) & {" ", "\r", "\n", "#"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://{header.X-Host}/", "the host can not depend on a webhook"),
        ("http://a.example:{id}/", "the host can not depend on a webhook"),
        ("http://a.example{path}", "the host can not depend on a webhook"),
        ("http://a.example/{shop}", "{shop} is no placeholder"),
        ("http://a.example/{id", "a brace that belongs to no placeholder"),
        ("http://a.example/{header.Authorization}", "would show a secret"),
        ("http://a.example/{query}", "{query} stands in the path"),
        ("http://a.example/?a={path}", "{path} stands in the query"),
    ],
)
def test_a_placeholder_in_the_wrong_place_is_refused_with_a_remedy(url: str, message: str) -> None:
    found = list(misplaced(url))
    assert any(message in said and remedy for said, remedy in found), found
    with pytest.raises(SpecError):
        RequestWriter(Destination(url=url), parse_url("http://a.example/"), lambda _: b"")


def test_what_the_manifest_says_becomes_what_is_sent() -> None:
    given = manifest.read_source(
        source(spec__worker__destination__url="http://a.example/hooks/{eventType}/{path}?{query}")
    )
    settings = worker_settings(given, "default", Platform()).destination
    assert settings is not None
    sent = envelope(target=f"{given.path}/eu/7?x=1", event_type="order.paid")
    head = RequestWriter(settings, parse_url(settings.url), lambda _: b"").write(sent)[1]
    assert head.startswith(b"POST /hooks/order.paid/eu/7?x=1 HTTP/1.1\r\n")
