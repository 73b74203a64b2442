"""A RabbitMQ that somebody gave us the URL of. No message of ours ever holds its password."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from forebay.errors import SpecError

if TYPE_CHECKING:
    from forebay.management import Management

_UNREADABLE = "the broker's URL can not be read; write amqp://USER:PASSWORD@HOST:PORT/VHOST"
_PORTS = {"amqp": 5672, "amqps": 5671}
_MANAGEMENT = {"amqp": ("http", 15672), "amqps": ("https", 15671)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBroker:
    """Where a RabbitMQ is, and a login to it."""

    scheme: str
    host: str  # with its port
    username: str
    password: str = field(repr=False)
    vhost: str
    management_url: str
    query: str = ""  # of the AMQP URI, such as options of TLS

    @property
    def shown(self) -> str:
        """The AMQP URL for a person to see."""
        return f"{self.scheme}://{self.host}/{'' if self.vhost == '/' else quote(self.vhost, safe='')}"

    def uri(self, *, vhost: str | None = None, username: str | None = None, password: str | None = None) -> str:
        """The AMQP URI with a login in it: a secret, for files and memory."""
        login = f"{quote(username or self.username, safe='')}:{quote(password or self.password, safe='')}"
        return (
            f"{self.scheme}://{login}@{self.host}/{quote(self.vhost if vhost is None else vhost, safe='')}{self.query}"
        )

    def management(self) -> "Management":
        """A session with the management API, not entered yet."""
        from forebay.management import Management  # noqa: PLC0415  # brings aiohttp, which commands of AMQP alone can do without

        return Management(self.management_url, self.username, self.password)


def given_broker(url: str, management_url: str | None = None) -> GivenBroker:
    """The broker at an AMQP URL; its management API where RabbitMQ has it by default. Raises SpecError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SpecError(_UNREADABLE) from None  # "from None": the cause could show the password
    if not host or parts.scheme not in _PORTS:
        raise SpecError(_UNREADABLE)
    name = f"[{host}]" if ":" in host else host
    scheme, management_port = _MANAGEMENT[parts.scheme]
    return GivenBroker(
        scheme=parts.scheme,
        host=f"{name}:{port or _PORTS[parts.scheme]}",
        username=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        management_url=management_url or f"{scheme}://{name}:{management_port}",
    )
