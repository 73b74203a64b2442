"""A destination that asks for an access token: a real token endpoint, a real destination, and what goes wrong between them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from forebay import manifest
from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import Destination, OAuth2
from forebay_operator.desired import Platform
from forebay_operator.desired.worker_settings import worker_settings
from forebay_worker import oauth
from forebay_worker.authorized import AuthorizedDelivery
from forebay_worker.outcome import Delivered, Failed, Outcome, Refused
from tests.support.destination import Answer, Request, destination, in_turn, is_silent, says
from tests.support.destination import Destination as Server
from tests.support.envelopes import envelope

OK = says(b"HTTP/1.1 204 X\r\n\r\n")
REFUSED = says(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
EXAMPLE = Path(__file__).parents[2] / "examples" / "oauth2"
ID, SECRET = "client:1", "s3cret & more/ü"


def issues(**changes: Any) -> Answer:
    """Tokens t1, t2 … that live for an hour."""
    count = 0

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        said = {"access_token": f"t{count}", "token_type": "Bearer", "expires_in": 3600, **changes}
        body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return answer


def complains(status: int, **said: str) -> Answer:
    body = json.dumps(said).encode()
    return says(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)


@dataclass(slots=True)
class Place:
    deliver: AuthorizedDelivery
    issuer: Server
    target: Server
    root: Path
    told: list[str | None] = field(default_factory=list)

    async def __call__(self, times: int = 1) -> list[Outcome]:
        return await asyncio.gather(*(self.deliver(envelope()) for _ in range(times)))

    @property
    def tokens(self) -> list[str]:
        """What the destination was shown, in order."""
        return [(request.header("authorization") or "").removeprefix("Bearer ") for request in self.target.requests]


@asynccontextmanager
async def place(root: Path, issuer: Answer, target: Answer = OK, **changes: Any) -> AsyncIterator[Place]:
    (root / "id").write_text(ID)
    (root / "secret").write_text(f"{SECRET}\n")
    told: list[str | None] = []
    loopback = changes.pop("allow_loopback", True)
    async with destination(issuer) as issuing, destination(target) as taking:
        fields = {"token_url": f"http://127.0.0.1:{issuing.port}/token?tenant=1", "secret_file": "secret"}
        settings = OAuth2(**{**fields, "client_id_file": "id", **changes})
        deliver = AuthorizedDelivery(
            Destination(url=f"http://127.0.0.1:{taking.port}/", allow_loopback=loopback, timeout_s=2),
            settings, root=root, read=Runtime(root=root).read_secret, told=told.append,
        )  # fmt: skip
        yield Place(deliver, issuing, taking, root, told)
        await deliver.close()


async def test_one_token_is_fetched_for_all_and_kept(tmp_path: Path) -> None:
    async with place(tmp_path, issues(), scopes=("hooks:write", "a"), audience="https://orders.example/ö") as one:
        assert await one(20) == [Delivered(204)] * 20
        assert await one() == [Delivered(204)]
        (asked,) = one.issuer.requests
        assert one.tokens == ["t1"] * 21
        assert one.told == [None]
        assert asked.line == "POST /token?tenant=1 HTTP/1.1"
        assert asked.header("content-type") == "application/x-www-form-urlencoded"
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"], "scope": ["hooks:write a"], "audience": ["https://orders.example/ö"],
        }  # fmt: skip
        login = (asked.header("authorization") or "").removeprefix("Basic ")
        assert base64.b64decode(login) == b"client%3A1:s3cret+%26+more%2F%C3%BC"


async def test_the_login_goes_into_the_body_where_the_issuer_wants_it_there(tmp_path: Path) -> None:
    async with place(tmp_path, issues(), login="Body") as one:
        await one()
        (asked,) = one.issuer.requests
        assert asked.header("authorization") is None
        form = parse_qs(asked.body.decode())
        assert (form["client_id"], form["client_secret"]) == ([ID], [SECRET])


async def test_a_token_is_renewed_in_good_time_while_deliveries_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "_RENEW_AFTER", 0.0)
    async with place(tmp_path, issues()) as one:
        await one(5)
        await one(5)  # they go with the old one, and begin one request
        await asyncio.wait_for(_asked(one, 2), 5)
        monkeypatch.setattr(oauth, "_RENEW_AFTER", 0.8)
        await one(5)
        assert one.tokens[:10] == ["t1"] * 10
        assert "t2" in one.tokens[10:]


async def _asked(one: Place, times: int) -> None:
    while len(one.issuer.requests) < times or len(one.told) < times:  # a server tells no event
        await asyncio.sleep(0.01)


async def test_an_expired_token_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "_MARGIN", 10.0)
    monkeypatch.setattr(oauth, "_RENEW_AFTER", -1.0)  # the margin is all of its life
    async with place(tmp_path, issues(expires_in="1")) as one:
        await one()
        await one()
        assert one.tokens == ["t1", "t2"]


async def test_a_refused_token_is_replaced_once_and_the_webhook_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "_SETTLED", 0.0)

    async def knows_only_the_second(request: Request, writer: asyncio.StreamWriter) -> None:
        await (OK if request.header("authorization") == "Bearer t2" else REFUSED)(request, writer)

    async with place(tmp_path, issues(), knows_only_the_second) as one:
        assert await one(10) == [Delivered(204)] * 10
        assert one.tokens == ["t1"] * 10 + ["t2"] * 10
        assert len(one.issuer.requests) == 2


async def test_a_destination_that_refuses_a_fresh_token_has_refused(tmp_path: Path) -> None:
    async with place(tmp_path, issues(), REFUSED) as one:
        assert await one(3) == [Refused(401, "HTTP 401")] * 3
        assert len(one.issuer.requests) == 1


async def test_other_refusals_do_not_cost_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "_SETTLED", 0.0)
    async with place(tmp_path, issues(), says(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")) as one:
        assert await one() == [Refused(403, "HTTP 403")]
        assert len(one.issuer.requests) == 1


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        (complains(401, error="invalid_client", error_description="no\nsuch client"), "HTTP 401: invalid_client: no such client"),
        (complains(400, error="invalid_client", error_description=f"{SECRET} is wrong"), "HTTP 400: invalid_client: [credential] is wrong"),
        (complains(400, error=f"{'x' * 190}{SECRET}"), "xx[credenti"),
        (complains(400, error=base64.b64encode(b"client%3A1:s3cret+%26+more%2F%C3%BC").decode()), "HTTP 400: [credential]"),
        (complains(400, error="client_secret=s3cret+%26+more%2F%C3%BC"), "HTTP 400: client_secret=[credential]"),
        (says(b"HTTP/1.1 502 X\r\nContent-Length: 3\r\n\r\n<p>"), "HTTP 502"),
        (says(b"HTTP/1.1 302 X\r\nLocation: http://a.example/\r\nContent-Length: 0\r\n\r\n"), "HTTP 302"),
        (says(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n[]"), "no access_token"),
        (issues(access_token="a\r\nX-Evil: 1"), "no access_token"),
        (issues(access_token=None), "no access_token"),
        (issues(token_type="mac"), "of type 'mac'"),
        (is_silent, "no answer within"),
    ],
)  # fmt: skip
async def test_without_a_token_the_attempt_has_failed_and_the_issuer_has_peace_for_a_while(
    issuer: Answer, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay_worker.authorized.TIMEOUT", 0.2)
    async with place(tmp_path, issuer) as one:
        outcomes = [*await one(3), *await one(3)]
        assert one.target.requests == []
        assert len(one.issuer.requests) == 1
        assert all(isinstance(outcome, Failed) and why in outcome.error for outcome in outcomes), outcomes
        assert "s3cret" not in f"{outcomes}{one.told}"
        assert one.told == [outcomes[0].error]  # type: ignore[union-attr]  # see above


async def test_it_recovers_and_reads_a_rotated_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "_FIRST_PAUSE", 0.0)
    async with place(tmp_path, in_turn(complains(401, error="invalid_client"), issues())) as one:
        assert isinstance((await one())[0], Failed)
        (tmp_path / "secret").write_text("other")
        assert await one() == [Delivered(204)]
        login = (one.issuer.requests[-1].header("authorization") or "").removeprefix("Basic ")
        assert base64.b64decode(login) == b"client%3A1:other"


async def test_the_issuer_is_bound_by_the_same_addresses_as_the_destination(tmp_path: Path) -> None:
    async with place(tmp_path, issues(), allow_loopback=False) as one:
        (outcome,) = await one()
        assert isinstance(outcome, Failed)
        assert "does not allow" in outcome.error
        assert one.issuer.requests == []


@pytest.mark.parametrize(
    ("life", "seconds"),
    [(3600, 3600), ("60", 60), (None, 300), ("soon", 300), (-5, 1), (1e9, 86_400), (float("nan"), 300), ([], 300)],
)
def test_a_token_lives_as_long_as_it_says_within_bounds(life: Any, seconds: float) -> None:
    assert oauth._life(life) == seconds  # what no server can be made to show in a test's time


async def test_what_is_missing_stops_the_start(tmp_path: Path) -> None:
    for changes, said in (
        ({"secret_file": "none"}, "none"),
        ({"token_url": "ftp://a"}, "token_url"),
        ({"client_id_file": None}, "client_id"),
    ):
        with pytest.raises(SpecError, match=said):
            async with place(tmp_path, issues(), **changes):
                pass


async def test_the_example_becomes_requests_that_both_servers_take(tmp_path: Path) -> None:
    found = manifest.load(EXAMPLE)
    settings = worker_settings(found.sources[0], "default", Platform(allow_loopback=True)).destination
    assert settings is not None
    assert settings.oauth2 is not None
    for secret in found.secrets:
        for key, value in secret.data.items():
            (tmp_path / "secrets" / secret.name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "secrets" / secret.name / key).write_bytes(value)
    async with place(tmp_path, issues()) as one:
        there = replace(settings, url=f"http://127.0.0.1:{one.target.port}/")
        issuer = replace(settings.oauth2, token_url=f"http://127.0.0.1:{one.issuer.port}/")
        deliver = AuthorizedDelivery(
            there, issuer, root=tmp_path, read=Runtime(root=tmp_path).read_secret, told=one.told.append
        )
        assert await deliver(envelope()) == Delivered(204)
        await deliver.close()
        assert parse_qs(one.issuer.requests[0].body.decode())["scope"] == ["webhooks:write"]
        assert one.tokens == ["t1"]
