"""Where the broker is: URLs that can be read, and a link that says in a sentence why it is down and never gives up."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.amqp import link
from forebay.amqp.link import Link, parameters
from forebay.errors import SpecError
from tests.support.waiting import eventually, so

PIECES = st.sampled_from(
    ["amqp://", "amqps://", "http://", "u", ":", "p%40", "@", "[::1]", "[", "127.0.0.1", "5672", "x", "/", "%2F", "?", "&",
     "ssl_options=", "{'cafile':'/none'}", "{", "%7B", "heartbeat=", "heartbeat=x", "frame_max=1", ",", " ", "\0", "\ud800"]
)  # fmt: skip


def test_a_url_has_our_timeouts_and_name() -> None:
    (found,) = parameters("amqp://user:p%40ss@broker:5673/a%2Fb?heartbeat=600", "forebay-ingest payments/github")
    assert (found.host, found.port, found.virtual_host) == ("broker", 5673, "a/b")
    assert (found.credentials.username, found.credentials.password) == ("user", "p@ss")
    assert found.heartbeat == link.HEARTBEAT
    assert found.stack_timeout == link.STACK_TIMEOUT
    assert found.client_properties == {"connection_name": "forebay-ingest payments/github"}


def test_several_urls_are_several_nodes() -> None:
    found = parameters(" amqp://u:p@a/ ,amqps://u:p@b/,, ", "x")
    assert [(one.host, one.port) for one in found] == [("a", 5672), ("b", 5671)]
    assert found[1].ssl_options is not None


@pytest.mark.parametrize(
    "url", ["", " , ", "broker:5672", "http://u:hunter2@x/", "amqp://u:hunter2@[::/", "amqp://u:hunter2@x:port/",
            "amqps://u:hunter2@x/?ssl_options={", "amqp://u:hunter2@x/?heartbeat=x"],
)  # fmt: skip
def test_a_url_that_is_none_is_said_so_without_its_password(url: str) -> None:
    with pytest.raises(SpecError) as caught:
        parameters(url, "x")
    assert "amqp://USER:PASSWORD@HOST:PORT/VHOST" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@given(st.lists(PIECES, max_size=10).map("".join) | st.text(max_size=20))
def test_any_text_is_a_url_or_told_apart(text: str) -> None:
    try:
        assert parameters(text, "x")
    except SpecError as error:
        assert "URL" in str(error)  # noqa: PT017  # it may be raised or not
    except OSError:
        pass  # a file of certificates that is not there: the link says so and tries again


class Nobody:
    """A tenant who hears of nothing."""

    def on_up(self, *_: Any) -> None: ...
    def on_down(self, reason: str) -> None: ...
    def on_blocked(self, *, blocked: bool) -> None: ...


async def closing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def talking(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 100)
    writer.close()


def refuse_to_say() -> str:
    raise SpecError("secret file /x can not be read")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (lambda _: "amqp://u:p@127.0.0.1:1/", "Connection refused"),
        (lambda _: "amqp://u:p@nohost.invalid/", "known"),
        (lambda _: "amqps://u:p@127.0.0.1:1/?ssl_options={'cafile':'/none'}", "No such file"),
        (lambda _: "", "empty"),
        (lambda _: "nonsense", "URL"),
        (lambda _: refuse_to_say(), "secret file /x"),
        (lambda ports: f"amqp://u:p@127.0.0.1:{ports['closing']}/", ""),
        (lambda ports: f"amqps://u:p@127.0.0.1:{ports['closing']}/", ""),
        (lambda ports: f"amqp://u:p@127.0.0.1:{ports['talking']}/", ""),
        (lambda ports: f"amqps://u:p@127.0.0.1:{ports['talking']}/", ""),
        (lambda ports: f"amqp://u:p@127.0.0.1:{ports['silent']}/", "does not answer"),
    ],
    ids=["refused", "no name", "no certificates", "empty", "nonsense", "no secret", "closing", "closing, TLS", "talking",
         "talking, TLS", "silent"],
)  # fmt: skip
async def test_whatever_stands_in_the_way_the_link_says_so_and_tries_again(
    url: Callable[[dict[str, int]], str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STACK_TIMEOUT", 0.3)
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    servers = {one.__name__: await asyncio.start_server(one, "127.0.0.1", 0) for one in (closing, silent, talking)}
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    it = Link(lambda: url(ports), "test", Nobody())
    running = asyncio.ensure_future(it.run())
    await eventually(so(lambda: it.attempts >= 3 or running.done()), every_s=0.005)
    assert not running.done()
    assert not it.up
    assert it.error
    assert reason in it.error
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for server in servers.values():
        server.close()
    assert told == []


async def test_a_link_that_is_stopped_in_the_middle_of_connecting_just_ends() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    it = Link(lambda: f"amqp://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}/", "test", Nobody())
    for turns in range(12):
        running = asyncio.ensure_future(it.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert it.connection is None
    server.close()
    assert told == []
