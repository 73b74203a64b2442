"""Requests that servers are known to disagree about, to misread or to choke on, and how to mutilate them further."""

from collections.abc import Sequence
from itertools import pairwise

from tests.receiving.endpoint import chunked


def req(*lines: str, body: bytes = b"", line: str = "POST / HTTP/1.1", host: bool = True) -> bytes:
    head = [line, *(["Host: x"] if host else []), *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


GOOD = req("Content-Length: 3", body=b"abc")
EMPTY = req("Content-Length: 0")
TE = "Transfer-Encoding: chunked"
NEXT = req("Content-Length: 1", body=b"z")

CORPUS: dict[str, bytes | tuple[bytes, ...]] = {
    "a plain webhook": GOOD,
    "no body at all": req(),
    "two pipelined": GOOD + NEXT,
    "ten pipelined": GOOD * 10,
    "byte by byte": tuple(bytes((byte,)) for byte in GOOD + NEXT),
    "chunked": req(TE, body=chunked(b"abc", b"def")) + NEXT,
    "chunked, byte by byte": tuple(bytes((byte,)) for byte in req(TE, body=chunked(b"abc", b"de")) + NEXT),
    "chunked with trailers": req(TE, body=chunked(b"abc", trailer=b"X-A: 1\r\nX-B: 2\r\n")) + NEXT,
    "chunk extension": req(TE, body=b"3;a=b\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk extension, quoted": req(TE, body=b'3;a="b;c"\r\nabc\r\n0\r\n\r\n') + NEXT,
    "chunk extension with a line feed": req(TE, body=b"3;a=\nb\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size in capitals": req(TE, body=b"A\r\n0123456789\r\n0\r\n\r\n") + NEXT,
    "chunk size with leading zeros": req(TE, body=b"0003\r\nabc\r\n000\r\n\r\n") + NEXT,
    "chunk size negative": req(TE, body=b"-3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size signed": req(TE, body=b"+3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size with 0x": req(TE, body=b"0x3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size with a space behind": req(TE, body=b"3 \r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size with a space before": req(TE, body=b" 3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size empty": req(TE, body=b"\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size beyond 64 bits": req(TE, body=b"1" + b"0" * 16 + b"\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size of 64 bits": req(TE, body=b"f" * 16 + b"\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size with bare line feed": req(TE, body=b"3\nabc\n0\n\n") + NEXT,
    "chunk longer than it says": req(TE, body=b"2\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk shorter than it says": req(TE, body=b"4\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk end missing": req(TE, body=b"3\r\nabc0\r\n\r\n") + NEXT,
    "chunked, cut off": req(TE, body=b"3\r\nabc\r\n"),
    "chunked, the last line break missing": req(TE, body=b"3\r\nabc\r\n0\r\n"),
    "trailer that is none": req(TE, body=b"0\r\nno colon\r\n\r\n") + NEXT,
    "trailer Content-Length": req(TE, body=chunked(b"abc", trailer=b"Content-Length: 100\r\n")) + NEXT,
    "trailer Transfer-Encoding": req(TE, body=chunked(b"abc", trailer=b"Transfer-Encoding: chunked\r\n")) + NEXT,
    "CL.TE": req("Content-Length: 6", TE, body=b"0\r\n\r\nG") + NEXT,
    "TE.CL": req(TE, "Content-Length: 4", body=b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
    "TE.TE, identity last": req(TE, "Transfer-Encoding: identity", body=chunked(b"abc")) + NEXT,
    "TE.TE, chunked last": req("Transfer-Encoding: identity", TE, body=chunked(b"abc")) + NEXT,
    "TE twice": req(TE, TE, body=chunked(b"abc")) + NEXT,
    "TE gzip, chunked": req("Transfer-Encoding: gzip, chunked", body=chunked(b"abc")) + NEXT,
    "TE chunked, gzip": req("Transfer-Encoding: chunked, gzip", body=chunked(b"abc")) + NEXT,
    "TE chunked, chunked": req("Transfer-Encoding: chunked, chunked", body=chunked(b"abc")) + NEXT,
    "TE xchunked": req("Transfer-Encoding: xchunked", body=chunked(b"abc")) + NEXT,
    "TE chunkedx": req("Transfer-Encoding: chunkedx", body=chunked(b"abc")) + NEXT,
    "TE quoted": req('Transfer-Encoding: "chunked"', body=chunked(b"abc")) + NEXT,
    "TE empty": req("Transfer-Encoding: ", body=chunked(b"abc")) + NEXT,
    "TE in capitals": req("TRANSFER-ENCODING: CHUNKED", body=chunked(b"abc")) + NEXT,
    "TE with tab": req("Transfer-Encoding:\tchunked", body=chunked(b"abc")) + NEXT,
    "TE with vertical tab": req("Transfer-Encoding: \x0bchunked", body=chunked(b"abc")) + NEXT,
    "TE with a space before the colon": req("Transfer-Encoding : chunked", body=chunked(b"abc")) + NEXT,
    "TE folded": req("Transfer-Encoding:\r\n chunked", body=chunked(b"abc")) + NEXT,
    "TE hidden behind a bare line feed": req("X: a\nTransfer-Encoding: chunked", "Content-Length: 3", body=b"abc") + NEXT,
    "TE hidden behind a bare carriage return": req("X: a\rTransfer-Encoding: chunked", "Content-Length: 3", body=b"abc") + NEXT,
    "TE in HTTP/1.0": req(TE, line="POST / HTTP/1.0", body=chunked(b"abc")),
    "CL twice, the same": req("Content-Length: 3", "Content-Length: 3", body=b"abc") + NEXT,
    "CL twice, different": req("Content-Length: 3", "Content-Length: 4", body=b"abcd") + NEXT,
    "CL as a list": req("Content-Length: 3, 3", body=b"abc") + NEXT,
    "CL negative": req("Content-Length: -3", body=b"abc") + NEXT,
    "CL signed": req("Content-Length: +3", body=b"abc") + NEXT,
    "CL with zeros": req("Content-Length: 0003", body=b"abc") + NEXT,
    "CL with a space inside": req("Content-Length: 1 0", body=b"abc") + NEXT,
    "CL hexadecimal": req("Content-Length: 0x3", body=b"abc") + NEXT,
    "CL with underscore": req("Content-Length: 1_0", body=b"0123456789") + NEXT,
    "CL empty": req("Content-Length: ", body=b"abc") + NEXT,
    "CL beyond 64 bits": req("Content-Length: 99999999999999999999", body=b"abc") + NEXT,
    "CL of Arabic digits": req("Content-Length: \xd9\xa3", body=b"abc") + NEXT,
    "CL folded": req("Content-Length:\r\n 3", body=b"abc") + NEXT,
    "CL with a space before the colon": req("Content-Length : 3", body=b"abc") + NEXT,
    "CL too small": req("Content-Length: 2", body=b"abc") + NEXT,
    "CL too large": req("Content-Length: 5", body=b"abc"),
    "CL of the limit": req("Content-Length: 4096", body=b"x" * 4096) + NEXT,
    "CL beyond the limit": req("Content-Length: 4097", body=b"x" * 4097),
    "chunked beyond the limit": req(TE, body=chunked(b"x" * 4097)),
    "GET with a body": req("Content-Length: 3", line="GET / HTTP/1.1", body=b"abc") + NEXT,
    "HEAD with a body": req("Content-Length: 3", line="HEAD / HTTP/1.1", body=b"abc") + NEXT,
    "folded header": req("X: a\r\n b", "Content-Length: 3", body=b"abc") + NEXT,
    "folded first header": b"POST / HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n" + NEXT,
    "bare line feeds": GOOD.replace(b"\r\n", b"\n") + NEXT,
    "bare line feed behind the request line": GOOD.replace(b"\r\n", b"\n", 1) + NEXT,
    "bare line feed behind a header": GOOD.replace(b"x\r\n", b"x\n") + NEXT,
    "bare line feed at the end of the head": GOOD.replace(b"\r\n\r\n", b"\r\n\n") + NEXT,
    "bare carriage return in a value": req("X: a\rb", "Content-Length: 3", body=b"abc") + NEXT,
    "bare carriage return at the end of the head": GOOD.replace(b"\r\n\r\n", b"\r\n\r") + NEXT,
    "blank lines before": b"\r\n\r\n" + GOOD + NEXT,
    "blank lines between": GOOD + b"\r\n\r\n" + NEXT,
    "NUL in a value": req("X: a\0b", "Content-Length: 3", body=b"abc") + NEXT,
    "NUL in a name": req("X\0: a", "Content-Length: 3", body=b"abc") + NEXT,
    "NUL in the target": req("Content-Length: 3", line="POST /\0 HTTP/1.1", body=b"abc") + NEXT,
    "control characters in a value": req("X: \x01\x02\x1f", "Content-Length: 3", body=b"abc") + NEXT,
    "DEL in a value": req("X: \x7f", "Content-Length: 3", body=b"abc") + NEXT,
    "tab in a value": req("X: a\tb", "Content-Length: 3", body=b"abc") + NEXT,
    "Latin-1 in a value": req("X: \xe9\xff", "Content-Length: 3", body=b"abc") + NEXT,
    "Latin-1 in a name": req("X\xe9: a", "Content-Length: 3", body=b"abc") + NEXT,
    "space in a name": req("X A: a", "Content-Length: 3", body=b"abc") + NEXT,
    "space before the colon": req("X : a", "Content-Length: 3", body=b"abc") + NEXT,
    "header without a colon": req("nonsense", "Content-Length: 3", body=b"abc") + NEXT,
    "header without a name": req(": a", "Content-Length: 3", body=b"abc") + NEXT,
    "header without a value": req("X:", "Content-Length: 3", body=b"abc") + NEXT,
    "no host": req("Content-Length: 3", body=b"abc", host=False) + NEXT,
    "no host in HTTP/1.0": req("Content-Length: 3", line="POST / HTTP/1.0", body=b"abc", host=False),
    "two hosts": req("Host: y", "Content-Length: 3", body=b"abc") + NEXT,
    "empty host": req("Content-Length: 3", body=b"abc").replace(b"Host: x", b"Host:") + NEXT,
    "two content types": req("Content-Type: a/b", "Content-Type: a/c", "Content-Length: 3", body=b"abc") + NEXT,
    "absolute form": req("Content-Length: 3", line="POST http://y/a?b HTTP/1.1", body=b"abc") + NEXT,
    "absolute form without a host": req("Content-Length: 3", line="POST http:///a HTTP/1.1", body=b"abc") + NEXT,
    "asterisk form": req("Content-Length: 0", line="OPTIONS * HTTP/1.1") + NEXT,
    "asterisk form of POST": req("Content-Length: 3", line="POST * HTTP/1.1", body=b"abc") + NEXT,
    "authority form": req(line="CONNECT example:443 HTTP/1.1") + NEXT,
    "target without a slash": req("Content-Length: 3", line="POST a HTTP/1.1", body=b"abc") + NEXT,
    "target with two slashes": req("Content-Length: 3", line="POST //y/a HTTP/1.1", body=b"abc") + NEXT,
    "target with dots": req("Content-Length: 3", line="POST /../%2e%2e/a HTTP/1.1", body=b"abc") + NEXT,
    "target with a fragment": req("Content-Length: 3", line="POST /a#b HTTP/1.1", body=b"abc") + NEXT,
    "target with Latin-1": req("Content-Length: 3", line="POST /\xe9\xff?\xe9 HTTP/1.1", body=b"abc") + NEXT,
    "target with UTF-8": req("Content-Length: 3", line="POST /\xc3\xa9 HTTP/1.1", body=b"abc") + NEXT,
    "target with a space": req("Content-Length: 3", line="POST /a b HTTP/1.1", body=b"abc") + NEXT,
    "target with a broken escape": req("Content-Length: 3", line="POST /%zz HTTP/1.1", body=b"abc") + NEXT,
    "target missing": req("Content-Length: 3", line="POST HTTP/1.1", body=b"abc") + NEXT,
    "method in lower case": req("Content-Length: 3", line="post / HTTP/1.1", body=b"abc") + NEXT,
    "method unknown": req("Content-Length: 3", line="BREW / HTTP/1.1", body=b"abc") + NEXT,
    "method with a space before": b" " + GOOD + NEXT,
    "two spaces in the request line": req("Content-Length: 3", line="POST  / HTTP/1.1", body=b"abc") + NEXT,
    "tab in the request line": req("Content-Length: 3", line="POST\t/\tHTTP/1.1", body=b"abc") + NEXT,
    "HTTP/0.9": b"GET /\r\n\r\n" + NEXT,
    "HTTP/0.9 spelled out": req(line="GET / HTTP/0.9") + NEXT,
    "HTTP/0.9 alone": b"GET /\r\n\r\n",
    "HTTP/0.9 of a lost space": req("Content-Length: 3", line="POST /HTTP/1.1", body=b"abc"),
    "HTTP/2.0 alone": req("Content-Length: 3", line="POST / HTTP/2.0", body=b"abc"),
    "HTTP/1.0": req("Content-Length: 3", line="POST / HTTP/1.0", body=b"abc") + NEXT,
    "HTTP/1.0 kept alive": req("Connection: keep-alive", "Content-Length: 3", line="POST / HTTP/1.0", body=b"abc") + NEXT,
    "HTTP/1.2": req("Content-Length: 3", line="POST / HTTP/1.2", body=b"abc") + NEXT,
    "HTTP/2.0": req("Content-Length: 3", line="POST / HTTP/2.0", body=b"abc") + NEXT,
    "HTTP/11.1": req("Content-Length: 3", line="POST / HTTP/11.1", body=b"abc") + NEXT,
    "http in lower case": req("Content-Length: 3", line="POST / http/1.1", body=b"abc") + NEXT,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "PROXY protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GOOD,
    "Upgrade h2c": req("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA", "Content-Length: 3", body=b"abc"),
    "Upgrade h2c and more behind": req("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3", body=b"abc") + NEXT,
    "Upgrade websocket": req("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 3", body=b"abc") + NEXT,
    "Upgrade websocket, chunked": req("Connection: Upgrade", "Upgrade: websocket", TE, body=chunked(b"abc")) + NEXT,
    "Upgrade without Connection": req("Upgrade: h2c", "Content-Length: 3", body=b"abc") + NEXT,
    "old WebSocket": req("Sec-WebSocket-Key1: x", "Content-Length: 3", body=b"abc") + NEXT,
    "Connection close": req("Connection: close", "Content-Length: 3", body=b"abc") + NEXT,
    "Expect 100-continue": req("Expect: 100-continue", "Content-Length: 3", body=b"abc") + NEXT,
    "Expect 100-continue, waiting": (req("Expect: 100-continue", "Content-Length: 3"), b"abc" + NEXT),
    "Expect nonsense": req("Expect: nonsense", "Content-Length: 3", body=b"abc") + NEXT,
    "Expect nonsense, waiting": (req("Expect: nonsense", "Content-Length: 3"), b"abc"),
    "Content-Encoding gzip": req("Content-Encoding: gzip", "Content-Length: 3", body=b"abc") + NEXT,
    "a header beyond the limit": req("X: " + "a" * 9000, "Content-Length: 3", body=b"abc") + NEXT,
    "a target beyond the limit": req("Content-Length: 3", line=f"POST /{'a' * 9000} HTTP/1.1", body=b"abc") + NEXT,
    "two hundred headers": req(*(f"X-{number}: 1" for number in range(200)), "Content-Length: 3", body=b"abc") + NEXT,
    "garbage": b"\x00\x01\x02\xff" * 20,
    "nothing but line breaks": b"\r\n" * 200,
    "a head cut off": GOOD[:30],
}  # fmt: skip

# What is put into requests in odd places.
SPICES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"0", b"1", b"3", b"f", b"x", b"\0", b"\xff", b"-", b"+", b"/", b"\r\n\r\n",
    b"0\r\n\r\n", b"3\r\nabc\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.1\r\n", b"Host: x\r\n",
)  # fmt: skip


def segments_of(name: str) -> tuple[bytes, ...]:
    found = CORPUS[name]
    return (found,) if isinstance(found, bytes) else found


def edited(stream: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    """At each place so many bytes are taken out and others put in."""
    for place, taken, put in edits:
        at = int(place * len(stream))
        stream = stream[:at] + put + stream[at + taken :]
    return stream


def split(stream: bytes, cuts: Sequence[float]) -> tuple[bytes, ...]:
    places = [0, *sorted(int(cut * len(stream)) for cut in cuts), len(stream)]
    return tuple(stream[start:end] for start, end in pairwise(places) if end > start)
