"""process_*: what prometheus_client's own collector tells, for the price of a look."""

import socket
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from forebay.process_measures import ProcessMeasures

NAMES = {
    "process_cpu_seconds_total": 0.1,
    "process_virtual_memory_bytes": 64e6,
    "process_resident_memory_bytes": 8e6,
    "process_start_time_seconds": 1.5,
    "process_open_fds": 2.0,
    "process_max_fds": 0.0,
}  # each with how far both may be apart: they look one after the other, and the library reads whole ticks


@pytest.fixture
def both() -> tuple[CollectorRegistry, CollectorRegistry]:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    ours.register(ProcessMeasures())
    ProcessCollector(registry=theirs)
    return ours, theirs


def test_it_tells_what_the_library_tells(both: tuple[CollectorRegistry, CollectorRegistry]) -> None:
    ours, theirs = both
    told, expected = ({sample.name for metric in one.collect() for sample in metric.samples} for one in both)
    assert told == expected == set(NAMES)
    for name, apart in NAMES.items():
        value = ours.get_sample_value(name)
        assert value, name
        assert value == pytest.approx(theirs.get_sample_value(name), abs=apart), name


def test_it_counts_connections(both: tuple[CollectorRegistry, CollectorRegistry]) -> None:
    ours, _ = both
    before = ours.get_sample_value("process_open_fds") or 0.0
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.socket())
        assert ours.get_sample_value("process_open_fds") == before + 50
