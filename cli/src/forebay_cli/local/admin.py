"""Asks the admin ports of running processes: are they ready, and what have they counted."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forebay.process import split_address

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Samples of one or several processes; counters are since each process's last start."""

    samples: tuple[tuple[str, Labels, float], ...] = ()

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all processes and all labels that are not said."""
        return sum(self._values(name, labels.items()))

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sums of a metric by the values of one label."""
        sums: dict[str, float] = {}
        for found, labels, value in self.samples:
            key = dict(labels).get(label)
            if found == name and key is not None:
                sums[key] = sums.get(key, 0) + value
        return sums

    def largest(self, name: str, label: str) -> dict[str, float]:
        """The largest of a metric by the values of one label; NaN is none."""
        found: dict[str, float] = {}
        for metric, labels, value in self.samples:
            key = dict(labels).get(label)
            if metric == name and key is not None and value == value:  # noqa: PLR0124  # NaN alone is not itself
                found[key] = max(value, found.get(key, value))
        return found

    def quantile(self, name: str, quantile: float) -> float | None:
        """A histogram's quantile, as the upper bound of the bucket it falls into; None if nothing was observed."""
        buckets = {float(bound): count for bound, count in self.by(f"{name}_bucket", "le").items()}
        most = max(buckets.values(), default=0)
        if not most:
            return None
        return min(bound for bound, count in buckets.items() if count >= quantile * most)

    def _values(self, name: str, wanted: Iterable[tuple[str, str]]) -> Iterator[float]:
        needed = frozenset(wanted)
        return (value for found, labels, value in self.samples if found == name and needed <= labels)


async def ready(address: str) -> bool:
    """Whether the process says it can do its work."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        return (await get(address, "/readyz"))[0] == 200
    return False


async def metrics(addresses: Iterable[str]) -> Metrics:
    """What the processes have counted; one that can not be asked now counts nothing."""
    pages = await asyncio.gather(*(_page(address) for address in addresses))
    return Metrics(tuple(sample for page in pages for sample in samples(page)))


async def get(address: str, path: str, timeout_s: float = 2.0) -> tuple[int, str]:
    """Status and body of a page. Raises OSError, TimeoutError or ValueError if there is no such answer."""
    host, port = split_address(address)
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read(-1)).decode()
        finally:
            writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]) if head else _no_answer(), body


def _no_answer() -> int:
    raise ValueError("the connection was closed without an answer")


async def _page(address: str) -> str:
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        status, body = await get(address, "/metrics")
        return body if status == 200 else ""
    return ""


def samples(page: str) -> Iterator[tuple[str, Labels, float]]:
    """What a page of metrics says: names, labels, values."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415  # 20 ms that --help need not pay

    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield sample.name, frozenset(sample.labels.items()), sample.value
