"""A signing secret on its way from the endpoint, to which its provider sent it, to whoever writes it down. Reads nothing.

The broker carries it in a queue that only the operator's login can read (`forebay.topology.capture_objects`). It stands in no
log, metric, event or status: what is shown of it is when it came, and from whom.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.envelope import AmqpMessage

# Bytes of a secret at most: twice the longest that is known.
LONGEST = 512

_CLIENT, _AT = "forebay-client", "forebay-received-at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A secret, and where it came from."""

    secret: bytes = field(repr=False)
    client: str  # address of whoever sent it
    at: int  # ms since 1970

    @property
    def shown(self) -> str:
        """For people: when and from whom, and nothing of the secret itself."""
        return f"from {self.client} at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(self.at / 1000))}"


def message_of(captured: Captured, message_id: str) -> AmqpMessage:
    """What the endpoint publishes."""
    return AmqpMessage(
        message_id=message_id,
        timestamp=captured.at // 1000,
        content_type=None,
        headers={_CLIENT: captured.client, _AT: captured.at},
        body=captured.secret,
    )


def read(headers: Mapping[str, Any], body: bytes) -> Captured | None:
    """What a message says; None for one that holds no secret."""
    client, at = headers.get(_CLIENT), headers.get(_AT)
    if not (isinstance(client, str) and isinstance(at, int) and 0 < len(body) <= LONGEST and body.isascii()):
        return None
    return Captured(secret=body, client=client[:100], at=min(max(at, 0), 2**42))
