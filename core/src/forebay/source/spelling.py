"""What somebody most likely meant to write."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def closest(value: Any, known: Iterable[str]) -> str | None:
    """The known word that is nearest to what was written, whatever its case; None if none is near."""
    if not isinstance(value, str):
        return None
    words = {_plain(word): word for word in known}
    found = get_close_matches(_plain(value), words, n=1, cutoff=0.65)
    return words[found[0]] if found else None


def _plain(word: str) -> str:
    """Without case and separators: retry_after, RetryAfter and retry-after are one word."""
    return word.lower().replace("_", "").replace("-", "").replace(" ", "")
