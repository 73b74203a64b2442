"""What `forebay dlq` prints: a list of dead letters, and what became of those that were replayed or discarded."""

import itertools
import json
import sys
import time
from collections import Counter
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forebay_cli.dead.choice import moment
from forebay_cli.dead.work import Order, Tally
from forebay_cli.drawing import plain

PIPE_WIDTH = 200  # columns where there is no screen to end
_STRANGE = "no envelope of Forebay's, sent as it is: a worker that can still not read it buries it again"


def print_list(found: list[dict[str, Any]], counts: Counter[str], total: int) -> None:
    """Letters as `summary` has them, one line each, and how many there are of each reason."""
    if found:
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(_table(found))
    _print_counts(len(found), counts, total)


def finish(order: Order, tally: Tally, output: str) -> None:
    """Print what became of it, and end with the exit code for it."""
    if output == "json":
        click.echo(json.dumps(_as_json(order, tally), indent=2))
    else:
        _print_tally(order, tally)
    if tally.stopped:
        sys.exit(130)
    if tally.failures:
        sys.exit(1)


def _table(found: list[dict[str, Any]]) -> Table:
    """One line each; where the screen ends, the detail does."""
    table = Table(box=None, pad_edge=False)
    for name in ("id", "age", "reason", "event", "queue", "attempts", "detail"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if name == "detail" else None)
    for row in found:
        cells = (row["id"], row["reason"], row.get("event_type") or "", row["queue"] or "?", row["detail"])
        id_, reason, event, queue, detail = (Text(plain(cell)) for cell in cells)
        attempts = str(row.get("attempts_made", ""))
        table.add_row(id_, _age(row["died_at"]), reason, event, queue, attempts, detail)
    return table


def _age(died_at: str) -> str:
    """How long ago, in the largest unit of which there are two."""
    if died_at == "?":
        return died_at
    seconds = max(0.0, time.time() - moment(died_at, 0) / 1000)
    unit, length = next(
        (u, n) for u, n in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if seconds >= 2 * n or n == 1
    )
    return f"{seconds // length:.0f}{unit}"


def _print_counts(shown: int, counts: Counter[str], total: int) -> None:
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    more = f"; {shown} shown, --limit shows more" if shown < counts.total() else ""
    click.echo(f"{counts.total():,} of {total:,} dead letters{f': {by_reason}' if by_reason else ''}{more}", err=True)


def _print_tally(order: Order, tally: Tally) -> None:
    done = tally.meant if order.dry_run else tally.done
    verb = f"would be {order.verb}" if order.dry_run else order.verb
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in tally.reasons.most_common())
    click.echo(f"{done:,} of {tally.total:,} dead letters {verb}{f' ({by_reason})' if by_reason else ''}")
    if tally.strange and order.verb == "replayed":
        click.echo(f"{tally.strange:,} of them {_STRANGE}", err=True)
    if tally.stopped:
        click.echo("stopped; the rest is as it was", err=True)
    for id_, why in itertools.islice(tally.failures, 20):
        click.echo(f"kept {id_}: {why}", err=True)
    if len(tally.failures) > 20:
        click.echo(f"and {len(tally.failures) - 20} more were kept", err=True)


def _as_json(order: Order, tally: Tally) -> dict[str, object]:
    return {
        "dry_run": order.dry_run,
        "total": tally.total,
        "matched": tally.meant,
        order.verb: tally.done,
        "no_envelope": tally.strange,
        "by_reason": dict(tally.reasons),
        "failed": [{"id": id_, "error": why} for id_, why in tally.failures],
        "stopped": tally.stopped,
    }
