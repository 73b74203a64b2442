"""What was put comes back whole or not at all, from a folder as from S3; whatever goes wrong says so in one word."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import pytest
from aiohttp import web

from forebay import settings
from forebay.envelope import Claim, claim_key
from forebay.errors import SpecError
from forebay.storage import Storage, StorageError
from tests.support.gateway import CREDENTIALS, Gateway, s3
from tests.support.proxy import Fate, Proxy, proxy

BODY = os.urandom(3 * 1024 * 1024 + 17)
KEY = claim_key("payments/github", "01990000-0000-7000-8000-000000000001")


def claim(body: bytes = BODY, **changes: Any) -> Claim:
    return Claim(**{"key": KEY, "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), **changes})


async def read(storage: Storage, wanted: Claim) -> bytes:
    return b"".join([piece async for piece in storage.get(wanted)])


@pytest.fixture
def body(tmp_path: Path) -> Path:
    return written(tmp_path / "body", BODY)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def without_a_name(path: Path) -> IO[bytes]:
    opened = path.open("rb")
    path.unlink()
    return opened


@pytest.fixture
async def front(s3_server: Gateway) -> AsyncIterator[Proxy]:
    """A proxy before the S3 server."""
    async with proxy(s3_server.url, keeps_host=True) as one:
        yield one


@pytest.fixture(params=["File", "S3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3_server: Gateway) -> Storage:
    if request.param == "File":
        return Storage(settings.Storage(provider="File", bucket=str(tmp_path / "bodies")), lambda _: b"")
    return behind(s3_server.url)


def behind(url: str, credentials: bytes = CREDENTIALS, **changes: Any) -> Storage:
    return Storage(s3(url, **changes), lambda _: credentials)


async def test_what_was_put_comes_back_in_pieces(storage: Storage, body: Path) -> None:
    await storage.put(KEY, body)
    pieces = [piece async for piece in storage.get(claim())]
    assert b"".join(pieces) == BODY
    assert len(pieces) > 4


async def test_a_file_that_has_no_name_any_more_is_put(storage: Storage, body: Path) -> None:
    with without_a_name(body) as spool:
        await storage.put(KEY, Path(f"/proc/self/fd/{spool.fileno()}"))
    assert await read(storage, claim()) == BODY


async def test_a_second_put_replaces_the_first(storage: Storage, body: Path) -> None:
    await storage.put(KEY, body)
    await storage.put(KEY, written(body, b"x" * 7_000_000))
    assert await read(storage, claim(b"x" * 7_000_000)) == b"x" * 7_000_000


async def test_a_missing_object_is_told_as_such(storage: Storage) -> None:
    with pytest.raises(StorageError) as caught:
        await read(storage, claim())
    assert caught.value.cause == "missing"
    assert KEY in str(caught.value)


async def test_of_another_length_nothing_is_given(storage: Storage, body: Path) -> None:
    await storage.put(KEY, body)
    with pytest.raises(StorageError) as caught:
        await anext(aiter(storage.get(claim(size=len(BODY) - 1))))
    assert caught.value.cause == "wrong"


async def test_of_other_bytes_the_last_piece_is_kept_back(storage: Storage, body: Path) -> None:
    await storage.put(KEY, written(body, BODY[:-1] + bytes([BODY[-1] ^ 1])))
    got = bytearray()

    async def take() -> None:
        async for piece in storage.get(claim()):
            got.extend(piece)

    with pytest.raises(StorageError) as caught:
        await take()
    assert caught.value.cause == "wrong"
    assert len(got) < len(BODY)


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(storage: Storage, body: Path) -> None:
    await storage.put(KEY, body)
    await storage.delete(KEY)
    await storage.delete(KEY)
    with pytest.raises(StorageError, match=KEY):
        await read(storage, claim())


async def test_a_listing_tells_of_one_source_alone(storage: Storage, body: Path) -> None:
    for key in (KEY, claim_key("payments/github", "b"), claim_key("payments/git", "c"), claim_key("other/github", "d")):
        await storage.put(key, body)
    found = [stored async for stored in storage.list(claim_key("payments/github", ""))]
    assert sorted(stored.key for stored in found) == [KEY, claim_key("payments/github", "b")]
    assert {stored.size for stored in found} == {len(BODY)}


def test_a_folder_keeps_nothing_that_is_half_copied(tmp_path: Path, body: Path) -> None:
    folder = tmp_path / "bodies"
    storage = Storage(settings.Storage(provider="File", bucket=str(folder)), lambda _: b"")
    with pytest.raises(StorageError):
        asyncio.run(storage.put(KEY, tmp_path / "nothing"))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


# ------------------------------------------------------------------------------------------------------ S3 with faults


async def test_an_error_of_the_server_that_passes_is_not_seen(front: Proxy, body: Path) -> None:
    answers = [Fate(answer=(500, "<Error/>")), Fate(hang_up=True)]
    front.fate = lambda _: answers.pop() if answers else Fate()
    storage = behind(front.url)
    await storage.put(KEY, body)
    assert await read(storage, claim()) == BODY


async def test_a_server_that_only_fails_is_unreachable(front: Proxy, s3_server: Gateway, body: Path) -> None:
    front.fate = lambda _: Fate(answer=(503, "<Error/>"))
    with pytest.raises(StorageError) as caught:
        await behind(front.url).put(KEY, body)
    assert caught.value.cause == "unreachable"
    assert s3_server.objects() == []


async def test_a_slow_server_is_waited_for_so_long_and_not_longer(front: Proxy, body: Path) -> None:
    front.fate = lambda _: Fate(delay_s=5)
    with pytest.raises(StorageError, match="too long"):
        await behind(front.url, put_s=0.3).put(KEY, body)


async def test_a_put_that_is_cut_leaves_no_object(front: Proxy, s3_server: Gateway, tmp_path: Path) -> None:
    """In parts: the connection goes at the second one, each time."""
    large = written(tmp_path / "large", os.urandom(12 * 1024 * 1024))
    front.fate = lambda request: Fate(hang_up=request.query.get("partNumber") == "2")
    with pytest.raises(StorageError):
        await behind(front.url, put_s=8).put(KEY, large)
    assert s3_server.objects() == []


async def test_an_answer_that_is_cut_is_no_body(front: Proxy, body: Path) -> None:
    storage = behind(front.url)
    await storage.put(KEY, body)
    front.fate = lambda request: Fate(line_cut=is_read(request))
    with pytest.raises(StorageError) as caught:
        await read(storage, claim())
    assert caught.value.cause == "unreachable"
    front.fate = lambda _: Fate()
    assert await read(storage, claim()) == BODY


def is_read(request: web.Request) -> bool:
    return request.method == "GET"


async def test_wrong_credentials_are_denied(s3_server: Gateway, body: Path) -> None:
    with pytest.raises(StorageError) as caught:
        await behind(s3_server.url, CREDENTIALS.replace(b"test-secret", b"another")).put(KEY, body)
    assert caught.value.cause == "denied"


async def test_rotated_credentials_are_taken_up(
    s3_server: Gateway, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.storage._REREAD", 0.0)
    files = [CREDENTIALS.replace(b"test-secret", b"another")]
    storage = Storage(s3(s3_server.url), lambda _: files[-1])
    with pytest.raises(StorageError):
        await storage.put(KEY, body)
    files.append(b"half a file")
    with pytest.raises(StorageError):
        await storage.put(KEY, body)
    files.append(CREDENTIALS)
    await storage.put(KEY, body)


@pytest.mark.parametrize("text", [b"AKIA:secret", b"[default]\naws_access_key_id=a\n", b"\xff", b"[default]\n"])
def test_what_is_no_credentials_file_is_refused_without_showing_it(text: bytes) -> None:
    with pytest.raises(SpecError, match="aws_secret_access_key") as caught:
        behind("http://127.0.0.1:1", text)
    assert "AKIA" not in str(caught.value)
