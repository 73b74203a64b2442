"""From counters and depths to the few numbers a person reads, and what to do next."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from forebay.topology import Names
from forebay_cli.broker import given_broker
from forebay_cli.commands.status import screen
from forebay_cli.local.admin import Metrics
from forebay_cli.local.watch import Flow, flow, line
from forebay_cli.standing import Standing, standing
from forebay_cli.state import Running, RunningProcess
from forebay_cli.target import Target

NAMES = Names("payments", "github")
METRICS = Metrics((
    ("forebay_ingest_accepted_total", frozenset({("queue", "default")}), 90.0),
    ("forebay_ingest_accepted_total", frozenset({("queue", "releases")}), 10.0),
    ("forebay_ingest_refused_total", frozenset({("cause", "signature"), ("status", "401")}), 3.0),
    ("forebay_ingest_refused_total", frozenset({("cause", "too-large"), ("status", "413")}), 0.0),
    ("forebay_duplicates_total", frozenset(), 9.0),
    ("forebay_outage_buffer_webhooks", frozenset(), 11.0),
    ("forebay_delivery_attempts_total", frozenset({("outcome", "delivered")}), 80.0),
    ("forebay_delivery_attempts_total", frozenset({("outcome", "refused")}), 7.0),
    ("forebay_in_flight", frozenset({("queue", "default")}), 4.0),
    ("forebay_dead_letters_total", frozenset({("reason", "exhausted")}), 2.0),
    *(
        ("forebay_ingest_confirm_seconds_bucket", frozenset({("le", bound)}), count)
        for bound, count in {"0.005": 98.0, "0.01": 99.0, "+Inf": 100.0}.items()
    ),
))  # fmt: skip
DEPTHS = {
    "forebay.payments.github.default": 5,
    "forebay.payments.github.releases": 1,
    "forebay.payments.github.dead": 2,
    "forebay.payments.github.permits.wanted": 1000,
    "forebay.payments.github.stream.seen": 1000,
    "forebay.payments.github2.default": 1000,
    "forebay.delay.1": 3,
    "forebay.delay.30": 4,
    "forebay.orphans": 6,
    "elsewhere": 1000,
}
RUNNING = Running(
    source="payments/github", pid=1, urls=("http://127.0.0.1:1/github",), broker="amqp://h", management="", private=True,
    processes=(RunningProcess(name="github-ingest-0", state="ready", pid=2),),
)  # fmt: skip


def look(metrics: Metrics = METRICS, depths: dict[str, int] = DEPTHS, running: Running | None = RUNNING) -> Standing:
    return standing(Target(source="payments/github", broker=given_broker("amqp://h"), running=running), metrics, depths)


def at(seconds: float, metrics: Metrics = METRICS) -> Flow:
    return flow(NAMES, ("releases", "default"), metrics, DEPTHS, seconds)


def holding(*left: tuple[str, float], state: int = 0) -> Metrics:
    """The metrics of workers of which each holds for one reason."""
    holds = [("forebay_hold_seconds", frozenset({("reason", reason)}), seconds) for reason, seconds in left]
    return Metrics((*holds, ("forebay_breaker_state", frozenset({("source", "github")}), float(state))))


def shown(now: Standing) -> str:
    """The screen, as a person sees it."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(screen(now))
    return console.export_text()


def test_the_flow_sums_over_processes_and_queues_of_this_source_only() -> None:
    now = at(1.0)
    assert (now.accepted, now.refused, now.delivered, now.in_flight) == (100, 3, 80, 4)
    assert (now.queued, now.retrying, now.dead) == (6, 7, 2)


def test_the_line_tells_rates_since_the_last_one() -> None:
    before = at(1.0, Metrics())
    assert line(at(3.0), before) == (
        "accepted 50/s  delivered 40/s  queued 6 (default 5, releases 1)  in flight 4  retrying 7  dead 2"
        "  refused 3  duplicates 9  in the outage buffer 11"
    )
    assert line(at(1.0), None).startswith("accepted 0/s  delivered 0/s")


def test_the_line_tells_of_what_waits_for_the_rate_limit() -> None:
    waiting = Metrics((*METRICS.samples, ("forebay_permit_waiting", frozenset({("queue", "default")}), 7.0)))
    assert line(at(1.0, waiting), None).endswith("limited 7")


PACED = Metrics((
    ("forebay_permit_waiting", frozenset(), 7.0),
    ("forebay_keys_waiting", frozenset(), 3.0),
    ("forebay_keys_held", frozenset(), 1.0),
    ("forebay_ingest_busy_total", frozenset(), 20.0),
))  # fmt: skip


def test_the_line_and_the_screen_tell_of_all_that_waits_for_its_turn() -> None:
    assert line(at(1.0, PACED), None).endswith("limited 7  keys waiting 3  keys held 1  put aside 20")
    rows = shown(look(PACED, {}))
    assert "7 in the workers' hands wait for the rate limit" in rows
    assert "3 keys, each for the next attempt at one of its webhooks, 1 of them until" in rows
    assert "20 webhooks of keys that send much more" in rows


def test_the_line_names_queues_only_where_there_are_several() -> None:
    assert "queued 5  in flight" in line(flow(NAMES, ("default",), METRICS, DEPTHS, 1.0), None)


def test_the_line_tells_what_holds_and_for_how_long() -> None:
    assert line(at(1.0, holding(("breaker", 4.2), ("breaker", 1.0), ("suspended", 0.0))), None).endswith(
        "holds: breaker for 5 s"
    )
    assert line(at(1.0, holding(("suspended", math.inf))), None).endswith("holds: suspended")
    assert line(at(1.0, holding(("breaker", 0.0), state=1)), None).endswith("holds: breaker lets one through at a time")
    assert "holds" not in line(at(1.0, holding(("breaker", 0.0), state=0)), None)


def test_a_source_that_rests_says_so_and_how_to_wake_it() -> None:
    now = look(holding(("suspended", math.inf)), {}, replace(RUNNING, suspend="Workers"))
    assert (now.suspend, now.held, now.next) == ("Workers", {"suspended": None}, "forebay resume")
    text = shown(now)
    assert "rests: spec.suspend is Workers" in text
    assert ["holds", "suspended"] in [row.split() for row in text.splitlines()]


def test_a_process_that_started_again_makes_no_rate_negative() -> None:
    assert line(at(3.0, Metrics()), at(1.0)).startswith("accepted 0/s")


def test_what_nobody_could_say_is_a_question_mark() -> None:
    assert "queued ?  in flight 4  retrying ?  dead ?" in line(flow(NAMES, (), METRICS, None, 0), None)


def test_a_histograms_quantile_is_the_bound_of_its_bucket() -> None:
    assert METRICS.quantile("forebay_ingest_confirm_seconds", 0.5) == 0.005
    assert METRICS.quantile("forebay_ingest_confirm_seconds", 0.99) == 0.01
    assert Metrics().quantile("forebay_ingest_confirm_seconds", 0.5) is None


def test_the_standing_tells_where_every_webhook_is() -> None:
    now = look()
    assert (now.received, now.accepted, now.duplicates, now.delivered) == (112, 100, 9, 80)
    assert now.failed_attempts == 7
    assert (now.queued, now.retrying, now.dead, now.orphans) == ({"default": 5, "releases": 1}, 7, 2, 6)
    assert (now.refused, now.dead_reasons, now.confirm_p99_s) == ({"signature": 3}, {"exhausted": 2}, 0.01)


def test_of_a_source_elsewhere_only_the_queues_are_known() -> None:
    now = look(running=None)
    assert (now.received, now.delivered, now.processes, now.dead) == (None, None, (), 2)


@pytest.mark.parametrize(
    ("standing", "advice"),
    [
        (look(), "forebay dlq list"),
        (look(depths={}), "compare the signing secret"),
        (look(Metrics(), {}), "forebay send"),
        (look(running=None, depths={}), "forebay status --watch"),
    ],
)
def test_the_next_step_is_the_one_that_matters_most(standing: Standing, advice: str) -> None:
    assert standing.next.startswith(advice)


def test_the_screen_draws_the_way_of_a_webhook() -> None:
    rows = [row.split() for row in shown(look()).splitlines()]
    assert ["received", "──>", "queued", "──>", "delivered"] in rows
    assert ["112", "6", "80"] in rows
    assert ["3", "7", "2"] in rows
    assert ["next:", "forebay", "dlq", "list"] in rows
