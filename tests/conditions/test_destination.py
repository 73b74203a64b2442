"""What is said of the destination: only where a circuit breaker watches it, and never as if Forebay itself were not ready."""

from typing import Any

from forebay.manifest import read_source
from forebay_operator.conditions import Observed, Verdict, conditions
from forebay_operator.world import Progress
from tests.support.sources import manifest

RUNS = Progress(ready=1, wanted=1, rolled_out=True)


def said(notes: int | None, **worker: Any) -> dict[str, Verdict]:
    """The conditions of a source of which all runs, with so many notes of breakers."""
    asked = {f"spec__worker__{name}": value for name, value in worker.items()}
    source = read_source(manifest(metadata={"name": "github", "namespace": "payments"}, **asked))
    return conditions(source, Observed(ingest=RUNS, workers={"default": RUNS}, dead=0, breaker_notes=notes))


def test_without_a_breaker_nothing_is_said_of_the_destination() -> None:
    assert "DestinationReachable" not in said(None)


def test_an_open_breaker_is_said_with_what_to_look_at_and_the_source_stays_ready() -> None:
    found = said(2, circuitBreaker={})
    assert found["DestinationReachable"][:2] == ("False", "BreakerOpen")
    assert found["DestinationReachable"].message.endswith("kubectl forebay tail github -n payments")
    assert found["Ready"].status == "True"
    assert found["Reconciling"].status == "False"


def test_closed_breakers_are_said_and_what_was_not_counted_is_not_known() -> None:
    assert said(0, circuitBreaker={})["DestinationReachable"][:2] == ("True", "BreakersClosed")
    assert said(None, circuitBreaker={})["DestinationReachable"][:2] == ("Unknown", "NotCounted")
