"""Resolving, checking and dialing: real sockets, a DNS made up where the system's could not be told what to say."""

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from forebay.addresses import refusal
from forebay_worker import dial
from forebay_worker.dial import Dialer, NoAnswer, Origin
from forebay_worker.http_client import HttpClient
from tests.support.destination import destination, says

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Dns:
    """Answers what it is told, and counts who asks."""

    def __init__(self, *answers: tuple[str, ...] | OSError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def strict(address: str) -> str | None:
    return refusal(address, allow_private=False, allow_loopback=False)


def lenient(_: str) -> str | None:
    return None


async def dialed(dialer: Dialer, within: float = 2.0) -> asyncio.Protocol:
    return await dialer.connect(asyncio.Protocol, within)


async def failure(dialer: Dialer, within: float = 2.0) -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        await dialed(dialer, within)
    return caught.value


async def test_a_name_that_leads_to_a_forbidden_address_is_not_dialed() -> None:
    async with destination(says(OK)) as server:
        dialer = Dialer(Origin(host="rebound.example", port=server.port), strict, resolve=Dns(("127.0.0.1",)))
        error = await failure(dialer)
        assert error.cause == "blocked"
        assert "127.0.0.1" in str(error)
        assert server.connections == 0


async def test_an_address_in_the_url_is_checked_like_any_other() -> None:
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "::ffff:127.0.0.1", "169.254.169.254", "localhost"):
        assert (await failure(Dialer(Origin(host=host, port=9), strict))).cause in ("blocked", "dns")


async def test_the_address_that_was_checked_is_the_one_that_is_dialed() -> None:
    # The second answer of the DNS would lead to a server that is there; nobody asks for it.
    async with destination(says(OK)) as server:
        dns = Dns(("192.0.2.1",), ("127.0.0.1",))
        dialer = Dialer(
            Origin(host="rebound.example", port=server.port), lambda a: "no" if a == "127.0.0.1" else None, resolve=dns
        )
        assert (await failure(dialer, 0.2)).cause in ("timeout", "connect")
        assert (dns.asked, server.connections) == (1, 0)


async def test_of_several_addresses_the_next_one_is_dialed_when_one_fails() -> None:
    async with destination(says(OK)) as server:
        dialer = Dialer(Origin(host="many.example", port=server.port), lenient, resolve=Dns(("::1", "127.0.0.1")))
        client = HttpClient(dialer, connect_timeout=2, timeout=2)
        assert (await client.send(HEAD, b"")).status == 200
        await client.close()


async def test_only_the_allowed_ones_of_several_addresses_are_dialed() -> None:
    forbidden: list[object] = []
    async with destination(says(OK)) as server:
        trap = await asyncio.start_server(lambda *_: forbidden.append(_), "127.0.0.2", server.port)

        def only_the_first(address: str) -> str | None:
            return None if address == "127.0.0.1" else "is not allowed"

        dns = Dns(("127.0.0.2", "127.0.0.1"))
        dialer = Dialer(Origin(host="many.example", port=server.port), only_the_first, resolve=dns)
        client = HttpClient(dialer, connect_timeout=2, timeout=2)
        assert (await client.send(HEAD, b"")).status == 200
        await client.close()
        trap.close()
    assert forbidden == []


async def test_a_name_is_resolved_once_for_all_who_ask_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async with destination(says(OK)) as server:
        dns = Dns(("127.0.0.1",))
        dialer = Dialer(Origin(host="one.example", port=server.port), lenient, resolve=dns)
        client = HttpClient(dialer, connect_timeout=2, timeout=2)
        await asyncio.gather(*(client.send(HEAD, b"") for _ in range(5)))
        assert (dns.asked, server.connections) == (1, 5)
        monkeypatch.setattr(dial, "DNS_TTL", -1.0)
        await asyncio.gather(*(client.send(HEAD, b"") for _ in range(6)))
        assert dns.asked > 1
        await client.close()


async def test_a_lookup_that_failed_is_not_remembered() -> None:
    async with destination(says(OK)) as server:
        dns = Dns(socket.gaierror(-3, "Temporary failure in name resolution"), ("127.0.0.1",))
        dialer = Dialer(Origin(host="shaky.example", port=server.port), lenient, resolve=dns)
        client = HttpClient(dialer, connect_timeout=2, timeout=2)
        with pytest.raises(NoAnswer, match="can not be resolved") as caught:
            await client.send(HEAD, b"")
        assert caught.value.cause == "dns"
        assert (await client.send(HEAD, b"")).status == 200
        await client.close()


async def test_a_silent_dns_ends_in_time() -> None:
    async def silent(host: str, port: int) -> tuple[str, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    dialer = Dialer(Origin(host="slow.example", port=1), lenient, resolve=silent)
    assert (await failure(dialer, 0.05)).cause == "dns"
    assert dialer._lookup is not None
    dialer._lookup.cancel()


async def test_a_host_that_drops_packets_ends_in_time() -> None:
    # A listening socket whose queue is full does not answer: the next connection hangs in SYN.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        dialer = Dialer(Origin(host="127.0.0.1", port=full.getsockname()[1]), lenient)
        began = asyncio.get_running_loop().time()
        assert (await failure(dialer, 0.2)).cause == "timeout"
        assert asyncio.get_running_loop().time() - began < 1
        for filler in fillers:
            filler.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for "there.example" that signs itself, with its key in the same file."""
    file = tmp_path_factory.mktemp("tls") / "there.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=there"
    options: list[str | Path] = ["-addext", "subjectAltName=DNS:there.example", "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def serving_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def tls_client(port: int, context: ssl.SSLContext, host: str = "there.example") -> HttpClient:
    dialer = Dialer(Origin(host=host, port=port, tls=lambda: context), lenient, resolve=Dns(("127.0.0.1",)))
    return HttpClient(dialer, connect_timeout=3, timeout=3)


async def test_a_destination_with_its_own_ca_is_trusted(certificate: Path) -> None:
    async with destination(says(OK), tls=serving_context(certificate)) as server:
        client = tls_client(server.port, ssl.create_default_context(cafile=str(certificate)))
        assert (await client.send(HEAD, b"")).status == 200
        assert (await client.send(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"abc")).status == 200
        assert server.connections == 1
        assert server.requests[1].body == b"abc"
        await client.close()


@pytest.mark.parametrize(
    ("host", "trusted", "says_why"),
    [("there.example", False, "self-signed"), ("elsewhere.example", True, "[Hh]ostname mismatch")],
)
async def test_a_certificate_that_is_not_valid_is_told_from_other_failures(
    certificate: Path, host: str, trusted: bool, says_why: str
) -> None:
    async with destination(says(OK), tls=serving_context(certificate)) as server:
        context = ssl.create_default_context(cafile=str(certificate) if trusted else None)
        with pytest.raises(NoAnswer, match=says_why) as caught:
            await tls_client(server.port, context, host).send(HEAD, b"")
        assert caught.value.cause == "tls"
        assert server.requests == []


async def test_tls_to_a_server_without_tls_is_a_tls_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    with pytest.raises(NoAnswer, match=r"WRONG_VERSION_NUMBER|wrong version") as caught:
        await tls_client(server.sockets[0].getsockname()[1], ssl.create_default_context()).send(HEAD, b"")
    assert caught.value.cause == "tls"
    server.close()
