"""Ids of webhooks: UUID version 7 (RFC 9562), so that they sort by time. The clock is handed in."""

import os
import re

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_DIGITS = 19  # of an id that are random
_DRAWN = 200  # ids that the kernel gives randomness for at a time
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the first two bits of this digit are 1 and 0


def uuid7(now_ms: int, random: str) -> str:
    """A UUIDv7 from milliseconds since 1970 and nineteen random hexadecimal digits."""
    return _begun(now_ms) + _ended(random)


def _begun(now_ms: int) -> str:
    time = f"{now_ms & 0xFFFF_FFFF_FFFF:012x}"
    return f"{time[:8]}-{time[8:]}-7"


def _ended(random: str) -> str:
    return f"{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


def born(id_: str) -> int | None:
    """When a UUIDv7 was made, in milliseconds since 1970; None for any other id."""
    return int(id_[:8] + id_[9:13], 16) if _UUID7.fullmatch(id_) else None


class IdSource:
    """Draws randomness from the kernel in blocks, one system call for some 200 ids instead of one each."""

    def __init__(self) -> None:
        self._endings: list[str] = []
        self._now_ms = -1
        self._beginning = ""

    def next(self, now_ms: int) -> str:
        if not self._endings:
            random = os.urandom(_DIGITS * _DRAWN // 2).hex()
            self._endings = [_ended(random[at : at + _DIGITS]) for at in range(0, len(random), _DIGITS)]
        if now_ms != self._now_ms:
            self._now_ms, self._beginning = now_ms, _begun(now_ms)
        return self._beginning + self._endings.pop()
