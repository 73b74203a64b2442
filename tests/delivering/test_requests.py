"""The head a destination gets: what is passed on, what is not, what is added, and that nothing can be smuggled in."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SpecError
from forebay.settings import Auth, Destination
from forebay_worker import request as requests
from forebay_worker.request import LEFT_OUT, RequestWriter, Unsendable, parse_url
from tests.support.envelopes import envelope

URL = "http://orders.payments.svc:8080/webhooks?via=forebay"


def no_secrets(file: str) -> bytes:
    raise SpecError(f"secret file {file} can not be read")


def writer(read: Callable[[str], bytes] = no_secrets, **changes: Any) -> RequestWriter:
    destination = Destination(**{"url": URL, **changes})
    return RequestWriter(destination, parse_url(destination.url), read)


def head_of(one: RequestWriter, **changes: Any) -> tuple[str, list[tuple[str, str]]]:
    """The request line and the headers, read as strictly as the strictest server would."""
    _, head = one.write(envelope(**changes))
    assert head.endswith(b"\r\n\r\n")
    line, *lines = head.decode("latin-1")[:-4].split("\r\n")
    assert not any(char in text for text in (line, *lines) for char in "\r\n\0")
    headers = [(name, value) for name, colon, value in (text.partition(":") for text in lines)]
    assert all(name and name == name.strip() for name, _ in headers)
    return line, [(name.lower(), value.strip(" \t")) for name, value in headers]


def headers_of(one: RequestWriter, **changes: Any) -> dict[str, str]:
    _, headers = head_of(one, **changes)
    found = dict(headers)
    assert len(found) == len(headers), "a header came twice"
    return found


def test_a_request_says_what_forebay_knows_of_the_webhook() -> None:
    line, headers = head_of(writer())
    assert line == "POST /webhooks?via=forebay HTTP/1.1"
    assert dict(headers) == {
        "host": "orders.payments.svc:8080",
        "content-type": "application/json",
        "x-github-event": "push",
        "content-length": "37",
        "idempotency-key": "01990000-0000-7000-8000-000000000001",
        "x-forebay-id": "01990000-0000-7000-8000-000000000001",
        "x-forebay-source": "payments/github",
        "x-forebay-attempt": "1",
        "x-forebay-received-at": "2026-09-21T14:13:20.123Z",
        "x-forebay-event-type": "push",
        "x-forebay-target": "/github?x=1",
    }


def test_a_retry_and_a_replay_are_told() -> None:
    headers = headers_of(writer(), attempts_made=4, replayed_from="gone at 2026-09-21T14:13:20Z after 3 attempts")
    assert headers["x-forebay-attempt"] == "5"
    assert headers["x-forebay-replayed-from"] == "gone at 2026-09-21T14:13:20Z after 3 attempts"


def test_the_trace_goes_on() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    block = b"traceparent: 00-00000000000000000000000000000001-0000000000000001-00\r\ntracestate: a=b\r\n"
    headers = headers_of(writer(), traceparent=trace, header_block=block)
    assert headers["traceparent"] == trace
    assert headers["tracestate"] == "a=b"


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_is_on_the_list_is_not_passed_on_in_any_case(name: str) -> None:
    block = "".join(f"{spelled}: stranger\r\n" for spelled in (name, name.upper(), name.title())).encode()
    _, headers = head_of(writer(), header_block=block)
    assert "stranger" not in dict(headers).values()


def test_everything_else_is_passed_on_in_order_with_its_duplicates() -> None:
    block = b"X-B: 1\r\nAuthorization: Bearer of the provider\r\nX-A: \xe9 2\r\nx-b:3\r\nX-Empty: \r\nUser-Agent: G\r\n"
    _, headers = head_of(writer(), header_block=block)
    assert headers[1:7] == [
        ("x-b", "1"),
        ("authorization", "Bearer of the provider"),
        ("x-a", "é 2"),
        ("x-b", "3"),
        ("x-empty", ""),
        ("user-agent", "G"),
    ]


def test_headers_that_belong_to_the_connection_are_not_passed_on() -> None:
    block = b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nconnection: x-other\r\nX-Other: 3\r\n"
    headers = headers_of(writer(), header_block=block)
    assert "x-end" in headers
    assert not {"x-hop", "x-other", "connection"} & set(headers)


@pytest.mark.parametrize(
    "block",
    [
        b"X: a\r\nTransfer-Encoding : chunked\r\n",
        b"X: a\r\n Transfer-Encoding: chunked\r\n",
        b"X: a\nTransfer-Encoding: chunked\r\n",
        b"X: a\rTransfer-Encoding: chunked\r\n",
        b"X: a\r\n\r\nPOST /evil HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"Transfer-Encoding\r\n: chunked\r\n",
        b"X: a\0\r\nTransfer-Encoding\0: chunked\r\n",
        b"no header at all\r\nX: a\r\n",
        b": empty name\r\n",
        b"Content-Length: 0\r\ncontent-length: 5\r\n",
    ],
)
def test_a_strange_header_block_smuggles_nothing_in(block: bytes) -> None:
    headers = headers_of(writer(), header_block=block)
    assert headers["content-length"] == "37"
    assert "transfer-encoding" not in {name.strip() for name in headers}
    assert headers["host"] == "orders.payments.svc:8080"


@given(
    block=st.binary(max_size=300) | st.lists(st.binary(max_size=30), max_size=9).map(b"\r\n".join),
    texts=st.lists(st.text(max_size=40), min_size=5, max_size=5),
)
def test_nothing_that_a_stranger_writes_ends_a_line(block: bytes, texts: list[str]) -> None:
    event_type, target, replayed, one_id, source = texts
    fields = {"event_type": event_type, "target": target, "replayed_from": replayed, "id": one_id, "source": source}
    line, headers = head_of(writer(), header_block=block, **fields)
    assert line == "POST /webhooks?via=forebay HTTP/1.1"
    assert [value for name, value in headers if name == "content-length"] == ["37"]
    assert sum(name == "host" for name, _ in headers) == 1
    assert not any(name == "transfer-encoding" for name, _ in headers)


def test_the_memory_of_header_names_is_bounded() -> None:
    one = writer()
    for number in range(5_000):
        one.write(envelope(header_block=b"X-%d: a\r\n" % number))
    assert len(one._verdicts) <= requests._REMEMBERED + 5


def test_the_method_is_the_webhooks_unless_the_destination_has_one() -> None:
    assert writer().write(envelope(method="PUT"))[0] == "PUT"
    assert writer(method="PATCH").write(envelope(method="PUT"))[1].startswith(b"PATCH /webhooks")


@pytest.mark.parametrize("method", ["", "post it", "P\r\nX: y", "CONNECT", "post", "X" * 50, "PÖST"])
def test_a_method_that_is_none_is_not_sent(method: str) -> None:
    with pytest.raises(Unsendable):
        writer().write(envelope(method=method))
    if method:
        with pytest.raises(SpecError, match=r"destination\.method"):
            writer(method=method)


def test_a_request_without_a_body_has_no_length_where_none_is_due() -> None:
    assert "content-length" not in headers_of(writer(), method="GET", body=b"")
    assert headers_of(writer(), method="POST", body=b"")["content-length"] == "0"
    assert headers_of(writer(), method="GET", body=b"abc")["content-length"] == "3"


def test_static_headers_take_the_place_of_the_original_ones() -> None:
    one = writer(headers=(("X-GitHub-Event", "fixed"), ("Host", "virtual.example"), ("X-Team", "payments")))
    headers = headers_of(one)
    assert (headers["x-github-event"], headers["host"], headers["x-team"]) == ("fixed", "virtual.example", "payments")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X: y", "a"),
        ("", "a"),
        ("X-A", "a\r\nX-B: c"),
        ("X-A", "a\0"),
        ("X-A", "снег"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("X-Forebay-Id", "mine"),
        ("Idempotency-Key", "mine"),
    ],
)
def test_a_static_header_that_can_not_be_is_refused_at_the_start(name: str, value: str) -> None:
    with pytest.raises(SpecError, match="destination header"):
        writer(headers=((name, value),))


class Secrets(dict[str, bytes]):
    """Files that can be rotated and lost."""

    def __call__(self, file: str) -> bytes:
        if file not in self:
            raise SpecError(f"secret file {file} can not be read")
        return self[file]


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Auth(kind="Bearer", file="token"), "authorization", "Bearer s3cret"),
        (Auth(kind="Basic", file="token", username="me"), "authorization", "Basic bWU6czNjcmV0"),
        (Auth(kind="Basic", file="token", username_file="user"), "authorization", "Basic eW91OnMzY3JldA=="),
        (Auth(kind="APIKey", file="token"), "x-api-key", "s3cret"),
        (Auth(kind="APIKey", file="token", header="X-Key"), "x-key", "s3cret"),
    ],
)
def test_a_credential_takes_the_place_of_the_providers(auth: Auth, header: str, value: str) -> None:
    one = writer(Secrets(token=b"s3cret", user=b"you"), auth=auth)
    block = b"Authorization: Bearer of the provider\r\nX-API-Key: k\r\nX-Key: k\r\n"
    assert headers_of(one, header_block=block)[header] == value


def test_a_rotated_credential_is_used_within_seconds_and_at_once_after_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = Secrets(token=b"old")
    one = writer(secrets, auth=Auth(kind="Bearer", file="token"))
    secrets["token"] = b"new"
    assert headers_of(one)["authorization"] == "Bearer old"
    one.renew()
    assert headers_of(one)["authorization"] == "Bearer new"
    secrets["token"] = b"newest"
    monkeypatch.setattr(requests, "_REREAD", -1.0)
    assert headers_of(one)["authorization"] == "Bearer newest"


def test_a_credential_that_goes_missing_later_does_not_stop_the_work() -> None:
    secrets = Secrets(token=b"old")
    one = writer(secrets, auth=Auth(kind="Bearer", file="token"))
    for broken in (None, b"", b"two\r\nlines"):
        if broken is None:
            del secrets["token"]
        else:
            secrets["token"] = broken
        one.renew()
        assert headers_of(one)["authorization"] == "Bearer old"


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"nul\0"])
def test_a_credential_that_can_not_be_used_stops_the_start(content: bytes | None) -> None:
    with pytest.raises(SpecError):
        writer(Secrets({} if content is None else {"token": content}), auth=Auth(kind="Bearer", file="token"))


def test_a_credential_without_a_file_stops_the_start() -> None:
    with pytest.raises(SpecError, match=r"destination\.auth\.file is missing"):
        writer(auth=Auth(kind="Bearer"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.example", ("a.example", 80, "a.example", "/")),
        ("https://a.example:8443/x", ("a.example", 8443, "a.example:8443", "/x")),
        ("https://a.example:443/x", ("a.example", 443, "a.example", "/x")),
        ("http://[2001:db8::1]:81/x", ("2001:db8::1", 81, "[2001:db8::1]:81", "/x")),
        (
            "http://bücher.example/ä b?q=ü&r=%20#frag",
            ("xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/%C3%A4%20b?q=%C3%BC&r=%20"),
        ),
        ("http://my_svc.ns:80/", ("my_svc.ns", 80, "my_svc.ns", "/")),
    ],
)
def test_a_url_is_taken_apart(text: str, expected: tuple[str, int, str, str]) -> None:
    url = parse_url(text)
    assert (url.host, url.port, url.authority, url.target) == expected
    assert url.secure is text.startswith("https")


@pytest.mark.parametrize(
    "text",
    ["", "orders.svc/x", "ftp://a/x", "http://", "http:///x", "http://a:port/", "http://a:99999/", "http://user:pw@a/x",
     "http://a b/x", "http://a%20b/", "http://[::1/x", "http://a..b/x", "http://a\u2028b/", "http://-a/"],
)  # fmt: skip
def test_a_url_that_can_not_be_used_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(SpecError, match=r"destination\.(url|auth)") as caught:
        parse_url(text)
    assert "pw" not in str(caught.value)
