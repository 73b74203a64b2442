"""forebay send: correctly signed webhooks, as the provider would send them; to a source here or on a cluster."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from forebay.errors import SpecError
from forebay_cli import options
from forebay_cli.given import Given, find, given, noted, sampler_of, signing_keys, url_keys, url_token
from forebay_cli.sampling import Moment, Sample, Sampler, curl, parse_header
from forebay_cli.sending import Tally, send
from forebay_cli.state import Home
from forebay_cli.where import Cluster
from forebay_operator.desired import TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How many are sent, and how fast."""

    count: int
    rate: float | None
    concurrency: int


@click.command(
    "send",
    epilog=options.examples("""
forebay send                                        to the source that runs here
forebay send --event push --count 1000 --rate 50
forebay send -f source.yaml --url https://hooks.example.com/github
forebay send --event order.created --data @order.json --header 'X-Shop: 7'
forebay send --curl                                 print the curl command instead
kubectl forebay send github -n payments             to a source on a cluster
"""),
)
@click.argument("name", required=False)
@options.cluster()
@options.files(required=False)
@options.source
@options.secrets
@click.option("--event", help="Type of the event.  [default: the provider's most usual]")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="How many a second.  [default: no limit]")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many at once.")
@click.option("--data", metavar="TEXT|@FILE|-", help="The body.  [default: the provider's sample of the event]")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header. Can be repeated.")
@click.option("--url", help="Where to.  [default: the source that runs here]")
@click.option("--curl", "as_curl", is_flag=True, help="Print the curl command that would send it.")
@options.output
@click.pass_obj
def command(
    home: Home,
    *,
    name: str | None,
    cluster: Cluster | None,
    files: tuple[str, ...],
    source_key: str | None,
    secrets: tuple[str, ...],
    event: str | None,
    count: int,
    rate: float | None,
    concurrency: int,
    data: str | None,
    headers: tuple[str, ...],
    url: str | None,
    as_curl: bool,
    output: str,
) -> None:
    """Send correctly signed sample webhooks.

    To a source on a cluster they are signed with the Secret there, and go to its URL; where that is known inside the cluster
    only, through kubectl port-forward. Exits with 1 if any is not accepted.
    """
    wanted = options.one_of(name, source_key)
    about, own_url = _about(home, cluster, files, secrets, wanted)
    shown = _checked(url) if url else own_url or _running_url(home, about)
    sampler = _sampler(home, about, event, data, headers)
    target = _with_token(home, about, shown)
    if as_curl:
        click.echo(curl(target, sampler.sample(moment(1))))
        return
    amount = Amount(count=count, rate=rate, concurrency=concurrency)
    if cluster is not None:
        tally = asyncio.run(_send_to_cluster(cluster, about.source.namespace, target, sampler, amount))
    else:
        tally = asyncio.run(_send(target, sampler, amount))
    _print(shown, tally, output)
    if tally.accepted < tally.sent:
        sys.exit(1)


def _about(
    home: Home, cluster: Cluster | None, files: tuple[str, ...], secrets: tuple[str, ...], wanted: str | None
) -> tuple[Given, str | None]:
    """The source, and its URL if it is on a cluster."""
    if cluster is None:
        return given(files, secrets, wanted) if files else noted(home, secrets, wanted), None
    from forebay_cli.cluster.sending import given_on_cluster  # noqa: PLC0415  # brings the Kubernetes client, which others can do without

    if wanted is None:
        raise SpecError("it is not said which source; name it: kubectl forebay send NAME")
    return asyncio.run(given_on_cluster(cluster, wanted, secrets))


async def _send_to_cluster(cluster: Cluster, namespace: str, url: str, sampler: Sampler, amount: Amount) -> Tally:
    from forebay_cli.cluster.sending import endpoint  # noqa: PLC0415  # as above

    async with endpoint(cluster, url, namespace) as reached:
        return await _send(reached, sampler, amount)


def moment(number: int) -> Moment:
    """This very moment, for the sample of this number."""
    return Moment(number=number, now=time.time(), seed=os.urandom(16))


def _samples(sampler: Sampler, amount: int) -> Iterator[Sample]:
    return (sampler.sample(moment(number)) for number, _ in zip(count(1), range(amount), strict=False))


async def _send(url: str, sampler: Sampler, amount: Amount) -> Tally:
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal or amount.count == 1) as progress:
        task = progress.add_task("sending", total=amount.count)
        return await send(
            url,
            _samples(sampler, amount.count),
            concurrency=min(amount.concurrency, amount.count),
            rate=amount.rate,
            sent=lambda: progress.advance(task),
        )


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError(f"--url {url!r} is no URL; write http://HOST:PORT/PATH")
    return url


def _running_url(home: Home, about: Given) -> str:
    running = home.notes(about.source.key).running()
    if running is None:
        raise SpecError(f"{about.source.key} does not run here; say where it does with --url, or start it: forebay dev")
    return running.urls[0]


def _sampler(home: Home, about: Given, event: str | None, data: str | None, headers: tuple[str, ...]) -> Sampler:
    keys = signing_keys(about.source)
    found = find(about, home.notes(about.source.key), keys)
    values = [found[name][key] for name, key in keys if key in found.get(name, {})]
    if keys and not values:
        name, key = keys[0]
        raise SpecError(f"the signing secret {name}/{key} is not known; give it with --secret {name}/{key}=@FILE")
    return sampler_of(
        about.source,
        values[0] if values else b"",
        event=event,
        data=_body(data),
        headers=tuple(map(parse_header, headers)),
        token=_token(home, about),
    )


def _token(home: Home, about: Given) -> str | None:
    return url_token(about.source, find(about, home.notes(about.source.key), url_keys(about.source)))


def _with_token(home: Home, about: Given, url: str) -> str:
    """The URL with the token in the place where the status of a source says {token}."""
    if TOKEN not in url:
        return url
    if (token := _token(home, about)) is None:
        name, key = url_keys(about.source)[0]
        raise SpecError(f"the token of the URL, {name}/{key}, is not known; give it with --secret {name}/{key}=@FILE")
    return url.replace(TOKEN, token)


def _body(data: str | None) -> bytes | None:
    if data == "-":
        return sys.stdin.buffer.read()
    if data is None or not data.startswith("@"):
        return None if data is None else os.fsencode(data)  # the bytes as the shell gave them
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise SpecError(f"--data: file {data[1:]} can not be read: {error.strerror}; check its name") from error


def _print(url: str, tally: Tally, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(_as_json(url, tally), indent=2))
        return
    rate = tally.sent / tally.seconds if tally.seconds else 0
    click.echo(f"{tally.sent:,} sent to {url}")
    table = Table("webhooks", "answer", "", box=None)
    for status, number in sorted(tally.statuses.items()):
        said = "accepted" if status < 300 else tally.explanations.get(status, "")
        table.add_row(f"{number:,}", str(status), said)
    for error, number in tally.errors.items():
        table.add_row(f"{number:,}", "none", error)
    Console().print(table)
    if tally.sent > 1:
        p50, p99 = (tally.quantile(share) * 1000 for share in (0.5, 0.99))
        click.echo(f"{rate:,.0f}/s, half of the answers within {p50:.1f} ms, 99 % within {p99:.1f} ms")


def _as_json(url: str, tally: Tally) -> dict[str, object]:
    return {
        "url": url,
        "sent": tally.sent,
        "accepted": tally.accepted,
        "statuses": {str(status): number for status, number in sorted(tally.statuses.items())},
        "errors": dict(tally.errors),
        "seconds": round(tally.seconds, 3),
        "p50_ms": round(tally.quantile(0.5) * 1000, 2),
        "p99_ms": round(tally.quantile(0.99) * 1000, 2),
    }
