"""What the dashboard of a source shows: its panels, row by row, from the endpoint to the broker. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from forebay.source import WebhookSource
from forebay.source.deduplication import Deduplication
from forebay_operator.desired.prometheus_rule import NEARLY_FULL, SLOW_CONFIRM_S, series, share_refused
from forebay_operator.desired.worker_settings import paces

_RANGE = "$__rate_interval"  # Grafana's: four scrapes, or a pixel if that is more


class Panel(NamedTuple):
    """One picture."""

    title: str
    about: str
    unit: str  # in Grafana's words
    lines: dict[str, str]  # legend → expression
    alerts: tuple[str, ...] = ()  # whose runbooks it leads to; the limit is that of the first
    limit: float | None = None  # red from here on
    kind: str = "timeseries"
    stacked: bool = False


class Row(NamedTuple):
    """Panels side by side, under a heading."""

    title: str
    panels: list[Panel]


def rows(source: WebhookSource) -> list[Row]:
    """All panels, from the endpoint to the broker."""
    paced = list(_paced(source))
    return [
        Row("Now", _now(source)),
        Row("Received", _received(source)),
        *([Row("Duplicates", _duplicates(source, wanted))] if (wanted := source.spec.ingest.deduplication) else []),
        *([Row("Outage buffer", _sheltered(source))] if source.spec.ingest.outage_buffer else []),
        Row("Queued", _queued(source)),
        Row("Delivered", _delivered(source)),
        *([Row("Paced", paced)] if paced else []),
        Row("Tried again and given up", _given_up(source)),
        Row("Broker", _broker(source)),
    ]


def _rate(source: WebhookSource, name: str, by: str = "") -> str:
    return f"sum{by and f' by ({by})'}(rate({series(source, name)}[{_RANGE}]))"


def _seen(source: WebhookSource, name: str, by: str) -> str:
    """Only what happens: a part tells all its causes from the start, and twenty lines at 0 hide the one that is not."""
    return f"{_rate(source, name, by)} > 0"


def _quantile(source: WebhookSource, name: str, share: float) -> str:
    return f"histogram_quantile({share:g}, {_rate(source, f'{name}_bucket', 'le')})"


def _greatest(source: WebhookSource, name: str, by: str = "") -> str:
    """Of what several processes tell alike."""
    return f"max{by and f' by ({by})'}({series(source, name)})"


def _now(source: WebhookSource) -> list[Panel]:
    alerts = source.spec.monitoring.alerts
    seconds = "forebay_ingest_confirm_seconds"
    found = [
        Panel("Accepted", "Webhooks answered 2xx: the broker has them.", "reqps", {"": _rate(source, "forebay_ingest_accepted_total")}),
        Panel("Refused", "Share of the requests of ten minutes that were not answered 2xx.", "percentunit",
              {"": share_refused(source)}, ("ForebayWebhooksRefused",), alerts.refused_percent / 100),
        Panel("Waiting", "Webhooks in all queues.", "short", {"": f"sum({_greatest(source, 'forebay_queue_messages', 'queue')})"}),
        Panel("Oldest", "How long the webhook has waited that is tried now for the first time.", "s",
              {"": _greatest(source, "forebay_oldest_age_seconds")}, ("ForebayOldestWebhookAge",), round(alerts.oldest_age)),
        Panel("Dead letters", "Webhooks that were given up and wait for somebody to look at them.", "short",
              {"": _greatest(source, "forebay_dead_letter_queue_messages")}, ("ForebayDeadLetters",), alerts.dead_letters),
        Panel("Confirm, p99", "All but one of a hundred webhooks were confirmed, and answered, in this time.", "s",
              {"": _quantile(source, seconds, 0.99)}, ("ForebayConfirmSlow",), SLOW_CONFIRM_S),
    ]  # fmt: skip
    return [panel._replace(kind="stat") for panel in found]


def _received(source: WebhookSource) -> list[Panel]:
    refused, accepted = "forebay_ingest_refused_total", "forebay_ingest_accepted_total"
    return [
        Panel(
            "Requests, by answer",
            "What senders were told. 2xx: it is safe. 5xx: the fault is ours, and the provider is to send again.",
            "reqps",
            {"2xx": _rate(source, accepted), "{{status}}": _seen(source, refused, "status")},
            ("ForebayIngestFailing", "ForebayIngestUnavailable"),
            stacked=True,
        ),
        Panel(
            "Accepted, by queue",
            "Webhooks the broker has confirmed, by the queue that took them. None for long: does the provider still send?",
            "reqps",
            {"{{queue}}": _rate(source, accepted, "queue")},
            ("ForebayNoWebhooks",),
            stacked=True,
        ),
        Panel(
            "Refused, by cause",
            "Why requests got anything but 2xx. What the causes mean is in the runbooks.",
            "reqps",
            {"{{cause}}": _seen(source, refused, "cause")},
            ("ForebayWebhooksRefused", "ForebayLimitsExceeded"),
            stacked=True,
        ),
        Panel(
            "Share refused",
            "Of the requests of ten minutes: all that were refused, and those whose signature did not verify.",
            "percentunit",
            {"all": share_refused(source), "signature": share_refused(source, "401|403")},
            ("ForebayWebhooksRefused", "ForebaySignaturesRefused"),
            source.spec.monitoring.alerts.refused_percent / 100,
        ),
    ]


def _duplicates(source: WebhookSource, wanted: Deduplication) -> list[Panel]:
    accepted, dropped = (series(source, name) for name in ("forebay_ingest_accepted_total", "forebay_duplicates_total"))
    both = f"(sum(rate({dropped}[{_RANGE}])) + sum(rate({accepted}[{_RANGE}])))"
    return [
        Panel(
            "Duplicates",
            "Webhooks that came before and were not delivered again, and such as have nothing to tell them by.",
            "reqps",
            {
                "dropped": _rate(source, "forebay_duplicates_total"),
                "without an id": _rate(source, "forebay_duplicates_unidentified_total"),
            },
        ),
        Panel(
            "Share of duplicates",
            "Of all webhooks that verified. Much of it means that the provider does not hear our answers in time.",
            "percentunit",
            {"": f"sum(rate({dropped}[{_RANGE}])) / {both}"},
        ),
        Panel(
            "Remembered",
            "What the fullest endpoint remembers. At the red line the oldest are forgotten before the window ends.",
            "short",
            {"ids": _greatest(source, "forebay_seen")},
            ("ForebaySeenCutShort",),
            wanted.max_ids,
        ),
        Panel(
            "Stream of what was seen",
            "Whether endpoints hear of what came to others, and whether they have read all of the window.",
            "none",
            {
                "shared": f"min({series(source, 'forebay_seen_shared')})",
                "complete": f"min({series(source, 'forebay_seen_complete')})",
            },
            ("ForebaySeenNotShared",),
            kind="state-timeline",
        ),
    ]


def _sheltered(source: WebhookSource) -> list[Panel]:
    def own(metric: str) -> str:
        return series(source, f"forebay_outage_buffer_{metric}")

    return [
        Panel(
            "Kept while the broker is away",
            "Bytes that all endpoints have in the storage: webhooks that were answered 2xx and are in no queue yet.",
            "bytes",
            {"held": f"sum({own('bytes')})"},
            ("ForebayOutageBufferNotEmptied",),
            stacked=True,
        ),
        Panel(
            "How full",
            "Of the fullest endpoint: bytes of maxBytes, and the age of its oldest webhook of maxAge. At 100 % it answers 503.",
            "percentunit",
            {
                "bytes": f"max({own('bytes')} / {own('max_bytes')})",
                "age": f"max({own('oldest_seconds')} / {own('max_seconds')})",
            },
            ("ForebayOutageBufferFilling",),
            NEARLY_FULL,
        ),
        Panel(
            "Oldest in the buffer",
            "How long the oldest webhook has waited for the broker. When the broker is back it falls to nothing.",
            "s",
            {"": f"max({own('oldest_seconds')})"},
            ("ForebayOutageBufferNotEmptied",),
        ),
        Panel(
            "Into the buffer and out of it",
            "Webhooks that were kept, and such as went from there into their queues. Where more come than go, it does not empty.",
            "reqps",
            {
                "kept": _rate(source, "forebay_outage_buffered_total"),
                "queued": _rate(source, "forebay_outage_drained_total"),
            },
        ),
    ]


def _queued(source: WebhookSource) -> list[Panel]:
    return [
        Panel(
            "Waiting, by queue",
            "Webhooks in each queue. A burst makes a hill; a slope that does not end means more come than are delivered.",
            "short",
            {"{{queue}}": _greatest(source, "forebay_queue_messages", "queue")},
            stacked=True,
        ),
        Panel(
            "Oldest webhook, by queue",
            "How long the webhook has waited that is tried now for the first time. This is what the destination sees as delay.",
            "s",
            {"{{queue}}": _greatest(source, "forebay_oldest_age_seconds", "queue")},
            ("ForebayOldestWebhookAge",),
            round(source.spec.monitoring.alerts.oldest_age),
        ),
    ]


def _delivered(source: WebhookSource) -> list[Panel]:
    seconds = "forebay_delivery_seconds"
    return [
        Panel(
            "Attempts, by outcome",
            "Deliveries that ended, by what the destination made of them. All but delivered is tried again or given up.",
            "ops",
            {"{{outcome}}": _seen(source, "forebay_delivery_attempts_total", "outcome")},
            stacked=True,
        ),
        Panel(
            "Time of an attempt",
            "How long the destination takes: half of the attempts, and all but one of a hundred, are shorter.",
            "s",
            {"p50": _quantile(source, seconds, 0.5), "p99": _quantile(source, seconds, 0.99)},
            ("ForebayOldestWebhookAge",),
        ),
        Panel(
            "At work",
            "Deliveries under way, and how many may be at a time. Where both are the same, the destination sets the pace: "
            "more concurrency or replicas would deliver more, if it bears that.",
            "short",
            {
                "under way": f"sum({series(source, 'forebay_in_flight')})",
                "possible": f"sum({series(source, 'forebay_concurrency')})",
            },
        ),
    ]


def _paced(source: WebhookSource) -> Iterator[Panel]:
    """Of a source that paces its deliveries: what keeps them back."""
    worker, permitted = source.spec.worker, bool(paces(source))
    if worker.circuit_breaker or permitted or worker.ordering or worker.fairness:
        yield _holding(source)
    if permitted:
        seconds = "forebay_permit_wait_seconds"
        yield Panel(
            "Wait for a permit",
            "How long deliveries wait in a worker's hands for the rate limit and for maxInFlight. They spend no attempt meanwhile.",
            "s",
            {"p50": _quantile(source, seconds, 0.5), "p99": _quantile(source, seconds, 0.99)},
            ("ForebayOldestWebhookAge",),
        )
    if worker.ordering:
        yield Panel(
            "Keys that wait",
            "Keys of which one webhook is tried again while those behind it wait; held: until somebody does something.",
            "short",
            {
                "wait": f"sum({series(source, 'forebay_keys_waiting')})",
                "held": f"sum({series(source, 'forebay_keys_held')})",
            },
            ("ForebayKeysHeld",),
        )
    if worker.fairness:
        yield Panel(
            "Put aside",
            "Webhooks of keys that send much more than the others, which went to the lane beside the queue.",
            "reqps",
            {"webhooks": _rate(source, "forebay_ingest_busy_total")},
        )


def _holding(source: WebhookSource) -> Panel:
    """Counts workers: the seconds that are left say less over time, and may be endless."""
    lines = {"{{reason}}": f"count by (reason) ({series(source, 'forebay_hold_seconds')} > 0)"}
    if source.spec.worker.circuit_breaker:
        lines["breaker, half-open"] = f"count({series(source, 'forebay_breaker_state')} == 1)"
    return Panel(
        "Workers that hold",
        "Workers that take nothing from their queue at present, and why: breaker, retry-after, rate-limit, suspended. "
        "Half-open ones try one webhook at a time.",
        "short",
        lines,
        ("ForebayBreakerOpen",) if source.spec.worker.circuit_breaker else (),
        stacked=True,
    )


def _given_up(source: WebhookSource) -> list[Panel]:
    dead = series(source, "forebay_dead_letters_total")
    return [
        Panel(
            "Retries, by queue",
            "Webhooks put aside to be tried again later. They wait in the broker and hold up no worker.",
            "ops",
            {"{{queue}}": _rate(source, "forebay_retries_total", "queue")},
            ("ForebayRetriesExhausted",),
            stacked=True,
        ),
        Panel(
            "Given up, by reason",
            "Webhooks that became dead letters. exhausted and expired: the destination failed for longer than spec.retry allows.",
            "short",
            {"{{reason}}": f"sum by (reason)(increase({dead}[{_RANGE}])) > 0"},
            ("ForebayRetriesExhausted",),
            stacked=True,
        ),
        Panel(
            "Dead letters",
            "Those that wait now. Nothing is lost: look at them with forebay dlq list, then replay or discard them.",
            "short",
            {"waiting": _greatest(source, "forebay_dead_letter_queue_messages")},
            ("ForebayDeadLetters", "ForebayDeadLettersGrowing"),
            source.spec.monitoring.alerts.dead_letters,
        ),
    ]


def _broker(source: WebhookSource) -> list[Panel]:
    seconds = "forebay_ingest_confirm_seconds"
    return [
        Panel(
            "Time to the confirm",
            "From the whole request to the broker's word that it is safe; the sender waits for so long.",
            "s",
            {"p50": _quantile(source, seconds, 0.5), "p99": _quantile(source, seconds, 0.99)},
            ("ForebayConfirmSlow",),
            SLOW_CONFIRM_S,
        ),
        Panel(
            "Broker",
            "Whether every endpoint is connected, and whether the broker takes messages (no memory or disk alarm). "
            "Where it says no, webhooks are answered 503.",
            "none",
            {
                "connected": f"min({series(source, 'forebay_ingest_broker_up')})",
                "takes messages": f"1 - max({series(source, 'forebay_ingest_broker_blocked')})",
            },
            ("ForebayBrokerUnreachable", "ForebayBrokerBlocked"),
            kind="state-timeline",
        ),
        Panel(
            "Faults",
            "Retries and dead letters that the broker did not confirm, by cause, and faults of Forebay itself. "
            "Each such webhook comes again. All of it is 0 on a good day.",
            "ops",
            {
                "{{cause}}": _seen(source, "forebay_settle_failures_total", "cause"),
                "Forebay": _rate(source, "forebay_worker_faults_total"),
            },
            ("ForebayBrokerUnreachable",),
        ),
    ]
