"""Tells of a connection that is away, and of its return: two log lines for each outage, however often it is tried."""

from forebay.telemetry import Log


class Outage:
    """The times in which one connection is away. Moments are seconds of one clock, such as the loop's."""

    def __init__(self, log: Log | None, connection: str) -> None:
        self._log = log
        self._connection = connection  # the name that RabbitMQ shows too
        self._since: float | None = None

    def began(self, at: float, reason: str | None) -> None:
        """It is away; only the first word of an outage counts."""
        if self._since is not None:
            return
        self._since = at
        if self._log is not None:
            self._log.warning("broker.away", connection=self._connection, reason=reason)

    def ended(self, at: float) -> None:
        """It has been back since then, and is steady."""
        if self._since is None:
            return
        if self._log is not None:
            self._log.info("broker.back", connection=self._connection, gone_s=round(at - self._since, 3))
        self._since = None
