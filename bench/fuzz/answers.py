"""Reading what came back on a connection of which nobody knows how many requests were on it. Strict with heads."""

import re
from dataclasses import dataclass

_FIRST = b"HTTP/1.1 "
_HEAD = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z' -]*((?:\r\n[A-Za-z-]+: [ -~]*)*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer's head."""

    status: int
    headers: dict[str, str]  # names in lower case


class NotHTTPError(ValueError):
    """What came is no answer."""


def answers(data: bytes) -> tuple[list[Answer], bytes]:
    """Every whole answer, and what is left of one that was cut. Raises NotHTTPError.

    An answer to HEAD promises a body that does not come: where a body should begin, another answer may.
    """
    found = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            break
        answer = _answer(head)
        length = int(answer.headers.get("content-length", "0"))
        if rest and not rest.startswith(_FIRST):
            if len(rest) < length:
                break
            rest = rest[length:]
        found.append(answer)
        data = rest
    return found, data


def _answer(head: bytes) -> Answer:
    match = _HEAD.fullmatch(head)
    if match is None:
        raise NotHTTPError(repr(head[:80]))
    lines = (line.partition(": ") for line in match[2].decode("ascii").split("\r\n")[1:])
    return Answer(int(match[1]), {name.lower(): value for name, _, value in lines})
