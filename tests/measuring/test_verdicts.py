"""What the benches say about figures: bars, ratios, charts."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import chart, ingest, verdict, verify, worker
from bench.verdict import Bar
from forebay.signatures.presets import Preset


def bar(sign: Any = "≤") -> Bar:
    return Bar(figure="a figure", key="ratios.x", sign=sign, bar=1.0, aim=0.5)


@pytest.mark.parametrize(
    ("sign", "measured", "said"),
    [
        ("≤", 1.01, "MISSED"),
        ("≤", 1.0, "ok"),
        ("≤", 0.5, "aim"),
        ("≥", 0.99, "MISSED"),
        ("≥", 1.0, "aim"),
        ("≤", None, "not measured"),
    ],
)
def test_a_figure_is_judged_by_its_bar_and_its_aim(sign: str, measured: float | None, said: str) -> None:
    assert bar(sign).verdict(measured) == said


@pytest.mark.parametrize(("measured", "status"), [(0.9, 0), (1.1, 1), (None, 1)])
def test_the_exit_status_is_1_when_a_bar_is_missed_or_was_not_measured(
    measured: float | None, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "results" / "x.json"
    assert verdict.conclude({"ratios": {"x": measured}}, [bar()], file) == status
    assert json.loads(file.read_text())["verdicts"][0]["figure"] == "a figure"


def test_a_figure_without_a_bar_is_never_missed(tmp_path: Path) -> None:
    unbarred = Bar(figure="a figure", key="ratios.x", sign="≤", bar=None, aim=0.5)
    assert verdict.conclude({"ratios": {"x": None}}, [unbarred], tmp_path / "x.json") == 0


def run(system: str, connections: int, rps: float, cpu: float, p99: float) -> dict[str, Any]:
    latency = {"p50": 1.0, "p99": p99, "max": p99}
    return {"system": system, "connections": connections, "rps": rps, "cpu_us": cpu, "broker_cpu_us": 1.0,
            "failed": 0, "latency_ms": latency}  # fmt: skip


def ingest_summary() -> dict[str, Any]:
    runs = [
        *(run("forebay", 64, 20_000, cpu, 5) for cpu in (20, 24, 90)),
        run("forebay", 256, 30_000, 20, 20),
        *(run("go", n, 20_000, 30, 10) for n in (64, 256)),
    ]
    bursts = [run("forebay", 2000, 1, 1, 150), run("go", 2000, 1, 1, 200)]
    return ingest.summary(runs, [{"rate": 40_000.0}], bursts)


def test_ratios_are_of_medians_and_of_the_less_favorable_number_of_connections() -> None:
    assert ingest_summary()["ratios"] == {
        "cpu_vs_go": 0.8,
        "rps_vs_go": 1.0,
        "p99_vs_go_c64": 0.5,
        "p99_vs_go_c256": 2.0,
        "burst_p99_vs_go": 0.75,
        "rate_vs_perftest": 0.75,
        "cpu_vs_knative": None,
    }


def test_a_workers_ratios_say_more_is_better() -> None:
    def drain(system: str, rate: float, per_cpu: float) -> dict[str, Any]:
        return {"system": system, "rate": rate, "cpu_us": 1e6 / per_cpu, "per_cpu_second": per_cpu, "repeated": 0,
                "memory_mib": {"rss": 40.0}}  # fmt: skip

    made = worker.summary([drain("forebay", 4000, 5000), drain("go", 5000, 10_000)])
    assert made["ratios"] == {"rate_vs_go": 0.8, "cpu_vs_go": 0.5}
    assert made["memory_mib"] == {"worker": 40.0, "go": 40.0}


@pytest.mark.parametrize("item", verify.measured(), ids=lambda item: item.name)
def test_every_provider_has_a_request_to_measure(item: Preset) -> None:
    assert verify._mean(verify._verifying(item, verify.request_of(item)), calls=1) > 0


def test_a_busy_while_costs_a_round_and_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_mean", lambda call, _: call())
    means = iter([30.0, 31.0, 3.0, 4.0, 32.0, 5.0])  # of a and b in turn; others were at work now and then
    best = verify._best([{"a": lambda: next(means), "b": lambda: next(means)}], rounds=3, calls=1)
    assert best == [{"a": 3.0, "b": 4.0}]


def test_perf_tests_confirms_are_read_second_by_second() -> None:
    output = (
        "id: test-1, time 1.000 s, sent: 100 msg/s, returned: 0 msg/s, confirmed: 5231 msg/s, nacked: 0 msg/s\n"
        "id: test-1, time 2.001 s, sent: 100 msg/s, returned: 0 msg/s, confirmed: 31200 msg/s, nacked: 0 msg/s\n"
        "id: test-1, sending rate avg: 30000 msg/s\n"
    )
    assert ingest.confirmed_rates(output) == [5231.0, 31200.0]


def test_the_chart_is_well_formed_and_names_every_system(tmp_path: Path) -> None:
    circumstances = {"machine": {"cores": 2}, "versions": {"rabbitmq": "4.0.5 <&>"}}
    chart.ingest({**circumstances, **ingest_summary()}, tmp_path / "ingest.svg")
    texts = [element.text for element in ET.parse(tmp_path / "ingest.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"Forebay", "Go, same work", "PerfTest, 4 producers", "20,000 /s"} <= set(texts)
