"""The addresses that providers publish let them in, and nobody else; a provider without a list lets nobody in."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from forebay import manifest
from forebay.errors import SpecError
from forebay.manifest import ManifestError, read_source
from forebay.signatures.presets import parse_preset, presets
from forebay.signatures.senders import Senders
from forebay_operator.desired import Platform
from forebay_operator.desired.ingest_settings import ingest_settings
from tests.receiving.endpoint import request
from tests.receiving.wire import finals
from tests.support import sources

KNOWN = [known for known in presets().values() if known.senders and known.senders.networks]
PROXY = ("127.0.0.0/8",)


def allowing(provider: str, *clients: str) -> dict[str, Any]:
    """A manifest that lets these in."""
    return sources.manifest(
        spec__ingest__verification={"provider": provider, "secretRefs": [{"name": "a", "key": "b"}]},
        spec__ingest__allowedClients=list(clients),
        spec__ingest__trustedProxies=list(PROXY),
    )


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
async def test_from_the_addresses_of_the_provider_alone(known: Any, endpoint: Callable[..., Any]) -> None:
    settings = ingest_settings(read_source(allowing(known.name, "Provider", "10.0.0.0/8")), Platform())
    assert settings.guarding is not None
    assert settings.guarding.allowed_clients == (*known.senders.networks, "10.0.0.0/8")
    theirs = [str(ip_network(network)[-1]) for network in known.senders.networks]
    async with endpoint(guarding=settings.guarding) as it:
        for client, status in (*((address, 202) for address in theirs), ("10.1.2.3", 202), ("203.0.113.9", 403)):
            (reply,) = finals(await it.say(request(b"{}", f"X-Forwarded-For: {client}")))
            assert reply.status == status, client


@pytest.mark.parametrize("provider", ["Trello", "Shopify"])
def test_a_provider_without_a_list_is_refused_and_never_let_in(provider: str) -> None:
    url = {"spec__ingest__publicUrl": "https://a.example/b"} if provider == "Trello" else {}
    given = allowing(provider, "Provider")
    given["spec"]["ingest"] |= {name.rpartition("__")[2]: value for name, value in url.items()}
    with pytest.raises(ManifestError, match=f"the addresses of provider {provider} are not known here"):
        read_source(given)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "192.168.1.1",
        "8.0.0.0/8",
        "2000::/3",
        "192.30.252.1/22",
        "example.com",
        "",
        "127.0.0.1",
    ],
)
def test_a_network_that_is_not_one_sender_s_is_no_data(text: str) -> None:
    given = next(known.senders for known in KNOWN if known.senders)
    with pytest.raises(SpecError, match="no network"):
        Senders(source=given.source, networks=(text,), checked=given.checked)


def test_networks_without_their_day_are_no_data() -> None:
    with pytest.raises(SpecError, match="the day on which"):
        Senders(source="https://a.example", networks=("192.30.252.0/22",))
    with pytest.raises(SpecError, match="https"):
        Senders(source="ask them")


def test_a_preset_s_file_with_a_wrong_list_is_refused() -> None:
    text = 'name = "A"\nsources = []\nchecked = 2026-11-28\nconfidence = "published"\nsetup = ""\n[scheme]\nalgorithm = "hmac-sha256"\n'
    text += 'signature_headers = ["X-A"]\n[senders]\nsource = "https://a.example"\nchecked = 2026-11-28\n'
    assert parse_preset(text + 'networks = ["192.30.252.0/22"]\n').senders
    with pytest.raises(SpecError, match="far too large"):
        parse_preset(text + 'networks = ["0.0.0.0/0"]\n')


def test_a_manifest_may_name_the_provider_beside_networks_of_its_own() -> None:
    (source,) = manifest.parse(str(allowing("GitHub", "Provider", "192.30.252.0/22")).replace("'", '"')).sources
    settings = ingest_settings(source, Platform())
    assert settings.guarding is not None
    assert settings.guarding.allowed_clients.count("192.30.252.0/22") == 1
