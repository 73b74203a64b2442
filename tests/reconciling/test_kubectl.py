"""`kubectl forebay` on a real API server, by a person with no more than the rights that the chart gives to people."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Api, ControlPlane
from tests.support.destination import destination, in_turn, says
from tests.support.kubectl import Person, somebody
from tests.support.node import LocalNode
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(240)

GONE = says(b"HTTP/1.1 410 Gone\r\ncontent-length: 4\r\n\r\ngone")
FINE = says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def _url(node: LocalNode, place: Api) -> str:
    """Of the endpoint; there is no way to a Service here."""
    await eventually(so(lambda: node.of("ingest") and node.of("ingest")[0].address))
    return f"http://{node.of('ingest')[0].address}/{place.namespace}/github"


async def test_a_webhook_is_sent_dies_is_looked_at_and_comes_back(
    place: Api, node: LocalNode, network: None, person: Person
) -> None:
    async with destination(in_turn(GONE, GONE, FINE)) as target:
        worker = {"destination": {"url": f"http://127.0.0.1:{target.port}/hook"}}
        await place.apply(source(spec__worker=worker))
        await place.until("github", "Ready", "True", within_s=60)
        fresh = await person.json("status", "github")
        assert fresh["received"] == 0
        assert fresh["next"] == f"kubectl forebay send github -n {place.namespace}"
        assert not fresh["unseen"]

        url = await _url(node, place)
        sent = await person("send", "github", "--count", "2", "--url", url)
        assert re.search(r"2 +202 +accepted", sent.out), sent
        await eventually(so(lambda: len(target.requests) == 2))
        letters = await person.json("dlq", "list", "github")
        assert [letter["detail"] for letter in letters] == ["HTTP 410: gone"] * 2
        shown = await person("dlq", "show", "github", letters[0]["id"])
        assert "  gone: HTTP 410: gone" in shown.out
        assert "status 410" in shown.out
        told = await person.json("explain", "github", letters[0]["id"])
        assert [moment["what"] for moment in told["moments"]] == ["accepted", "attempt", "dead"]
        assert told["now"]["place"] == "dead letters"
        replay = f"kubectl forebay dlq replay github {letters[0]['id']} -n {place.namespace}"
        assert (told["next"], told["not_seen"]) == (f"correct the URL, then {replay}", [])
        said = await person("tail", "github", "--no-follow", "--failed")
        assert said.out.count("delivery.dead") == 2

        async with aiohttp.ClientSession() as stranger, stranger.post(url, data=b"{}") as answer:
            assert answer.status == 401

        async def counted() -> bool:
            return bool((await place.get("WebhookSource", "github"))["status"].get("dead") == 2)

        await eventually(counted, within_s=30, every_s=0.5)
        now = await person.json("status", "github")
        assert (now["received"], now["accepted"], now["dead"], now["dead_reasons"]) == (3, 2, 2, {"gone": 2})
        assert now["refused"] == {"signature": 1}
        assert now["next"] == f"kubectl forebay dlq list github -n {place.namespace}"
        screen = await person("status", "github")
        assert re.search(r"refused +signature 1", screen.out), screen.out
        assert f"next: {now['next']}" in screen.out

        again = await person("dlq", "replay", "github", letters[0]["id"])
        assert again.out.startswith("1 of 2 dead letters replayed")
        await eventually(so(lambda: len(target.requests) == 3))
        told = await person.json("explain", "github", letters[0]["id"])
        assert told["now"] == {"place": "delivered", "sure": True, "text": told["now"]["text"]}
        assert [moment["what"] for moment in told["moments"]] == ["accepted", "attempt", "dead", "replayed", "attempt"]
        gone = await person("dlq", "discard", "github", "--all", "--yes")
        assert gone.out.startswith("1 of 1 dead letters discarded")
        assert await person.json("dlq", "list", "github") == []


async def _tells(tail: asyncio.subprocess.Process, event: str) -> None:
    """Wait until a line of the tail tells of this event."""
    assert tail.stdout is not None
    async with asyncio.timeout(20):
        while f'"event": "{event}"'.encode() not in await tail.stdout.readline():
            pass


async def test_a_source_rests_wakes_and_is_drained(place: Api, node: LocalNode, network: None, person: Person) -> None:
    async with destination(FINE) as target:
        worker = {"destination": {"url": f"http://127.0.0.1:{target.port}/hook"}}
        await place.apply(source(spec__worker=worker))
        await place.until("github", "Ready", "True", within_s=60)
        before = node.of("worker")
        assert (await person("pause", "github")).status == 0

        async def rests() -> bool:
            return re.search(r"holds +suspended", (await person("status", "github")).out) is not None

        await eventually(rests, within_s=30, every_s=1)
        tail = await person.start(
            "forebay", "tail", "github", "-n", place.namespace, "-o", "json", "--component", "worker"
        )
        try:
            assert (await person("send", "github", "--url", await _url(node, place))).status == 0
            assert "resume github" in (await person("status", "github")).out
            assert not target.requests
            assert (await person("resume", "github")).status == 0
            await eventually(so(lambda: target.requests), within_s=30)
            await _tells(tail, "pace.free")
            assert node.of("worker") == before
            for pod in await place.all("Pod", "app.kubernetes.io/component=worker"):
                await place.delete("Pod", pod["metadata"]["name"])
            await _tells(tail, "started")  # of a pod that came while it looked on
        finally:
            tail.terminate()
            await tail.communicate()
        drained = await person("drain", "github", "--timeout", "90s", within_s=120)
        assert drained.status == 0, drained
        assert "its queues are empty\nnone waits to be tried again" in drained.out
        assert (await person("drain", "gihub")).err == (
            f"error: there is no source gihub in namespace {place.namespace}; did you mean github? there are github\n"
        )


async def test_who_may_only_look_is_told_what_is_missing_and_how_to_get_it(
    control_plane: ControlPlane, place: Api, account: Path, tmp_path: Path
) -> None:
    await place.apply(source())
    viewer = somebody(
        control_plane, place, tmp_path, f"op-{place.namespace}-forebay-view"
    )  # of the source and of nothing else

    async def looks() -> bool:
        return (await viewer("status", "github")).status == 0

    await eventually(looks, within_s=30)
    screen = (await viewer("status", "github")).out
    assert re.search(r"not seen +Deployments: you may not list deployments.apps in namespace", screen), screen
    assert "scaledobjects" not in screen
    for command, lacks, role in (
        (("pause", "github"), "patch webhooksources.forebay.dev github", "edit"),
        (("drain", "github"), "patch webhooksources.forebay.dev github", "edit"),
        (("tail", "github"), "list pods", "view"),
        (("dlq", "list", "github"), "get secrets github-broker-worker", "edit"),
        (("send", "github"), "get secrets github-webhook", "edit"),
    ):
        refused = await viewer(*command)
        assert refused.status == 1
        assert refused.err.startswith(f"error: you may not {lacks} in namespace {place.namespace}; "), refused.err
        assert f"--clusterrole={role} --user=system:serviceaccount:{place.namespace}:" in refused.err
        assert refused.err.count("\n") == 1
    told = await viewer.json("explain", "github", "01990000-0000-7000-8000-000000000001")
    assert told["now"]["place"] == "not known"
    assert told["moments"][0]["at"] == "2025-08-31T12:00:24Z"
    for what, lacks in (("logs", "list pods"), ("dead letters", "get secrets github-broker-worker")):
        assert any(seen.startswith(f"{what}: you may not {lacks}") for seen in told["not_seen"]), told
    nobody = somebody(control_plane, place, tmp_path)
    assert (await nobody("status")).err.startswith("error: you may not list webhooksources.forebay.dev in namespace")
    found = {line["about"]: line for line in await nobody.findings() if line["level"] == "fail"}
    assert "no right to list webhooksources.forebay.dev" in found["your rights"]["text"]


async def test_a_deleted_source_is_let_go_without_an_operator(
    control_plane: ControlPlane, place: Api, account: Path, tmp_path: Path
) -> None:
    editor = somebody(control_plane, place, tmp_path, "edit")
    await place.apply({**source(), "metadata": {"name": "github", "finalizers": ["forebay.dev/broker"]}})

    async def looks() -> bool:
        return (await editor("status", "github")).status == 0

    await eventually(looks, within_s=30)  # the controllers add the chart's rules to `edit`
    early = await editor("force-finalize", "github", "--yes")
    assert (early.status, early.err) == (
        1,
        f"error: github is not being deleted; first kubectl delete whs github -n {place.namespace} --wait=false\n",
    )
    await place.delete("WebhookSource", "github")
    status = await editor.json("status", "github")
    assert status["deleting_s"] is not None
    gone = await editor("force-finalize", "github", "--yes")
    assert gone.status == 0, gone.err
    base = f"forebay.{place.namespace}.github"
    assert f"rabbitmqctl delete_queue --vhost / {base}.default" in gone.out
    assert await place.find("WebhookSource", "github") is None
