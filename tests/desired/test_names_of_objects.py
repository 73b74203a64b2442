"""Names of sources and queues become names on the broker and of objects: no two share one, and none is too long."""

from itertools import product

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forebay.errors import SpecError
from forebay.manifest import read_source
from forebay.source import WebhookSource
from forebay.topology import TIERS, BrokerObject, delay_key, ingest_user, source_objects, worker_user
from forebay_operator.desired import CHILD_KINDS, OPTIONAL_APIS, Platform, broker_secret, desired, source_topology
from tests.support.sources import manifest

# Names of few words, so that they meet where they can, and very long ones.
_WORDS = st.lists(st.sampled_from(["a", "b", "worker", "ingest", "dead", "broker", "default"]), min_size=1, max_size=4)
_LONG = st.integers(1, 63).map(lambda length: "x" * length)
_NAMES = _WORDS.map("-".join) | _LONG
_SHORT_STRING, _LABEL = 255, 63  # AMQP's and Kubernetes' bounds, in bytes


def _source(namespace: str, name: str, queue: str) -> WebhookSource | None:
    """None where the model refuses it, as the API server does."""
    queues = [{"name": queue, "match": {"eventTypes": ["push"]}}]
    given = manifest(metadata__name=name, spec__queues=queues)
    given["metadata"]["namespace"] = namespace
    try:
        return read_source(given)
    except SpecError:
        return None


def _on_the_broker(source: WebhookSource) -> list[BrokerObject]:
    topology = source_topology(source)
    base = topology.names.exchange
    users = [
        *ingest_user("/", topology.names, f"{base}.ingest.01234567", ""),
        *worker_user("/", topology.names, f"{base}.worker.01234567", ""),
    ]
    return [*source_objects("/", topology), *users]


def _objects(source: WebhookSource) -> set[tuple[str, str, str]]:
    children = desired(source, Platform(apis=frozenset(OPTIONAL_APIS)))
    secrets = [("Secret", source.namespace, broker_secret(source, one)) for one in ("ingest", "worker")]
    return {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in children} | {*secrets}


@given(st.tuples(_NAMES, _NAMES, _NAMES), st.tuples(_NAMES, _NAMES, _NAMES))
@settings(max_examples=150, deadline=None)
def test_no_two_sources_share_a_name(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assume(one[:2] != other[:2])
    for first, second in product((_source(*one),), (_source(*other),)):
        assume(first is not None)
        assume(second is not None)
        assert first is not None
        assert second is not None
        mine = {(item.kind, item.name) for item in _on_the_broker(first)}
        theirs = {(item.kind, item.name) for item in _on_the_broker(second)}
        assert not mine & theirs
        assert not _objects(first) & _objects(second)


@given(_NAMES, _NAMES, _NAMES)
@settings(max_examples=100, deadline=None)
def test_no_name_is_longer_than_where_it_is_to_go(namespace: str, name: str, queue: str) -> None:
    source = _source(namespace, name, queue)
    assume(source is not None)
    assert source is not None
    for item in _on_the_broker(source):
        assert len(item.name) <= _SHORT_STRING or item.kind == "binding"
        if item.kind == "queue":
            assert len(delay_key(max(TIERS), item.name)) <= _SHORT_STRING
    for child in desired(source, Platform(apis=frozenset(OPTIONAL_APIS))):
        limit = 63 if child["kind"] == "Service" else 253
        assert len(child["metadata"]["name"]) <= limit
        # A Deployment's pods get a hash and five letters more; their names are host names.
        assert child["kind"] != "Deployment" or len(child["metadata"]["name"]) <= _LABEL
        assert all(len(value) <= _LABEL for value in child["metadata"]["labels"].values())
    assert {(child["apiVersion"], child["kind"]) for child in desired(source, Platform())} <= {*CHILD_KINDS}
