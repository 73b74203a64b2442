"""The worker shows a certificate of its own where it has one, over real TLS, and follows its files."""

import asyncio
import shutil
from pathlib import Path

import pytest

from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import Destination
from forebay_worker.deliver import HttpDelivery
from forebay_worker.outcome import Delivered, Outcome, Unreachable
from tests.support.certificates import Pair, authority, issued, serving
from tests.support.destination import Request, destination
from tests.support.envelopes import envelope


class Guarded:
    """A destination that wants to know who comes, and closes after each answer."""

    def __init__(self) -> None:
        self.came: list[str] = []

    async def __call__(self, _: Request, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert") or {}
        self.came += [value for ((name, value),) in shown.get("subject", ()) if name == "commonName"]
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    ca, other = authority(folder), authority(folder, "other-ca")
    return {
        "ca": ca,
        "other-ca": other,
        "server": issued(ca, folder, "server"),
        "other-server": issued(other, folder, "other-server"),
        "first": issued(ca, folder, "first"),
        "second": issued(ca, folder, "second"),
        "locked": issued(ca, folder, "locked", passphrase="not-a-secret"),
    }


def mounted(folder: Path, made: dict[str, Pair], client: str, ca: str = "ca") -> None:
    """Files of the worker, each replaced by another as a kubelet does."""
    for source, name in (
        (made[ca].certificate, "ca.crt"),
        (made[client].certificate, "tls.crt"),
        (made[client].key, "tls.key"),
    ):
        put(source, folder / name)


def put(source: Path, target: Path) -> None:
    shutil.copy(source, target.with_suffix(".new"))
    target.with_suffix(".new").replace(target)


def delivery(folder: Path, port: int, *, own: bool = True) -> HttpDelivery:
    settings = Destination(
        url=f"https://localhost:{port}/",
        allow_loopback=True,
        ca_file="ca.crt",
        client_cert_file="tls.crt" if own else None,
        client_key_file="tls.key" if own else None,
        timeout_s=5.0,
    )
    return HttpDelivery(settings, root=folder, read=Runtime(root=folder).read_secret)


async def test_a_destination_that_asks_is_shown_the_certificate(tmp_path: Path, made: dict[str, Pair]) -> None:
    guarded = Guarded()
    mounted(tmp_path, made, "first")
    async with destination(guarded, tls=serving(made["server"], clients=made["ca"])) as server:
        assert await delivery(tmp_path, server.port)(envelope()) == Delivered(200)
    assert guarded.came == ["first"]


async def test_without_one_the_destination_lets_nobody_in(tmp_path: Path, made: dict[str, Pair]) -> None:
    mounted(tmp_path, made, "first")
    async with destination(Guarded(), tls=serving(made["server"], clients=made["ca"])) as server:
        outcome = await delivery(tmp_path, server.port, own=False)(envelope())
        assert server.requests == []
    assert isinstance(outcome, Unreachable)
    assert outcome.cause == "closed"


async def test_a_rotated_certificate_is_shown_on_the_next_connection(tmp_path: Path, made: dict[str, Pair]) -> None:
    guarded = Guarded()
    mounted(tmp_path, made, "first")
    async with destination(guarded, tls=serving(made["server"], clients=made["ca"])) as server:
        deliver = delivery(tmp_path, server.port)
        await deliver(envelope())
        mounted(tmp_path, made, "second")
        await deliver(envelope())
    assert guarded.came == ["first", "second"]


async def test_a_half_rotated_certificate_changes_nothing_yet(tmp_path: Path, made: dict[str, Pair]) -> None:
    guarded = Guarded()
    mounted(tmp_path, made, "first")
    async with destination(guarded, tls=serving(made["server"], clients=made["ca"])) as server:
        deliver = delivery(tmp_path, server.port)
        put(made["second"].certificate, tmp_path / "tls.crt")
        await deliver(envelope())
        (tmp_path / "tls.key").unlink()
        await deliver(envelope())
        put(made["second"].key, tmp_path / "tls.key")
        await deliver(envelope())
    assert guarded.came == ["first", "first", "second"]


async def test_a_rotated_ca_is_trusted_on_the_next_connection(tmp_path: Path, made: dict[str, Pair]) -> None:
    mounted(tmp_path, made, "first")
    outcomes: list[Outcome] = []
    async with destination(Guarded(), tls=serving(made["other-server"])) as server:
        deliver = delivery(tmp_path, server.port)
        outcomes.append(await deliver(envelope()))
        mounted(tmp_path, made, "first", ca="other-ca")
        outcomes.append(await deliver(envelope()))
    assert isinstance(outcomes[0], Unreachable)
    assert outcomes[1] == Delivered(200)


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("first", "second", "key values mismatch"),
        ("locked", "locked", "can not be used"),
        ("first", None, "no such file"),
    ],
)
async def test_a_certificate_that_can_not_be_shown_stops_the_start(
    tmp_path: Path, made: dict[str, Pair], certificate: str, key: str | None, says: str
) -> None:
    mounted(tmp_path, made, certificate)
    (tmp_path / "tls.key").unlink()
    if key:
        shutil.copy(made[key].key, tmp_path / "tls.key")
    with pytest.raises(SpecError, match=rf"destination\.client_cert_file .*{says}.*it takes PEM") as caught:
        delivery(tmp_path, 1)
    assert "BEGIN" not in str(caught.value)
