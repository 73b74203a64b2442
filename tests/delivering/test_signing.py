"""What Forebay signs, the receiver's own library of Standard Webhooks takes; and nothing else would."""

import base64
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import Destination
from forebay_worker import signing
from forebay_worker.deliver import HttpDelivery
from forebay_worker.outcome import Delivered
from tests.support.destination import Request, destination, says
from tests.support.envelopes import envelope

OK = says(b"HTTP/1.1 204 X\r\n\r\n")
OLD, NEW = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2))


async def signed(folder: Path, *secrets: str, attempts: int = 1, **changes: object) -> list[Request]:
    """The requests that a destination gets."""
    for number, secret in enumerate(secrets):
        (folder / str(number)).write_text(f"{secret}\n")
    async with destination(OK) as server:
        settings = Destination(
            url=f"http://127.0.0.1:{server.port}/",
            allow_loopback=True,
            signing_files=tuple(str(number) for number, _ in enumerate(secrets)),
        )
        deliver = HttpDelivery(settings, root=folder, read=Runtime(root=folder).read_secret)
        for number in range(attempts):
            assert await deliver(envelope(**{**changes, "attempts_made": number})) == Delivered(204)
        await deliver.close()
        return server.requests


async def test_the_receivers_library_takes_it(tmp_path: Path) -> None:
    (request,) = await signed(tmp_path, NEW)
    assert Webhook(NEW).verify(request.body, dict(request.headers)) == {"zen": "Keep it logically awesome."}
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(request.body + b" ", dict(request.headers))


async def test_every_secret_signs_so_that_the_destination_can_change_at_its_leisure(tmp_path: Path) -> None:
    (request,) = await signed(tmp_path, NEW, OLD)
    assert len((request.header("webhook-signature") or "").split(" ")) == 2
    for secret in (OLD, NEW):
        Webhook(secret).verify(request.body, dict(request.headers))


async def test_a_retry_has_the_same_id_and_the_time_of_its_own_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter((time.time() - 120, time.time()))
    monkeypatch.setattr("forebay_worker.request.time.time", lambda: next(now))
    first, second = await signed(tmp_path, NEW, attempts=2)
    assert first.header("webhook-id") == second.header("webhook-id") == envelope().id
    stamps = [int(one.header("webhook-timestamp") or 0) for one in (first, second)]
    assert 119 <= stamps[1] - stamps[0] <= 121
    for one in (first, second):
        Webhook(NEW).verify(one.body, dict(one.headers))


async def test_what_the_provider_signed_itself_does_not_stand_beside_it(tmp_path: Path) -> None:
    block = b"Webhook-Id: theirs\r\nwebhook-timestamp: 1\r\nWEBHOOK-SIGNATURE: v1,forged\r\nX-Kept: 1\r\n"
    (request,) = await signed(tmp_path, NEW, header_block=block)
    Webhook(NEW).verify(request.body, dict(request.headers))
    assert (request.header("webhook-id"), request.header("x-kept")) == (envelope().id, "1")


async def test_unsigned_the_providers_own_signature_passes(tmp_path: Path) -> None:
    (request,) = await signed(tmp_path, header_block=b"Webhook-Signature: v1,theirs\r\n")
    assert request.header("webhook-signature") == "v1,theirs"
    assert request.header("webhook-timestamp") is None


async def test_a_rotated_secret_is_taken_up_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "_REREAD", -1.0)
    file = tmp_path / "secret"
    file.write_text(OLD)
    signer = signing.Signer(("secret",), Runtime(root=tmp_path).read_secret)
    old = signer.lines("a", b"", 1.0)
    file.write_text(NEW)
    new = signer.lines("a", b"", 1.0)
    file.write_text("whsec_$$$")
    broken = signer.lines("a", b"", 1.0)
    file.unlink()
    assert old != new == broken == signer.lines("a", b"", 1.0)


@pytest.mark.parametrize("secret", ["whsec_not base64", "", "whsec_"])
async def test_a_secret_that_can_not_sign_stops_the_start_and_is_not_shown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(SpecError, match=r"destination\.signing_files: 0 is .*it takes whsec_ and base64") as caught:
        await signed(tmp_path, secret)
    assert "not base64" not in str(caught.value) or "not base64 after 'whsec_'" in str(caught.value)
