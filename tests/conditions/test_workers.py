"""What is said of the workers beyond whether they run: where their settings would not let them rest."""

import pytest

from forebay.manifest import parse, read_source
from forebay_operator.conditions import Observed, Verdict, conditions
from forebay_operator.world import Progress
from tests.support.sources import manifest

RUNS, RESTS = Progress(ready=1, wanted=1, rolled_out=True), Progress(ready=0, wanted=0, rolled_out=True)


def said(cooldown: str, workers: Progress) -> dict[str, Verdict]:
    """The conditions of a source whose workers scale."""
    scaling = {"minReplicas": 0, "cooldown": cooldown}
    source = read_source(
        manifest(metadata={"name": "github", "namespace": "payments"}, spec__worker__autoscaling=scaling)
    )
    return conditions(source, Observed(ingest=RUNS, workers={"default": workers}, dead=0))


@pytest.mark.parametrize("workers", [RUNS, RESTS])
def test_a_cooldown_that_ends_before_keda_looks_again_is_said_and_the_source_stays_ready(workers: Progress) -> None:
    found = said("10s", workers)
    assert found["WorkersAvailable"][:2] == ("True", "ShortCooldown")
    assert "worker.autoscaling.cooldown is 10s" in found["WorkersAvailable"].message
    assert found["Ready"].status == "True"
    assert found["Reconciling"].status == "False"


def test_of_a_longer_cooldown_nothing_is_said() -> None:
    assert said("11s", RUNS)["WorkersAvailable"].reason == "Available"
    assert said("11s", RESTS)["WorkersAvailable"].reason == "ScaledToZero"


@pytest.mark.parametrize(("cooldown", "notes"), [("10s", 1), ("11s", 0)])
def test_validate_says_it_too(cooldown: str, notes: int) -> None:
    found = parse(SCALED.format(cooldown=cooldown)).notes
    assert len(found) == notes
    assert all(note.startswith("default/github: worker.autoscaling.cooldown is 10s") for note in found)


SCALED = """\
apiVersion: forebay.dev/v1alpha1
kind: WebhookSource
metadata: {{name: github}}
spec:
  ingest: {{verification: {{provider: None}}}}
  worker:
    destination: {{url: "http://orders.svc/webhooks"}}
    autoscaling: {{cooldown: {cooldown}}}
"""
