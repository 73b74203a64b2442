"""`forebay dev` with everything real: a private broker, processes, signed webhooks, a destination; and nothing left behind."""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay_cli.distribution import machine_version
from tests.support.brokers import VirtualHost
from tests.support.command_line import environment, run, start
from tests.support.destination import Destination, destination, in_turn, is_silent, says
from tests.support.processes import alive, descendants
from tests.support.waiting import eventually, so

EXAMPLES = Path(__file__).parents[2] / "examples"
OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
BAD = says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

SOURCE = """\
apiVersion: forebay.dev/v1alpha1
kind: WebhookSource
metadata: {name: github, namespace: payments}
spec:
  ingest:
    verification: {provider: GitHub, secretRefs: [{name: github-webhook, key: secret}]}
  queues:
    - {name: releases, match: {eventTypes: [release]}}
  worker:
    destination: {url: http://127.0.0.1:9/nowhere}
"""
HANDLER = """\
import pathlib

def handle(webhook):
    with pathlib.Path("handled").open("a") as file:
        file.write(webhook.event_type + "\\n")
"""


class Dev:
    """A running `forebay dev`."""

    def __init__(self, process: asyncio.subprocess.Process, environ: dict[str, str]) -> None:
        self.process = process
        self.environ = environ
        self.said = ""

    async def hears(self, pattern: str, within_s: float = 60.0) -> re.Match[str]:
        """Read on until it says so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within_s):
            while not (match := re.search(pattern, self.said)):
                line = await self.process.stdout.readline()
                assert line, f"it ended without saying {pattern}: {self.said}"
                self.said += line.decode()
        return match

    async def ends(self, within_s: float = 60.0) -> int:
        out, err = await asyncio.wait_for(self.process.communicate(), within_s)
        self.said += out.decode() + err.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def dev(tmp_path: Path, *arguments: str, source: str = SOURCE, **more: str) -> AsyncIterator[Dev]:
    environ = environment(tmp_path / "state", TMPDIR=str(tmp_path), **more)
    if "-f" not in arguments:
        (tmp_path / "source.yaml").write_text(source)
        arguments = ("-f", str(tmp_path / "source.yaml"), *arguments)
    process = await start(environ, "dev", "--port", "0", *arguments)
    try:
        yield Dev(process, environ)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def ids(target: Destination) -> set[str | None]:
    return {request.header("x-forebay-id") for request in target.requests}


def leftovers(folder: Path) -> list[Path]:
    """Temporary folders that nobody took away."""
    return list(folder.glob("forebay-*"))


needs_rabbitmq = pytest.mark.skipif(machine_version() is None, reason="this machine has no rabbitmq-server")


@needs_rabbitmq
async def test_the_main_job_from_a_terminal_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with destination(in_turn(*[BAD] * 5, OK)) as target:
        url = f"http://127.0.0.1:{target.port}/hook"
        async with dev(tmp_path, "--workers", "2", "--destination", url) as running:
            await running.hears(r"runs here until Ctrl-C")
            url = (await running.hears(r"endpoint +(http://127\.0\.0\.1:\d+/payments/github)"))[1]
            await running.hears(r"curl -i " + url)

            sent = await run(running.environ, "send", "--count", "20", "--event", "push", "-o", "json")
            assert (sent.status, json.loads(sent.out)["statuses"]) == (0, {"202": 20}), sent.err
            await eventually(so(lambda: len(target.requests) >= 20))

            wrong = await run(running.environ, "send", "--secret", "github-webhook/secret=wrong")
            assert wrong.status == 1
            assert "401" in wrong.out

            status = await _status_with(running.environ, dead=5, delivered=15)
            assert status["refused"] == {"signature": 1}
            assert status["next"] == "forebay dlq list"

            listed = await run(running.environ, "dlq", "list", "-o", "json")
            assert {row["reason"] for row in json.loads(listed.out)} == {"permanent-status"}
            dead = [row["id"] for row in json.loads(listed.out)]
            assert await _place(running.environ, dead[0]) == ("dead letters", True)
            replayed = await run(running.environ, "dlq", "replay", "--reason", "permanent-status", "-o", "json")
            assert json.loads(replayed.out)["replayed"] == 5
            await eventually(so(lambda: len(target.requests) >= 25))
            assert len(ids(target)) == 20
            await _tells_the_life_of(running.environ, dead[0])
            at_once = min(map(str, ids(target) - {*dead}))
            await eventually(lambda: _is_at(running.environ, at_once, ("delivered", False)), within_s=20, every_s=0.5)

            family = descendants(running.process.pid)
            assert len(family) > 5
            running.process.send_signal(signal.SIGINT)
            assert await running.ends() == 0, running.said
            assert "ended: 20 accepted, 20 delivered" in running.said
            assert not [pid for pid in family if alive(pid)]
    assert (await run(running.environ, "status")).status == 2
    assert {path.name for path in (tmp_path / "state" / "payments.github").iterdir()} == {
        "dev.lock", "logs", "secrets", "source.json",
    }  # fmt: skip
    assert leftovers(tmp_path) == []


@needs_rabbitmq
async def test_when_it_is_killed_everything_it_started_ends(tmp_path: Path) -> None:
    async with dev(tmp_path) as running:
        await running.hears(r"endpoint")
        family = descendants(running.process.pid)
        assert len(family) > 5
        running.process.kill()
        await running.process.wait()
        await eventually(so(lambda: not any(map(alive, family))))
        assert (await run(running.environ, "status")).status == 2


@needs_rabbitmq
async def test_ctrl_c_while_it_starts_ends_it_too(tmp_path: Path) -> None:
    async with dev(tmp_path) as running:
        await running.hears(r"starting a private RabbitMQ")
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() == 0, running.said
    assert leftovers(tmp_path) == []


async def test_a_second_ctrl_c_does_not_wait_for_a_slow_delivery(tmp_path: Path, newest_broker: VirtualHost) -> None:
    environ = {
        "FOREBAY_BROKER": newest_broker.server.uri(vhost=newest_broker.name),
        "FOREBAY_MANAGEMENT": newest_broker.server.management_url,
    }
    async with (
        destination(is_silent) as target,
        dev(tmp_path, "--destination", f"http://127.0.0.1:{target.port}", **environ) as running,
    ):
        await running.hears(r"endpoint")
        assert (await run(running.environ, "send")).status == 0
        await eventually(so(lambda: target.requests))
        family = descendants(running.process.pid)
        running.process.send_signal(signal.SIGINT)
        await running.hears(r"draining")
        running.process.send_signal(signal.SIGINT)
        assert await running.ends(within_s=10) == 0, running.said
        await eventually(so(lambda: not any(map(alive, family))))
    assert not any((tmp_path / "state" / "payments.github").glob("*/config"))


async def test_the_example_that_drops_duplicates_delivers_each_webhook_once(
    tmp_path: Path, newest_broker: VirtualHost
) -> None:
    environ = {
        "FOREBAY_BROKER": newest_broker.server.uri(vhost=newest_broker.name),
        "FOREBAY_MANAGEMENT": newest_broker.server.management_url,
    }
    example = str(EXAMPLES / "duplicates")
    async with (
        destination(OK) as target,
        dev(tmp_path, "-f", example, "--destination", f"http://127.0.0.1:{target.port}", **environ) as running,
    ):
        command = (await running.hears(r"(?s)# or\n(  curl .*?)\n\n"))[1]
        answers = [await asyncio.to_thread(subprocess.check_output, ["bash", "-c", command]) for _ in range(3)]
        assert b"X-Forebay-Id" in answers[0]
        assert all(b"X-Forebay-Duplicate: true" in answer for answer in answers[1:])
        await eventually(so(lambda: target.requests))
        now = await _status_with(environment(tmp_path / "state"), received=3, accepted=1, duplicates=2)
        assert now["queued"] == {"default": 0}
        assert len(target.requests) == 1
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() == 0, running.said


async def test_the_example_with_an_outage_buffer_takes_webhooks_while_the_broker_is_away(
    tmp_path: Path, newest_broker: VirtualHost
) -> None:
    server = newest_broker.server
    environ = {
        "FOREBAY_BROKER": server.uri(vhost=newest_broker.name),
        "FOREBAY_MANAGEMENT": server.management_url,
    }
    source = (EXAMPLES / "outage-buffer" / "source.yaml").read_text()
    secret = (EXAMPLES / "outage-buffer" / "secret.yaml").read_text()
    source = f"{source.replace('/tmp/forebay-outage-buffer', str(tmp_path / 'buffer'))}---\n{secret}"
    async with (
        destination(OK) as target,
        dev(tmp_path, "--destination", f"http://127.0.0.1:{target.port}", source=source, **environ) as running,
    ):
        await running.hears(r"Send the first webhook")
        await server.kill()
        sent = await run(running.environ, "send", "--count", "20", "--event", "push", "-o", "json")
        assert json.loads(sent.out)["statuses"] == {"202": 20}, sent.err
        await running.hears(r"in the outage buffer 20")
        assert not target.requests
        await server.start()
        await eventually(so(lambda: len(ids(target)) == 20), within_s=60.0)
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() == 0, running.said


async def test_on_a_broker_that_is_given_only_what_it_started_ends(tmp_path: Path, newest_broker: VirtualHost) -> None:
    host = newest_broker
    admin = host.server.uri(vhost=host.name)
    before = {user["name"] for user in await host.management.get("users")}  # others' tests may have been killed
    environ = {"FOREBAY_BROKER": admin, "FOREBAY_MANAGEMENT": host.server.management_url}
    async with dev(tmp_path, "--workers", "0", **environ) as running:
        await running.hears(r"endpoint")
        sent = await run(running.environ, "send", "--count", "7")
        assert sent.status == 0, sent.err
        assert {user["name"] for user in await host.management.get("users")} > before
        running.process.send_signal(signal.SIGTERM)
        assert await running.ends() == 0, running.said
        assert host.server.password not in running.said
    assert {user["name"] for user in await host.management.get("users")} == before
    assert (await host.management.depth(host.name, "forebay.payments.github.default")).messages == 7


async def test_paused_here_nothing_is_delivered_and_all_is_taken_in_until_it_is_resumed(
    tmp_path: Path, newest_broker: VirtualHost
) -> None:
    async with destination(OK) as target:
        url, admin = f"http://127.0.0.1:{target.port}/hook", newest_broker.server.uri(vhost=newest_broker.name)
        there = newest_broker.server.management_url
        async with dev(tmp_path, "--destination", url, FOREBAY_BROKER=admin, FOREBAY_MANAGEMENT=there) as it:
            await it.hears(r"runs here until Ctrl-C")
            person = {name: value for name, value in it.environ.items() if name != "FOREBAY_BROKER"}
            paused = await run(person, "pause")
            assert paused.out.splitlines() == [
                "payments/github: spec.suspend is Workers: webhooks are taken in and wait in their queues; nothing is delivered",
                "next: forebay resume",
            ]
            await eventually(lambda: _holds(person, {"suspended": None}))
            sent = await run(person, "send", "--count", "5", "-o", "json")
            assert json.loads(sent.out)["statuses"] == {"202": 5}
            await it.hears(r"queued 5 .*holds: suspended")
            assert target.requests == []
            assert "already" in (await run(person, "pause", "github")).out

            assert (await run(person, "resume")).out.endswith("next: forebay status\n")
            await eventually(so(lambda: len(ids(target)) == 5))
            assert "was started again" not in it.said

            # The endpoint does not follow by itself: it starts again, as a pod would.
            closed = await run(person, "pause", "--ingest")
            assert "spec.suspend is Ingest" in closed.out
            refused = await run(person, "send", "--count", "1", "-o", "json")
            assert json.loads(refused.out)["statuses"] == {"503": 1}
            assert (await run(person, "resume")).status == 0
            again = await run(person, "send", "--count", "1", "-o", "json")
            assert json.loads(again.out)["statuses"] == {"202": 1}


async def _holds(environ: dict[str, str], held: dict[str, None]) -> bool:
    return bool(json.loads((await run(environ, "status", "-o", "json")).out)["held"] == held)


async def test_a_large_body_goes_by_the_storage_dies_and_comes_back(tmp_path: Path, newest_broker: VirtualHost) -> None:
    host, body = newest_broker, os.urandom(3_000_000)
    written(tmp_path / "large", body)
    storage = f"storage: {{provider: File, bucket: {tmp_path / 'bodies'}}}"
    source = SOURCE.replace("  worker:", f"  {storage}\n  worker:").replace(
        "  ingest:", "  ingest:\n    maxBodyBytes: 4Mi"
    )
    environ = {"FOREBAY_BROKER": host.server.uri(vhost=host.name), "FOREBAY_MANAGEMENT": host.server.management_url}
    async with destination(in_turn(BAD, OK)) as target:
        url = f"http://127.0.0.1:{target.port}"
        async with dev(tmp_path, "--destination", url, source=source, **environ) as running:
            await running.hears(r"endpoint")
            sent = await run(running.environ, "send", "--data", f"@{tmp_path / 'large'}", "-o", "json")
            assert json.loads(sent.out)["statuses"] == {"202": 1}, sent.err
            await eventually(so(lambda: len(target.requests) == 1))
            own = environment(tmp_path / "state")  # the broker is known from what runs here
            shown = await _only_letter(own)
            assert shown["bytes"] == len(body)
            assert shown["claim"] == {
                "key": f"forebay/payments/github/{shown['id']}",
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            }
            assert "in object storage" in (await run(own, "dlq", "show", str(shown["id"]))).out
            saved = await run(own, "dlq", "show", str(shown["id"]), "--body-to", str(tmp_path / "saved"))
            assert (saved.status, "storage's own tools" in saved.err) == (2, True)
            assert (await run(own, "dlq", "replay", "--all")).status == 0
            await eventually(so(lambda: len(target.requests) == 2))
            assert [request.body == body for request in target.requests] == [True, True]
            running.process.send_signal(signal.SIGINT)
            assert await running.ends() == 0, running.said


async def _only_letter(environ: dict[str, str]) -> dict[str, object]:
    listed: list[dict[str, object]] = []

    async def died() -> bool:
        ran = await run(environ, "dlq", "list", "-o", "json")
        assert ran.status == 0, ran.err
        listed[:] = json.loads(ran.out)
        return len(listed) == 1

    await eventually(died, within_s=20, every_s=0.5)
    found: dict[str, object] = json.loads((await run(environ, "dlq", "show", str(listed[0]["id"]), "-o", "json")).out)
    return found


def written(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def test_a_login_that_may_make_no_users_is_used_itself(tmp_path: Path, newest_broker: VirtualHost) -> None:
    host = newest_broker
    await host.management.put(f"users/{host.name}", {"password": host.password, "tags": "management,policymaker"})
    async with destination(OK) as target:
        arguments = ("--broker", host.uri, "--management", host.server.management_url)
        async with dev(tmp_path, *arguments, "--destination", f"http://127.0.0.1:{target.port}") as running:
            await running.hears(r"endpoint")
            assert (await run(running.environ, "send", "--event", "release")).status == 0
            await eventually(so(lambda: len(target.requests) >= 1))
            running.process.send_signal(signal.SIGINT)
            assert await running.ends() == 0, running.said


async def test_a_python_handler_runs_from_the_manifests_folder(tmp_path: Path, newest_broker: VirtualHost) -> None:
    source = SOURCE.replace(
        "destination: {url: http://127.0.0.1:9/nowhere}", "handler: {image: x, target: 'own:handle'}"
    )
    (tmp_path / "own.py").write_text(HANDLER)
    handled = tmp_path / "handled"
    (tmp_path / "handler.yaml").write_text(source)
    environ = environment(tmp_path / "state", FOREBAY_BROKER=newest_broker.server.uri(vhost=newest_broker.name))
    process = await start(
        environ, "dev", "-f", str(tmp_path / "handler.yaml"), "--port", "0",
        "--management", newest_broker.server.management_url,
    )  # fmt: skip
    running = Dev(process, environ)
    try:
        await running.hears(r"delivers to +own:handle\(\)")
        assert (await run(environ, "send", "--event", "issues")).status == 0
        await eventually(so(lambda: handled.exists() and handled.read_text() == "issues\n"))
    finally:
        process.send_signal(signal.SIGINT)
        assert await running.ends() == 0, running.said


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--broker", "amqp://127.0.0.1:1"], 1, "say so with --management"),
        (["--broker", "amqp://u:pw@h", "--management", "http://127.0.0.1:1"], 1, "can not be reached"),
        (["--broker", "nonsense"], 2, "write amqp://USER:PASSWORD@HOST"),
        (["--destination", "ftp://x"], 2, "spec.worker.destination.url"),
        (["--secret", "x"], 2, "--secret"),
    ],
    ids=str,
)
async def test_what_can_not_start_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    async with dev(tmp_path, *arguments) as running:
        assert await running.ends() == status
        errors = [line for line in running.said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, running.said
        assert said in errors[0]
        assert "pw@" not in running.said
        assert "Traceback" not in running.said


async def test_a_port_that_is_taken_is_named(tmp_path: Path, newest_broker: VirtualHost) -> None:
    taken = str(newest_broker.server.amqp_port)
    environ = {"FOREBAY_BROKER": newest_broker.server.uri(vhost=newest_broker.name)}
    async with dev(
        tmp_path, "--port", taken, "--management", newest_broker.server.management_url, **environ
    ) as running:
        assert await running.ends() == 2
        assert f"error: port {taken} can not be had" in running.said
        assert "--port 0" in running.said


async def _place(environ: dict[str, str], id_: str) -> tuple[str, bool]:
    """Where `forebay explain` sees a webhook, and whether it is sure."""
    ran = await run(environ, "explain", id_, "-o", "json")
    assert ran.status == 0, ran.err
    now = json.loads(ran.out)["now"]
    return now["place"], now["sure"]


async def _is_at(environ: dict[str, str], id_: str, where: tuple[str, bool]) -> bool:
    return await _place(environ, id_) == where


async def _tells_the_life_of(environ: dict[str, str], id_: str) -> None:
    """Of a webhook that died, was replayed, and arrived."""
    await eventually(lambda: _is_at(environ, id_, ("delivered", True)), within_s=20, every_s=0.5)
    shown = await run(environ, "explain", id_)
    what = re.findall(r"^(?:\d{4}-\S+)? +(accepted|attempt|replayed|dead|waited) ", shown.out, re.MULTILINE)
    assert what == ["accepted", "attempt", "dead", "replayed", "attempt"], shown.out
    assert re.search(r"attempt +1 after \d+ ms: HTTP 404", shown.out), shown.out
    assert re.search(r"now +delivered at 20", shown.out), shown.out


async def _status_with(environ: dict[str, str], **values: int) -> dict[str, object]:
    """The status once it says so: RabbitMQ's own numbers are some seconds old."""
    found: dict[str, object] = {}

    async def holds() -> bool:
        found.update(json.loads((await run(environ, "status", "-o", "json")).out))
        return all(found[name] == value for name, value in values.items())

    await eventually(holds, within_s=30, every_s=0.5)
    return found
