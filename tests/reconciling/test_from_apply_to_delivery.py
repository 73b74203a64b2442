"""The main job on an API server: apply a source, and a webhook goes from the socket to the destination."""

import time

import aiohttp

from forebay.signatures.presets import preset
from forebay.signatures.sign import sign
from tests.support.apiserver import Api, OperatorProcess
from tests.support.destination import destination, says
from tests.support.node import LocalNode
from tests.support.sources import manifest
from tests.support.waiting import eventually, so


async def test_a_source_that_is_applied_takes_webhooks_and_delivers_them(
    place: Api, running: OperatorProcess, node: LocalNode
) -> None:
    async with destination(says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as target:
        source = manifest(
            spec__broker={"secretRef": {"name": "rabbitmq"}},
            spec__worker={"destination": {"url": f"http://127.0.0.1:{target.port}/hook"}},
        )
        await place.apply(source)
        await place.until("github", "Ready", "True", within_s=40)
        body = b'{"zen": "Keep it logically awesome."}'
        (endpoint, *_) = node.of("ingest")
        url = f"http://{endpoint.address}/{place.namespace}/github"
        async with (
            aiohttp.ClientSession() as client,
            client.post(url, data=body, headers=_signed(body)) as answer,
        ):
            assert answer.status == 202
        await eventually(so(lambda: target.requests))
        assert target.requests[0].body == body


def _signed(body: bytes) -> dict[str, str]:
    return dict(sign(preset("GitHub").scheme, b"s3cret", body, now=time.time(), delivery_id="a-delivery"))
