"""Real RabbitMQ brokers of several releases for the tests: started when first asked for, stopped at the end."""

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tools.rabbitmq_root import root_of

from forebay.errors import Unavailable
from forebay.management import Management
from forebay_cli.distribution import machine_version
from forebay_cli.rabbitmq import PrivateBroker

NEWEST = "newest"
SUITES = {"3.10": "bookworm", "4.0": "trixie", NEWEST: "sid"}  # release -> the Debian suite that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """A fresh virtual host of one test, with a user of its own that may do everything in it."""

    name: str
    username: str
    password: str = field(repr=False)
    server: PrivateBroker
    management: Management  # the administrator's

    @property
    def uri(self) -> str:
        """The AMQP URI, with the user's login."""
        return self.server.uri(vhost=self.name, username=self.username, password=self.password)

    @property
    def version(self) -> str:
        return self.server.version

    async def put(self, queue: str) -> None:
        """Put a message into the queue, as a webhook that waits there."""
        message = {
            "properties": {"delivery_mode": 2},
            "routing_key": queue,
            "payload": "x",
            "payload_encoding": "string",
        }
        await self.management.post(f"exchanges/{quote(self.name, safe='')}/amq.default/publish", message)


@dataclass(slots=True)
class Brokers:
    """One broker per release for the whole run."""

    folder: Path = Path()  # for their data
    known: dict[str, PrivateBroker] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # release -> why it can not be had

    def root(self, release: str) -> Path | None:
        """Where its files are; None for the machine's own. Raises Unavailable, at once if it has been tried in vain."""
        if (machine_version() or "").startswith(f"{release}."):
            return None
        if release in self.missing:
            raise Unavailable(self.missing[release])
        try:
            return root_of(SUITES[release])
        except Unavailable as error:
            self.missing[release] = str(error)
            raise

    async def get(self, release: str) -> PrivateBroker:
        """Started if it has not been, or if a test has left it dead."""
        if release not in self.known:
            root = self.root(release)
            self.known[release] = PrivateBroker(self.folder / release, root=root)
        if not self.known[release].running:
            await self.known[release].start()
        return self.known[release]

    async def stop(self) -> None:
        for broker in self.known.values():
            await broker.kill()
            shutil.rmtree(broker.folder)
        self.known.clear()


@asynccontextmanager
async def virtual_host(server: PrivateBroker) -> AsyncIterator[VirtualHost]:
    name = f"test-{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    async with server.management() as management:
        await management.put(f"vhosts/{name}")
        await management.put(f"users/{name}", {"password": password, "tags": ""})
        await management.put(f"permissions/{name}/{name}", {"configure": ".*", "write": ".*", "read": ".*"})
        try:
            yield VirtualHost(name=name, username=name, password=password, server=server, management=management)
        finally:
            await management.delete(f"vhosts/{name}")
            await management.delete(f"users/{name}")
