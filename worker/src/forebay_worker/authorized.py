"""A destination that asks for an access token: each attempt has one, and a second try where the destination refuses it."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from forebay.envelope import Envelope
from forebay.settings import Destination, OAuth2
from forebay.storage import Storage
from forebay_worker.deliver import HttpDelivery, dialer
from forebay_worker.http_client import HttpClient
from forebay_worker.oauth import ANSWER_KEPT, TIMEOUT, NoTokenError, Tokens
from forebay_worker.outcome import Failed, Outcome, Refused
from forebay_worker.request import parse_url
from forebay_worker.tls import Files

# Seconds after which an answer of 401 is not followed by a second try: RabbitMQ waits half an hour for a message in all.
_TRIED_AGAIN_WITHIN = 60.0


class AuthorizedDelivery:
    """Delivers with a token. Made on a running loop; raises SpecError for settings that can not work."""

    def __init__(
        self,
        destination: Destination,
        oauth2: OAuth2,
        *,
        root: Path,
        read: Callable[[str], bytes],
        told: Callable[[str | None], None],
    ) -> None:
        url = parse_url(oauth2.token_url, "destination.oauth2.token_url")
        client = HttpClient(
            dialer(url, destination, Files(ca=oauth2.ca_file), root),
            connect_timeout=destination.connect_timeout_s,
            timeout=TIMEOUT,
            kept_of_success=ANSWER_KEPT,
        )
        self._tokens = Tokens(oauth2, url, client, read, told)
        self._deliver = HttpDelivery(destination, root=root, read=read, credential=self._tokens)

    async def __call__(self, envelope: Envelope) -> Outcome:
        return await self._authorized(lambda: self._deliver(envelope))

    async def stream(self, envelope: Envelope, storage: Storage) -> Outcome:
        """The same for a webhook whose body is in the storage. Raises StorageError."""
        return await self._authorized(lambda: self._deliver.stream(envelope, storage))

    async def _authorized(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        try:
            token = await self._tokens.fresh()
            began = time.monotonic()
            outcome = await attempt()
            refused = isinstance(outcome, Refused) and outcome.status == 401
            if not refused or time.monotonic() - began > _TRIED_AGAIN_WITHIN:
                return outcome
            if not await self._tokens.replaced(token):
                return outcome
        except NoTokenError as error:
            return Failed(str(error))
        return await attempt()

    def stuck(self) -> str | None:
        """Nothing here can hang beyond its timeout."""
        return None

    async def close(self) -> None:
        await self._tokens.close()
        await self._deliver.close()
