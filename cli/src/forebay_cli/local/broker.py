"""The broker of a run on this machine: the one that was given, or a private one that ends with the run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import Unavailable
from forebay_cli.broker import given_broker
from forebay_cli.local.topology import Broker
from forebay_cli.rabbitmq import private_broker


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBroker:
    """A RabbitMQ that answers."""

    broker: Broker
    vhost: str
    management_url: str
    private: bool
    shown: str  # for a person: where it is, which release, what becomes of its data


@asynccontextmanager
async def run_broker(url: str | None, management_url: str | None, data: Path | None) -> AsyncIterator[RunBroker]:
    """The broker at the URL, or without one a private one whose data is kept in `data` or thrown away."""
    if url is not None:
        yield await _given(url, management_url)
        return
    async with private_broker(data) as private:
        fate = f"its data is kept in {data}" if data else "its data is thrown away at the end"
        yield RunBroker(
            broker=private,
            vhost="/",
            management_url=private.management_url,
            private=True,
            shown=f"RabbitMQ {private.version}, a private one; {fate}",
        )


async def _given(url: str, management_url: str | None) -> RunBroker:
    broker = given_broker(url, management_url)
    try:
        async with broker.management() as management:
            version = await management.version()
    except Unavailable as error:
        raise Unavailable(f"{error}; if it is elsewhere say so with --management http://HOST:PORT") from error
    return RunBroker(
        broker=broker,
        vhost=broker.vhost,
        management_url=broker.management_url,
        private=False,
        shown=f"RabbitMQ {version} at {broker.shown}",
    )
