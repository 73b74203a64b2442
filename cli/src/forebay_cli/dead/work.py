"""Works through dead letters in front of a person: with a progress bar, and stopped by Ctrl-C without leaving one half done."""

import asyncio
import signal
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from forebay_cli.dead.choice import Choice
from forebay_cli.dead.reader import Reader
from forebay_cli.dead.replay import Deed, Tally, settle_each

__all__ = ["Order", "Tally", "work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done with which letters."""

    verb: str  # replayed | discarded
    choice: Choice
    limit: int | None = None
    rate: float | None = None  # letters a second
    dry_run: bool = False


async def work(letters: Reader, order: Order, deed: Deed) -> Tally:
    """Do the deed for every letter that is meant. Raises Unavailable if the broker goes away."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"{order.verb} 0", total=letters.total)

            def progress(tally: Tally) -> None:
                bar.update(task, completed=tally.looked_at, description=f"{order.verb} {tally.done}")

            return await settle_each(
                letters, order.choice, deed, limit=order.limit, rate=order.rate, stop=stop, progress=progress
            )
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
