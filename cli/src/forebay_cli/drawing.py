"""The way of a webhook, drawn: stations with their numbers below, and the branches that lead off. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Station = tuple[str, int | None, str]  # name, number, style


def way(*, received: int | None, queued: int | None, delivered: int | None) -> RenderableType:
    """The main way."""
    return _stations((("received", received, ""), ("queued", queued, ""), ("delivered", delivered, "green")), "──>")


def branches(refused: int | None, retrying: Station, dead: int | None) -> RenderableType:
    """What leads off it."""
    name, number, _ = retrying
    return _stations(
        (
            ("└─> refused", refused, "yellow" if refused else "dim"),
            (f"└─> {name}", number, "yellow" if number else "dim"),
            ("└─> dead", dead, "red" if dead else "dim"),
        ),
        "",
    )


def facts(rows: Iterator[tuple[str, str]]) -> RenderableType:
    """Names with a text each."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan")
    grid.add_column()
    for name, text in rows:
        grid.add_row(name, Text(text))
    return grid


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def plain(text: str) -> str:
    """Text of a stranger: it moves no cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _stations(stations: Sequence[Station], arrow: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    for index in range(len(stations)):
        grid.add_column(min_width=13)
        if index < len(stations) - 1:
            grid.add_column(min_width=3)
    for pick in (0, 1):
        cells: list[Text] = []
        for name, value, style in stations:
            cells.append(Text(name if pick == 0 else f"  {number(value)}", style=style or "bold"))
            cells.append(Text(arrow if pick == 0 else ""))
        grid.add_row(*cells[:-1])
    return grid
