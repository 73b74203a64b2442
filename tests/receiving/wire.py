"""Reading what the endpoint has written, strictly."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]  # names in lower case; values of one name joined
    body: bytes


def replies(data: bytes) -> list[Reply]:
    """All answers in what came. Fails if one is not whole or not HTTP."""
    found = []
    while data:
        reply, data = _first(data)
        found.append(reply)
    return found


def finals(data: bytes) -> list[Reply]:
    """All answers but the interim ones."""
    return [reply for reply in replies(data) if reply.status >= 200]


def statuses(data: bytes) -> list[int]:
    return [reply.status for reply in replies(data)]


def _first(data: bytes) -> tuple[Reply, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"no whole head in {data!r}"
    first, *lines = head.decode("ascii").split("\r\n")
    version, status, *_ = first.split(" ")
    assert version == "HTTP/1.1"
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon, line
        assert name.lower() != "content-length" or "content-length" not in headers
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    length = int(headers.get("content-length", 0))
    assert len(rest) >= length, f"the body of {first} is not whole"
    assert length or not headers.get("transfer-encoding")
    if status in ("100", "204"):
        assert "content-length" not in headers
    else:
        assert "content-length" in headers
    return Reply(int(status), headers, rest[:length]), rest[length:]
