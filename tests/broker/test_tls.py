"""Publishing and consuming over TLS, where pika's transport does the writing: nothing is lost, mixed up or left lying."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from forebay.amqp.publisher import Outcome
from tests.broker.proxy import Proxy, proxy
from tests.broker.test_consumer import consuming, none_left
from tests.broker.test_publisher import EXCHANGE, QUEUE, declare, message, outcome, publishing
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    file = tmp_path_factory.mktemp("tls") / "broker.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=broker"
    options: list[str | Path] = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@asynccontextmanager
async def encrypted(host: VirtualHost, certificate: Path) -> AsyncIterator[Proxy]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with proxy(host.server.amqp_port, tls=context) as between:
        yield between


def uri(host: VirtualHost, between: Proxy, options: str) -> str:
    plain = host.uri.replace(str(host.server.amqp_port), str(between.port)).replace("amqp://", "amqps://")
    return f"{plain}?ssl_options={quote(options)}" if options else plain


async def test_much_and_large_and_small_arrives_in_order(newest_broker: VirtualHost, certificate: Path) -> None:
    await declare(newest_broker)
    bodies = [
        bytes((number,)) * size for number, size in enumerate((0, 1, 300_000, 10, 131_064, 131_065, 5_000, 700_000))
    ]
    async with encrypted(newest_broker, certificate) as between:
        url = uri(newest_broker, between, f"{{'cafile': '{certificate}'}}")
        async with publishing(url) as publisher, consuming(url, prefetch=300) as it:
            sent = [publisher.publish(EXCHANGE, QUEUE, message(n, bodies[n % len(bodies)])) for n in range(200)]
            await asyncio.gather(*sent)
            assert await outcome(publisher, key="nobody") is Outcome.UNROUTABLE
            await it.got(200)
            assert [one.message_id for one in it.messages] == [f"id-{n}" for n in range(200)]
            assert all(one.body == bodies[n % len(bodies)] for n, one in enumerate(it.messages))
            for one in it.messages:
                one.ack()
            await eventually(lambda: none_left(newest_broker))


async def test_a_certificate_that_nobody_vouches_for_is_refused(newest_broker: VirtualHost, certificate: Path) -> None:
    async with encrypted(newest_broker, certificate) as between, consuming(uri(newest_broker, between, "")) as it:
        await eventually(so(lambda: "certificate" in (it.consumer.link.error or "").lower()), every_s=0.01)
        assert not it.consumer.link.up
