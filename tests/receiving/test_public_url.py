"""Where a provider signs the URL, it is the one of the settings: what a request says of its host counts for nothing."""

import base64
import hmac
from collections.abc import Callable
from typing import Any

import pytest

from forebay.settings import Verification
from tests.receiving.endpoint import PATH, SECRET, request
from tests.receiving.wire import finals

Opener = Callable[..., Any]

PUBLIC = "https://hooks.example.com/in"  # a gateway that rewrites the path stands before us
SQUARE: dict[str, Any] = {
    "verification": Verification(provider="Square", secret_files=("secrets/gh/secret",)),
    "public_url": PUBLIC,
}


def square(url: str, target: str = PATH, *headers: str, body: bytes = b"{}") -> bytes:
    signature = base64.b64encode(hmac.digest(SECRET, url.encode() + body, "sha256")).decode()
    return request(body, f"x-square-hmacsha256-signature: {signature}", *headers, target=target, secret=None)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (square(PUBLIC), 202),
        (square(f"{PUBLIC}/eu?a=%3A&b"), 401),
        (square(f"{PUBLIC}/eu?a=%3A&b", f"{PATH}/eu?a=%3A&b"), 202),
        (square(f"{PUBLIC}/eu?a=:&b", f"{PATH}/eu?a=%3A&b"), 401),
        (square(PUBLIC, PATH, "X-Forwarded-Host: other.example", "X-Forwarded-Proto: http"), 202),
        (square(f"https://other.example{PATH}", PATH, "X-Forwarded-Host: other.example"), 401),
        (square(f"http://example{PATH}"), 401),
        (square(f"http://example{PATH}", f"http://example{PATH}"), 401),
        (square(PUBLIC, f"http://example{PATH}"), 202),
    ],
)
async def test_the_public_url_and_what_follows_our_path_are_signed(endpoint: Opener, data: bytes, status: int) -> None:
    async with endpoint(**SQUARE) as it:
        assert [reply.status for reply in finals(await it.say(data))] == [status]


async def test_without_a_public_url_nothing_is_let_in_by_the_host_header(endpoint: Opener) -> None:
    async with endpoint(**SQUARE | {"public_url": None}) as it:
        for url in (f"http://example{PATH}", f"https://example{PATH}", PUBLIC):
            assert [reply.status for reply in finals(await it.say(square(url)))] == [401]
