"""Which source on which broker a command is about: the one that runs here, or the one that --broker and --source name."""

from dataclasses import dataclass, field

from forebay.errors import SpecError
from forebay.topology import Names
from forebay_cli.broker import GivenBroker, given_broker
from forebay_cli.state import Home, Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A source on a broker."""

    source: str  # "namespace/name"
    broker: GivenBroker
    running: Running | None = field(default=None, repr=False)  # if it runs here

    @property
    def names(self) -> Names:
        return Names.of(self.source)

    @property
    def url(self) -> str:
        """The AMQP URI, with a login."""
        return self.broker.uri()


def target(home: Home, source: str | None, broker: str | None, management: str | None = None) -> Target:
    """The target. Raises SpecError, saying how to name one, if there is none."""
    if broker is None:
        return _running(home, source)
    if source is None or source.count("/") != 1:
        raise SpecError("it is not said which source on this broker; name it with --source NAMESPACE/NAME")
    return Target(source=source, broker=given_broker(broker, management))


def here(home: Home, source: str | None, otherwise: str = "") -> Running:
    """The source that runs here. Raises SpecError if none does; `otherwise` says in what other way one could be named."""
    running = home.only(source)
    if running is None:
        raise SpecError(
            f"{source or 'no source'} {'does not run' if source else 'runs'} here; start it with forebay dev -f source.yaml"
            f"{otherwise}; if it is on a cluster, use kubectl forebay"
        )
    return running


def _running(home: Home, source: str | None) -> Target:
    running = here(home, source, ", or name a broker with --broker amqp://… and --source NAMESPACE/NAME")
    return Target(source=running.source, broker=given_broker(running.broker, running.management), running=running)
