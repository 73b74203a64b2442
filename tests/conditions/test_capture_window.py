"""How long a secret that a provider sends is captured, and what is said when that is over."""

from typing import Any

import pytest

from forebay.manifest import read_source
from forebay.source import WebhookSource
from forebay_operator.capture_window import FROM, closed
from forebay_operator.conditions import Capture, Observed, Verdict, conditions
from tests.support.sources import manifest

NOON = 1_795_867_200.0  # 2026-11-28T12:00:00Z
HOUR_S = 3600.0


def source(**verification: Any) -> WebhookSource:
    refs = [{"name": "asana-webhook", "key": "secret"}]
    given = {"provider": "Asana", "secretRefs": refs, "capture": True, **verification}
    return read_source(manifest(metadata={"name": "asana", "namespace": "work"}, spec__ingest__verification=given))


def metadata(begun: str | None = None) -> dict[str, Any]:
    return {"creationTimestamp": "2026-11-28T12:00:00Z", "annotations": {FROM: begun} if begun else {}}


def is_open(at: float, begun: str | None = None, **verification: Any) -> bool:
    return closed(source(**verification), metadata(begun), at) is None


def test_it_is_a_day_from_when_the_source_was_made() -> None:
    assert is_open(NOON)
    assert is_open(NOON + 24 * HOUR_S - 1)
    assert not is_open(NOON + 24 * HOUR_S)


def test_it_is_as_long_as_the_source_says() -> None:
    assert is_open(NOON + HOUR_S - 1, captureFor="1h")
    assert not is_open(NOON + HOUR_S, captureFor="1h")


@pytest.mark.parametrize("begun", ["2026-11-30T12:00:00Z", "2026-11-30T13:00:00+01:00", "2026-11-30T12:00:00"])
def test_it_begins_anew_when_somebody_says_so(begun: str) -> None:
    assert is_open(NOON + 49 * HOUR_S, begun)
    assert not is_open(NOON + 72 * HOUR_S, begun)


@pytest.mark.parametrize("begun", ["now", "2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"])
def test_what_is_no_time_or_one_far_ahead_opens_nothing_and_an_early_one_closes_nothing(begun: str) -> None:
    assert not is_open(NOON + 49 * HOUR_S, begun)
    assert is_open(NOON + HOUR_S, begun)


def said(filled: int) -> Verdict:
    over = closed(source(captureFor="1h"), metadata(), NOON + 2 * HOUR_S)
    capture = Capture(empty=("asana-webhook/secret",), filled=filled, closed=over)
    return conditions(source(), Observed(capture=capture))["SecretCaptured"]


def test_the_condition_says_when_it_closed_and_how_it_is_opened_again() -> None:
    verdict = said(filled=0)
    assert verdict[:2] == ("False", "CaptureClosed")
    assert "since 2026-11-28T13:00:00Z" in verdict.message
    assert 'kubectl annotate whs asana -n work --overwrite forebay.dev/capture-from="$(date -u' in verdict.message


def test_a_source_that_has_a_secret_already_stays_as_it_is() -> None:
    assert said(filled=1)[:2] == ("True", "Captured")
