"""Ids of webhooks: UUID version 7 (RFC 9562), so that they sort by time. The clock and the randomness are handed in."""

import os


def uuid7(now_ms: int, random: bytes) -> str:
    """A UUIDv7 from milliseconds since 1970 and ten random bytes."""
    value = (
        (now_ms & 0xFFFF_FFFF_FFFF) << 80
        | 0x7000_0000_0000_0000_0000
        | (int.from_bytes(random, "big") & 0x0FFF_3FFF_FFFF_FFFF_FFFF)
        | 0x8000_0000_0000_0000
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class IdSource:
    """Draws randomness from the kernel in blocks: one system call for 400 ids instead of one each."""

    def __init__(self) -> None:
        self._pool = b""
        self._used = 0

    def next(self, now_ms: int) -> str:
        if self._used >= len(self._pool):
            self._pool = os.urandom(4000)
            self._used = 0
        self._used += 10
        return uuid7(now_ms, self._pool[self._used - 10 : self._used])
