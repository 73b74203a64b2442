"""How the time of signing is spelled in a request: read and written."""

from datetime import UTC, datetime

from forebay.signatures.scheme import Unit

# Digits of a number: enough for microseconds until the year 2286.
MAX_DIGITS = 16
# Characters of a text: date, time, six digits of a second, offset.
MAX_TEXT = 32


def read_stamp(stamp: bytes, unit: Unit) -> float | None:
    """Seconds since 1970; None for what is no time in this spelling."""
    if unit is Unit.RFC3339:
        return _read_text(stamp)
    if len(stamp) > MAX_DIGITS or not stamp.isdigit():
        return None
    return int(stamp) / 1000 if unit is Unit.MILLISECONDS else int(stamp)


def write_stamp(now: float, unit: Unit) -> str:
    """The time as a sender writes it."""
    if unit is Unit.RFC3339:
        return datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z")
    return str(int(now * 1000) if unit is Unit.MILLISECONDS else int(now))


def read_moment(text: str) -> float | None:
    """Seconds since 1970 of a date and a time, of which the offset from UTC is said; None for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def _read_text(stamp: bytes) -> float | None:
    return read_moment(stamp.decode()) if len(stamp) <= MAX_TEXT and stamp.isascii() else None
