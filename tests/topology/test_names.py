"""What a source is called on the broker, what its queues promise, and who may touch what."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.topology import (
    DEAD_POLICY,
    DELAY_EXCHANGE,
    DELIVERY_LIMIT,
    ORPHANS,
    RETURN_EXCHANGE,
    SEEN_POLICY,
    TIERS,
    BrokerObject,
    Names,
    Retention,
    SourceTopology,
    delay_key,
    ingest_user,
    shared_objects,
    source_objects,
    tier_for,
    tier_queue,
    worker_user,
)

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.builds(Names, LABELS, LABELS)
QUEUES = LABELS.filter(lambda queue: queue != "dead")
GITHUB = Names.of("payments/github")


def objects(kind: str, found: list[BrokerObject]) -> dict[str, Any]:
    return {item.name: item.body for item in found if item.kind == kind}


def test_names_are_what_people_find_in_the_management_ui() -> None:
    assert GITHUB.exchange == "forebay.payments.github"
    assert GITHUB.queue() == "forebay.payments.github.default"
    assert GITHUB.queue("urgent") == "forebay.payments.github.urgent"
    assert GITHUB.dead == "forebay.payments.github.dead"


@given(NAMES, QUEUES, NAMES, QUEUES)
def test_no_two_queues_share_a_name(one: Names, queue: str, other: Names, another: str) -> None:
    assert (one.queue(queue) == other.queue(another)) == ((one, queue) == (other, another))
    assert one.queue(queue) not in (other.dead, other.exchange, ORPHANS, RETURN_EXCHANGE, DELAY_EXCHANGE)


@given(st.floats(0, TIERS[-1]))
def test_a_tier_is_never_shorter_than_the_delay_and_at_most_twice_as_long(delay: float) -> None:
    tier = tier_for(delay)
    assert tier in TIERS
    assert tier >= delay
    assert tier <= max(1, 2 * delay)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_longer_delay_never_gets_a_shorter_tier(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert tier_for(low) <= tier_for(high)


def test_a_delay_beyond_all_tiers_gets_the_longest() -> None:
    assert tier_for(1e12) == TIERS[-1] == 86_400
    assert tier_for(7, (10, 5)) == 10


def test_every_durable_queue_is_a_quorum_queue() -> None:
    found = objects("queue", [*shared_objects("/"), *source_objects("/", SourceTopology(names=GITHUB))])
    assert len(found) == len(TIERS) + 1 + 2
    for body in found.values():
        assert body["durable"]
        assert not body["auto_delete"]
        assert body["arguments"]["x-queue-type"] == "quorum"


def test_no_queue_that_a_tier_feeds_can_be_full_and_what_the_broker_buries_is_never_lost() -> None:
    found = objects("queue", source_objects("/", SourceTopology(names=GITHUB, queues=("default", "urgent"))))
    for queue in ("default", "urgent"):
        arguments = found[GITHUB.queue(queue)]["arguments"]
        assert not {"x-max-length", "x-max-length-bytes", "x-message-ttl"} & arguments.keys()
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-delivery-limit"] == DELIVERY_LIMIT
        assert (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"]) == (
            GITHUB.exchange,
            GITHUB.dead,
        )
    assert found[GITHUB.dead]["arguments"] == {"x-queue-type": "quorum"}


def test_tiers_hand_back_at_least_once_through_an_exchange_that_keeps_what_it_can_not_route() -> None:
    shared = shared_objects("/")
    queues, exchanges = objects("queue", shared), objects("exchange", shared)
    for tier in TIERS:
        assert queues[tier_queue(tier)]["arguments"] == {
            "x-queue-type": "quorum", "x-message-ttl": tier * 1000, "x-dead-letter-exchange": RETURN_EXCHANGE,
            "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
        }  # fmt: skip
    assert exchanges[RETURN_EXCHANGE]["arguments"] == {"alternate-exchange": ORPHANS}
    assert exchanges[DELAY_EXCHANGE]["type"] == exchanges[RETURN_EXCHANGE]["type"] == "topic"


def topic_matches(pattern: str, key: str) -> bool:
    """https://www.rabbitmq.com/tutorials/tutorial-five-python#topic-exchange"""
    regex = re.escape(pattern).replace(r"\*", "[^.]*").replace(r"\.\#", r"(\..*)?")
    return re.fullmatch(regex, key) is not None


@given(NAMES, QUEUES, st.sampled_from(TIERS), NAMES, QUEUES)
def test_a_delayed_message_goes_through_its_tier_back_to_its_own_queue(
    names: Names, queue: str, tier: int, other: Names, another: str
) -> None:
    key = delay_key(tier, names.queue(queue))
    bindings = [item for item in shared_objects("/") if item.kind == "binding" and item.name.startswith(DELAY_EXCHANGE)]
    through = [item.name for item in bindings if topic_matches(str(item.body["routing_key"]), key)]
    assert through == [f"{DELAY_EXCHANGE} -> {tier_queue(tier)}"]
    for candidate, name in ((other, another), (names, queue)):
        topology = SourceTopology(names=candidate, queues=(name,))
        back = [item for item in source_objects("/", topology) if item.name.startswith(f"{RETURN_EXCHANGE} -> ")]
        assert [topic_matches(str(item.body["routing_key"]), key) for item in back] == [
            (candidate, name) == (names, queue)
        ]


@pytest.mark.parametrize(
    ("retention", "definition"),
    [
        (Retention(age_s=60), {"message-ttl": 60_000, "overflow": "drop-head"}),
        (Retention(count=5, bytes=100), {"max-length": 5, "max-length-bytes": 100, "overflow": "drop-head"}),
    ],
)
def test_dead_letters_are_dropped_only_by_what_somebody_decided(
    retention: Retention, definition: dict[str, object]
) -> None:
    policies = objects("policy", source_objects("/", SourceTopology(names=GITHUB, retention=retention)))
    policy = policies[GITHUB.dead]
    assert policy["definition"] == {"delivery-limit": 1_000_000_000, **definition}
    assert policy["apply-to"] == "queues"


@given(NAMES, QUEUES)
def test_dead_letters_that_nothing_bounds_need_no_policy_of_their_own(names: Names, queue: str) -> None:
    assert not objects("policy", source_objects("/", SourceTopology(names=names)))
    policy = objects("policy", shared_objects("/"))[DEAD_POLICY]
    assert policy["definition"] == {"delivery-limit": 1_000_000_000}
    assert re.search(policy["pattern"], names.dead)
    assert re.search(policy["pattern"], ORPHANS)
    for name in (names.queue(queue), names.dead + "x", "x" + names.dead, *(tier_queue(tier) for tier in TIERS)):
        assert not re.search(policy["pattern"], name)


@given(NAMES, NAMES)
def test_a_policy_concerns_its_own_dead_letters_only_and_wins_over_the_shared_one(names: Names, other: Names) -> None:
    bounded = SourceTopology(names=names, retention=Retention(count=5))
    (policy,) = objects("policy", source_objects("/", bounded)).values()
    shared = objects("policy", shared_objects("/"))[DEAD_POLICY]
    assert policy["priority"] > shared["priority"]
    for name in (other.dead, names.queue(), names.dead + "x", "x" + names.dead, names.dead.replace(".", "x")):
        assert bool(re.search(policy["pattern"], name)) == (name == names.dead)


@given(NAMES, NAMES, QUEUES)
def test_what_was_seen_is_kept_for_the_window_in_a_stream_that_nothing_takes_for_a_queue(
    names: Names, other: Names, queue: str
) -> None:
    shared = objects("policy", shared_objects("/"))[SEEN_POLICY]
    assert shared["definition"]["max-age"] == "86400s"
    assert re.search(shared["pattern"], names.seen)
    for name in (names.queue(queue), names.dead, names.seen + "x", ORPHANS, *(tier_queue(tier) for tier in TIERS)):
        assert not re.search(shared["pattern"], name)
    assert names.seen not in (other.queue(queue), other.dead)
    assert not allows(objects("permission", worker_user("/", names, "user", "p"))["user"]["read"], names.seen)
    wanted = SourceTopology(names=names, seen_s=86_400)
    assert objects("queue", source_objects("/", wanted))[names.seen]["arguments"] == {"x-queue-type": "stream"}
    assert not objects("policy", source_objects("/", wanted))
    (longer,) = objects("policy", source_objects("/", replace(wanted, seen_s=86_401))).values()
    assert longer["definition"]["max-age"] == "86401s"
    assert longer["priority"] > shared["priority"]
    assert bool(re.search(longer["pattern"], other.seen)) == (other == names)


@given(NAMES, NAMES, QUEUES)
def test_an_ingest_can_write_to_its_own_exchange_follow_what_was_seen_and_do_nothing_else(
    names: Names, other: Names, queue: str
) -> None:
    permission = objects("permission", ingest_user("/", names, "user", "password"))["user"]
    assert allows(permission["write"], names.exchange)
    for name in (names.queue(queue), names.dead, "amq.default", "amq.topic", DELAY_EXCHANGE, RETURN_EXCHANGE):
        assert not any(allows(permission[right], name) for right in ("configure", "write", "read"))
    assert allows(permission["write"], other.exchange) == (other == names)
    assert not allows(permission["read"], names.exchange)
    assert allows(permission["read"], names.seen)
    assert allows(permission["read"], other.seen) == (other == names)
    assert not any(allows(permission[right], names.seen) for right in ("configure", "write"))


@given(NAMES, NAMES, QUEUES, st.sampled_from(TIERS))
def test_a_worker_can_read_its_own_queues_and_delay_its_own_messages(
    names: Names, other: Names, queue: str, tier: int
) -> None:
    found = worker_user("/", names, "user", "password")
    permission, topic = objects("permission", found)["user"], objects("topic-permission", found)["user"]
    assert allows(permission["read"], names.queue(queue))
    assert allows(permission["read"], names.dead)
    assert allows(permission["write"], names.exchange)
    assert allows(permission["write"], DELAY_EXCHANGE)
    assert topic["exchange"] == DELAY_EXCHANGE
    assert allows(topic["write"], delay_key(tier, names.queue(queue)))
    own = other == names
    assert allows(permission["read"], other.queue(queue)) == own
    assert allows(permission["write"], other.exchange) == own
    assert allows(topic["write"], delay_key(tier, other.queue(queue))) == own
    for name in ("amq.default", RETURN_EXCHANGE, ORPHANS, tier_queue(tier)):
        assert not any(allows(permission[right], name) for right in ("configure", "write", "read"))
    assert not allows(permission["configure"], names.queue(queue))


@pytest.mark.parametrize(
    "name", ["forebayxpayments.github", "forebay.payments.github2", "xforebay.payments.github", "forebay.payments"]
)
def test_a_name_that_only_looks_alike_is_not_ones_own(name: str) -> None:
    for user in (ingest_user, worker_user):
        assert not allows(objects("permission", user("/", GITHUB, "user", "password"))["user"]["write"], name)


def allows(pattern: str, name: str) -> bool:
    return re.search(pattern, name) is not None


@given(st.text(min_size=1, max_size=8), NAMES)
def test_paths_are_safe_whatever_the_virtual_host_is_called(vhost: str, names: Names) -> None:
    for item in [*source_objects(vhost, SourceTopology(names=names)), *ingest_user(vhost, names, "a/b c", "p")]:
        assert re.fullmatch(r"[A-Za-z0-9%._~/-]+", item.path)
        assert "a/b" not in item.path


def test_a_password_is_in_no_name_and_no_path() -> None:
    for item in [*ingest_user("/", GITHUB, "user", "hunter2"), *worker_user("/", GITHUB, "user", "hunter2")]:
        assert "hunter2" not in item.name + item.path


def test_the_policy_of_the_dead_letters_comes_before_their_queue() -> None:
    kinds = [item.kind for item in source_objects("/", SourceTopology(names=GITHUB, retention=Retention(count=5)))]
    assert kinds.index("exchange") < kinds.index("policy") < kinds.index("queue") < kinds.index("binding")
