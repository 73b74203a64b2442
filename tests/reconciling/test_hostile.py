"""Manifests that are meant to break something: refused with a reason, or taken with everything valid; others go on."""

from functools import partial
from typing import Any

import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Answer, Api, OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

_MEANT = "!#$%&'()*+,-./:;<=>?@[]^_`{|}~\"\\"  # to AMQP, PromQL, YAML, templates and regular expressions
_LONG_HOST = ".".join(["h" * 63] * 3 + ["h" * 61])  # 253 characters


def _queue(name: str, *event_types: str) -> dict[str, Any]:
    return {"name": name, "match": {"eventTypes": list(event_types)}}


def _exposed(host: str) -> dict[str, Any]:
    return {"ingress": {"className": "nginx", "host": host}}


REFUSED = [
    pytest.param(source("a.b"), "metadata.name", id="a dot in the name"),
    pytest.param(source("n" * 64), "metadata.name", id="64 characters of name"),
    pytest.param(source("n" * 253), "metadata.name", id="253 characters of name"),
    pytest.param(source('a"b'), "metadata.name", id="a quote in the name"),
    pytest.param(source("grüße"), "metadata.name", id="a name that is not ASCII"),
    pytest.param(source("a-worker-b"), "-worker at the end of the name or within", id="a worker's name"),
    pytest.param(source(metadata__labels={"a": 'b"} or up{'}), "metadata.labels", id="PromQL in a label"),
    pytest.param(source(spec__queues=[_queue(f"q{n}", f"e{n}") for n in range(300)]), "spec.queues", id="300 queues"),
    pytest.param(
        source(spec__queues=[_queue("q", *(f"e{n}" for n in range(900)))]), "eventTypes", id="900 event types"
    ),
    pytest.param(source(spec__queues=[_queue("q", "x" * 1_000_000)]), "eventTypes", id="a megabyte of event type"),
    pytest.param(source(spec__queues=[_queue("q", "a\nb")]), "eventTypes", id="two lines of event type"),
    pytest.param(source(spec__queues=[_queue("q", "größe")]), "eventTypes", id="an event type that is not ASCII"),
    pytest.param(source(spec__queues=[_queue("q.#", "a")]), "spec.queues[0].name", id="AMQP in a queue's name"),
    pytest.param(source(spec__queues=[_queue("q" * 64, "a")]), "spec.queues[0].name", id="a queue's name of 64"),
    pytest.param(source(spec__queues=[_queue("dead", "a")]), "the name of the dead-letter queue", id="queue dead"),
    pytest.param(source(spec__queues=[_queue("q", "a"), _queue("q", "b")]), "Duplicate value", id="a queue twice"),
    pytest.param(source(spec__ingest__path="/a\n  b: c"), "spec.ingest.path", id="YAML in the path"),
    pytest.param(source(spec__ingest__path="/../a"), "spec.ingest.path", id="a way out of the path"),
    pytest.param(source(spec__ingest__expose=_exposed("a b")), "host", id="a space in the host"),
    pytest.param(source(spec__ingest__expose=_exposed("bücher.example")), "host", id="a host that is not ASCII"),
    pytest.param(source(spec__ingest__expose=_exposed("h" * 254)), "host", id="254 characters of host"),
    pytest.param(
        source(spec__worker__destination__headers=[{"name": "a: b\r\nc", "value": "d"}]), "headers[0].name",
        id="a header's name with a line of its own",
    ),
    pytest.param(
        source(spec__worker__destination__headers=[{"name": "a", "value": "b\r\nc: d"}]), "headers[0].value",
        id="a header's value with a line of its own",
    ),
    pytest.param(
        source(spec__worker__handler={"image": "a", "target": "b:c"}), "give exactly one of destination and handler",
        id="destination and handler",
    ),
    pytest.param(source(spec__ingest__replicas=10**9), "spec.ingest.replicas", id="too many replicas"),
]  # fmt: skip

TAKEN = {
    "a long name": source("n" * 40),
    "a hundred kilobytes of annotation": source(metadata__annotations={"x.example/y": "ü\n\"'{{" * 20_000}),
    "the longest label": source(metadata__labels={"x.example/" + "k" * 63: "v" * 63}),
    "as many and as long event types as there may be": source(
        spec__queues=[_queue(f"q{n}", *(f"{n}.{m}".ljust(128, "x") for m in range(64))) for n in range(15)]
    ),
    "event types of signs": source(spec__queues=[_queue("q", f"a{_MEANT.replace('*', '')}")]),
    "the longest path": source(spec__ingest__path="/" + "p" * 199),
    "a path of signs": source(spec__ingest__path="/~!$&'()*+,;=:@-"),
    "the longest host": source(spec__ingest__expose=_exposed(_LONG_HOST)),
    "headers of signs": source(
        spec__worker__destination__headers=[{"name": "X-!#$%&'*+.^_`|~", "value": "{{ $x }} %d ${A} $(B)"}]
    ),
}


@pytest.mark.parametrize(("hostile", "why"), REFUSED)
async def test_what_can_not_be_is_refused_with_its_place(api: Api, hostile: dict[str, Any], why: str) -> None:
    with pytest.raises(Answer) as refused:
        await api.create(hostile)
    assert refused.value.status == 422
    assert why in refused.value.message


async def test_what_can_be_is_settled_with_valid_objects_and_others_go_on(place: Api, running: OperatorProcess) -> None:
    names = {what: f"h{number}" if number else "n" * 40 for number, what in enumerate(TAKEN)}
    for what, name in names.items():
        hostile = TAKEN[what]
        await place.create({**hostile, "metadata": {**hostile["metadata"], "name": name}})
    await place.apply(source("usual"))
    await place.until("usual", "TopologyReady", "True", within_s=60)
    for what, name in names.items():
        await place.until(name, "TopologyReady", "True", within_s=30)
        accepted = (await place.conditions(name))["Accepted"]
        assert accepted["status"] == "True", (what, accepted)
        for deployment in (f"{name}-ingest", f"{name}-worker-default"):
            await eventually(partial(place.find, "Deployment", deployment), within_s=20)
    assert running.status is None
    assert "reconcile failed" not in running.log.read_text()
