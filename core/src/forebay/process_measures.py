"""process_* as every Prometheus client tells them: CPU, memory, open files, start. Linux; elsewhere nothing is told.

prometheus_client has a collector for them, which lists all open files to count them. An endpoint with ten thousand connections
answered nobody for 15 ms whenever it was scraped.
"""

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PROC = Path("/proc/self")


class ProcessMeasures(Collector):
    """Of this process."""

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        if not _PROC.exists():
            return
        virtual, resident, *_ = (int(pages) * resource.getpagesize() for pages in (_PROC / "statm").read_text().split())
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield CounterMetricFamily("process_cpu_seconds", "User and system CPU time in seconds.", time.process_time())
        for name, text, value in (
            ("virtual_memory_bytes", "Virtual memory in bytes.", virtual),
            ("resident_memory_bytes", "Resident memory in bytes.", resident),
            ("start_time_seconds", "When the process began, in seconds since 1970.", _began()),
            ("open_fds", "Open files and sockets.", _open_files()),
            ("max_fds", "Open files and sockets at most.", most),
        ):
            yield GaugeMetricFamily(f"process_{name}", text, value)


def _open_files() -> int:
    """The kernel keeps count since Linux 6.2 (proc(5), /proc/pid/fd)."""
    folder = _PROC / "fd"
    return folder.stat().st_size or sum(1 for _ in folder.iterdir())


def _began() -> float:
    ticks = int((_PROC / "stat").read_text().rpartition(")")[2].split()[19])  # since boot: starttime, proc(5)
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
