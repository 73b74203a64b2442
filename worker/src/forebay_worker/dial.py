"""Opens connections to one destination: resolve, check every address, dial a checked one, TLS.

A name is resolved once in a few seconds for all connections together; the address that was checked is the one that is
dialed. No proxy of the environment is used.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

ResolvedAddresses = tuple[str, ...]
Resolve = Callable[[str, int], Awaitable[ResolvedAddresses]]
Cause = Literal["dns", "blocked", "connect", "tls", "timeout", "protocol", "closed"]
P = TypeVar("P")  # an asyncio protocol

# Seconds for which an answer of the DNS is used: short enough to follow a Service that moves.
DNS_TTL = 5.0


class NoAnswer(Exception):
    """The destination gave no answer; the text says why, for a person."""

    def __init__(self, cause: Cause, error: str) -> None:
        super().__init__(error)
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a destination's server is."""

    host: str  # name or address, without brackets
    port: int
    tls: Callable[[], ssl.SSLContext] | None = None  # asked before each connection

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def system_resolve(host: str, port: int) -> ResolvedAddresses:
    """The addresses of a name as the system's resolver orders them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Dialer:
    """Dials one origin. `refusal` says of an address why it must not be dialed, None if it may be."""

    def __init__(
        self, origin: Origin, refusal: Callable[[str], str | None], *, resolve: Resolve = system_resolve
    ) -> None:
        self._origin = origin
        self._refusal = refusal
        self._resolve = resolve
        self._lookup: asyncio.Future[ResolvedAddresses] | None = None
        self._looked_up = 0.0

    async def connect(self, protocol: Callable[[], P], within: float) -> P:
        """A protocol on a fresh connection. Raises NoAnswer; the addresses share the `within` seconds."""
        until = time.monotonic() + within
        addresses = await self._addresses(within)
        for left in range(len(addresses), 0, -1):
            try:
                return await self._dial(addresses[-left], protocol, (until - time.monotonic()) / left)
            except NoAnswer:
                if left == 1:
                    raise
        raise AssertionError("no address, and no refusal of it")

    async def _dial(self, address: str, protocol: Callable[[], P], within: float) -> P:
        origin = self._origin
        tls = origin.tls() if origin.tls else None
        # Any: the types of asyncio want a protocol to inherit; a protocol is what has the methods of one.
        connect: Any = asyncio.get_running_loop().create_connection
        try:
            async with asyncio.timeout(within):
                connected: tuple[Any, P] = await connect(
                    protocol, address, origin.port, ssl=tls, server_hostname=origin.host if tls else None
                )
                return connected[1]
        except TimeoutError as error:
            raise NoAnswer("timeout", f"no connection to {origin.authority} ({address}) in time") from error
        except ssl.SSLError as error:
            raise NoAnswer("tls", f"TLS with {origin.authority} failed: {_tls_sentence(error)}") from error
        except OSError as error:
            raise NoAnswer(
                "connect", f"no connection to {origin.authority} ({address}): {error.strerror or error}"
            ) from error

    async def _addresses(self, within: float) -> ResolvedAddresses:
        try:
            async with asyncio.timeout(within):
                found = await asyncio.shield(self._looking_up())
        except TimeoutError as error:
            raise NoAnswer("dns", f"the DNS did not answer for {self._origin.host} in time") from error
        except (OSError, UnicodeError) as error:
            raise NoAnswer("dns", f"{self._origin.host} can not be resolved: {error}") from error
        refused = {address: why for address in found if (why := self._refusal(address))}
        if len(refused) == len(found):
            raise NoAnswer("blocked", f"{self._origin.host} " + _blocked_sentence(refused))
        return tuple(address for address in found if address not in refused)

    def _looking_up(self) -> "asyncio.Future[ResolvedAddresses]":
        """The present lookup: one for all who ask within its time, a new one after a failure."""
        now, lookup = time.monotonic(), self._lookup
        stale = lookup is not None and lookup.done() and (now - self._looked_up > DNS_TTL or _failed(lookup))
        if lookup is None or stale:
            lookup = asyncio.ensure_future(self._resolve(self._origin.host, self._origin.port))
            self._lookup, self._looked_up = lookup, now
        return lookup


def _failed(lookup: "asyncio.Future[ResolvedAddresses]") -> bool:
    return lookup.cancelled() or lookup.exception() is not None


def _blocked_sentence(refused: dict[str, str]) -> str:
    return "; ".join(f"({address}) {why}" for address, why in refused.items()) or "has no address"


def _tls_sentence(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid here: {error.verify_message}"
    return error.reason or str(error)
