"""The secret that a provider sends in its handshake: from a real endpoint over the broker into the Secret, and no further."""

import base64
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Api, Object, OperatorProcess
from tests.support.node import LocalNode
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Provider:
    """How it sends its secret, and signs with it."""

    name: str
    secret: str
    signature: str  # header, and what is before the signature

    def handshake(self, secret: str) -> dict[str, Any]:
        if self.name == "Asana":
            return {"headers": {"X-Hook-Secret": secret}}
        return {"data": json.dumps({"verification_token": secret})}

    def webhook(self, body: bytes = b'{"events":[]}') -> dict[str, Any]:
        name, prefix = self.signature.split(": ")
        return {"data": body, "headers": {name: prefix + hmac.digest(self.secret.encode(), body, "sha256").hex()}}


ASANA = Provider("Asana", "b537207f20cbfa02357cf448134da559", "X-Hook-Signature: ")
NOTION = Provider("Notion", "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl", "X-Notion-Signature: sha256=")
STRANGERS = "somebody-else-would-like-this-one"


def capturing(provider: Provider, *keys: str) -> Object:
    refs = [{"name": "their-webhook", "key": key} for key in keys or ("secret",)]
    return source(
        spec__ingest__verification={"provider": provider.name, "secretRefs": refs, "capture": True},
        spec__ingest__replicas=1,
        spec__worker__replicas=0,
    )


async def post(place: Api, node: LocalNode, **what: Any) -> int:
    endpoint = node.of("ingest")[-1]
    url = f"http://{endpoint.address}/{place.namespace}/github"
    async with aiohttp.ClientSession() as client, client.post(url, **what) as answer:
        return answer.status


async def answered(place: Api, node: LocalNode, *statuses: int, **what: Any) -> None:
    """Send it again and again, as a provider or a person does, until it is answered so."""

    async def once() -> bool:
        try:
            return await post(place, node, **what) in statuses
        except (aiohttp.ClientError, IndexError):
            return False  # pods are exchanged

    await eventually(once, within_s=40, every_s=0.5)


async def held(place: Api) -> dict[str, str]:
    found = await place.find("Secret", "their-webhook") or {}
    return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}


async def ready(place: Api, node: LocalNode) -> None:
    async def serves() -> bool:
        return any(one.ready for one in node.of("ingest"))

    await eventually(serves, within_s=40)


@pytest.mark.parametrize("provider", [ASANA, NOTION], ids=lambda one: one.name)
async def test_the_secret_that_the_provider_sends_is_put_into_the_secret_and_taken_up(
    provider: Provider, place: Api, running: OperatorProcess, node: LocalNode
) -> None:
    await place.apply(capturing(provider))
    said = await place.until("github", "SecretCaptured", "False", "WaitingForHandshake")
    assert f"Make the webhook at {provider.name}" in said["message"]
    await ready(place, node)
    assert await post(place, node, **provider.webhook()) == 401
    await answered(place, node, 200, **provider.handshake(provider.secret))
    assert await post(place, node, **provider.handshake(STRANGERS)) == 409
    said = await place.until("github", "SecretCaptured", "True", "Captured", within_s=30)
    assert "from 127.0.0.1 at 20" in said["message"]
    assert await held(place) == {"secret": provider.secret}
    await answered(place, node, 202, **provider.webhook())
    assert await post(place, node, **provider.handshake(STRANGERS)) in (401, 409)
    assert await held(place) == {"secret": provider.secret}
    await _nowhere_told(place, running, node, provider.secret, STRANGERS)


async def _nowhere_told(place: Api, running: OperatorProcess, node: LocalNode, *values: str) -> None:
    events = await place.all("Event")
    assert "SecretCaptured" in {event["reason"] for event in events}
    told = running.log.read_text() + str(await place.get("WebhookSource", "github")) + str(events)
    told += "".join(one.launch.log.read_text() for one in node.of("ingest"))
    for kind in ("ConfigMap", "Deployment"):
        told += str(await place.all(kind))
    for value in values:
        assert value not in told


async def test_a_value_that_is_there_is_never_replaced_and_another_place_takes_the_next_one(
    place: Api, running: OperatorProcess, node: LocalNode
) -> None:
    await place.apply(capturing(ASANA))
    await ready(place, node)
    await answered(place, node, 200, **ASANA.handshake(ASANA.secret))
    await place.until("github", "SecretCaptured", "True", within_s=30)
    await place.apply(capturing(ASANA, "secret", "second"))
    await place.until("github", "SecretCaptured", "True", "WaitingForAnother")
    # The same once more, as after a crash between writing and taking it out of the queue, which holds one.
    await answered(place, node, 200, **ASANA.handshake(ASANA.secret))
    await answered(place, node, 200, **ASANA.handshake(STRANGERS))
    await place.until("github", "SecretCaptured", "True", "Captured", within_s=30)
    assert await held(place) == {"secret": ASANA.secret, "second": STRANGERS}


async def test_a_secret_of_somebody_else_is_written_into_with_his_consent_alone(
    place: Api, running: OperatorProcess, node: LocalNode
) -> None:
    await place.secret("their-webhook", other="untouched")
    await place.apply(capturing(ASANA))
    said = await place.until("github", "SecretCaptured", "False", "SecretNotAllowed")
    consent = f"kubectl annotate secret their-webhook -n {place.namespace} forebay.dev/capture=github"
    assert consent in said["message"]
    await ready(place, node)
    await place.until("github", "Stalled", "True", "SecretNotAllowed")
    assert await post(place, node, **ASANA.handshake(STRANGERS)) == 409
    await place.patch("Secret", "their-webhook", {"metadata": {"annotations": {"forebay.dev/capture": "github"}}})
    await place.until("github", "SecretCaptured", "False", "WaitingForHandshake")
    await answered(place, node, 200, **ASANA.handshake(ASANA.secret))
    await place.until("github", "SecretCaptured", "True", within_s=30)
    assert await held(place) == {"other": "untouched", "secret": ASANA.secret}


async def test_a_source_that_captures_no_more_leaves_no_way_open(
    place: Api, running: OperatorProcess, node: LocalNode
) -> None:
    await place.apply(capturing(ASANA))
    await ready(place, node)
    await place.until("github", "SecretCaptured", "False", "WaitingForHandshake")
    await place.secret("their-webhook", secret=ASANA.secret)
    plain = capturing(ASANA)
    del plain["spec"]["ingest"]["verification"]["capture"]
    await place.apply(plain)

    async def closed() -> bool:
        return "SecretCaptured" not in await place.conditions("github")

    await eventually(closed, within_s=10)
    await answered(place, node, 401, 409, **ASANA.handshake(STRANGERS))
    assert await held(place) == {"secret": ASANA.secret}


async def test_when_the_time_is_over_nobody_gets_in_until_somebody_opens_it_again(
    place: Api, running: OperatorProcess, node: LocalNode
) -> None:
    brief = capturing(ASANA)
    brief["spec"]["ingest"]["verification"]["captureFor"] = "15s"
    await place.apply(brief)
    await place.until("github", "SecretCaptured", "False", "WaitingForHandshake")
    await ready(place, node)
    said = await place.until("github", "SecretCaptured", "False", "CaptureClosed", within_s=40)
    assert "kubectl annotate whs github" in said["message"]
    await answered(place, node, 409, **ASANA.handshake(STRANGERS))
    assert await held(place) == {}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await place.patch("WebhookSource", "github", {"metadata": {"annotations": {"forebay.dev/capture-from": now}}})
    await place.until("github", "SecretCaptured", "False", "WaitingForHandshake")
    await answered(place, node, 200, **ASANA.handshake(ASANA.secret))
    await place.until(
        "github", "SecretCaptured", "True", "Captured", within_s=40
    )  # though the time may be over by then
    assert await held(place) == {"secret": ASANA.secret}
