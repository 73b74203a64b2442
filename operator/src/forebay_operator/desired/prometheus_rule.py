"""When to call somebody about a source: its PrometheusRule, where prometheus-operator is there to take it.

Names of alerts are the same for every source; `namespace` and `source` are labels. Each has a page in docs/runbooks. Counters
are told from 0 on, so that the first refusal and the first dead letter are an increase.
"""

from typing import NamedTuple

from forebay.source import WebhookSource
from forebay.source.cluster import Alerts
from forebay_operator.desired.metadata import Object, metadata
from forebay_operator.desired.platform import PROMETHEUS_RULE, Platform

RUNBOOKS = "https://github.com/forebay/forebay/blob/main/docs/runbooks"

# Seconds that confirming may take for all but one of a hundred webhooks. Providers wait for ten, some for three.
SLOW_CONFIRM_S = 1
AT_ONCE = "0m"
NEARLY_FULL = 0.8  # of an outage buffer
NOT_SUSPENDED = 'cause!="suspended"'  # that 503 is somebody's wish


class Alert(NamedTuple):
    """One alert; `hold` is for how long it has to be so."""

    name: str
    severity: str  # critical: webhooks are being lost or refused now; warning: look today
    when: str
    hold: str
    summary: str
    description: str


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    wanted = source.spec.monitoring.alerts
    if PROMETHEUS_RULE not in platform.apis or wanted.state == "Disabled":
        return []
    own = metadata(source, source.name)
    own["labels"] = {**(source.spec.monitoring.labels or {}), **own["labels"]}
    rules = [_rule(source, wanted, alert) for alert in alerts(source)]
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": own,
            "spec": {"groups": [{"name": f"forebay.{source.namespace}.{source.name}", "rules": rules}]},
        }
    ]


def alerts(source: WebhookSource) -> list[Alert]:
    """All alerts of the source, the most urgent first."""
    wanted = source.spec.monitoring.alerts
    return [
        *_endpoint(source), *_broker(source), *_refusals(source, wanted), *_letters(source, wanted), *_breaker(source),
        *_order(source),
        *_duplicates(source),
        *_outage_buffer(source),
    ]  # fmt: skip


def _rule(source: WebhookSource, wanted: Alerts, alert: Alert) -> Object:
    return {
        "alert": alert.name,
        "expr": alert.when,
        "for": _hold(wanted, alert),
        "labels": {
            "severity": alert.severity,
            "namespace": source.namespace,
            "source": source.name,
            **(wanted.labels or {}),
        },
        "annotations": {
            "summary": f"{source.key}: {alert.summary}",
            "description": alert.description,
            "runbook_url": runbook_url(source, alert.name),
        },
    }


def _hold(wanted: Alerts, alert: Alert) -> str:
    """What fires at once does so whatever is wanted: a single refusal or dead letter is gone by the next look."""
    return alert.hold if wanted.hold_for is None or alert.hold == AT_ONCE else f"{round(wanted.hold_for)}s"


def runbook_url(source: WebhookSource, alert: str | None = None) -> str:
    """Where the page of an alert is; without one, where all of them are."""
    base = source.spec.monitoring.alerts.runbook_url
    if base:
        return f"{base.rstrip('/')}/{alert or ''}"
    return f"{RUNBOOKS}/{alert}.md" if alert else RUNBOOKS


def series(source: WebhookSource, name: str, *more: str) -> str:
    """The source's own series of a metric, by further matchers."""
    labels = ",".join([f'namespace="{source.namespace}"', f'source="{source.name}"', *more])
    return f"{name}{{{labels}}}"


def _endpoint(source: WebhookSource) -> list[Alert]:
    if source.spec.ingest.replicas == 0:
        return []
    return [
        Alert(
            "ForebayIngestUnavailable",
            "critical",
            f"absent({series(source, 'forebay_ingest_broker_up')})",
            "5m",
            "no endpoint is running",
            "Prometheus reaches no ingest pod: webhooks get no answer, and the provider's retries are all that is left.",
        )
    ]


def _broker(source: WebhookSource) -> list[Alert]:
    quantile = f"sum by (le) (rate({series(source, 'forebay_ingest_confirm_seconds_bucket')}[5m]))"
    return [
        Alert(
            "ForebayBrokerUnreachable",
            "critical",
            f"min({series(source, 'forebay_ingest_broker_up')}) == 0",
            "2m",
            "an endpoint has no connection to the broker",
            _while_away(source, "Every webhook it is sent is answered 503, so that the provider sends again."),
        ),
        Alert(
            "ForebayBrokerBlocked",
            "critical",
            f"max({series(source, 'forebay_ingest_broker_blocked')}) == 1",
            "2m",
            "the broker takes no messages",
            "It has a memory or disk alarm. "
            + _while_away(source, "Every webhook is answered 503, so that the provider sends again."),
        ),
        Alert(
            "ForebayConfirmSlow",
            "warning",
            f"histogram_quantile(0.99, {quantile}) > {SLOW_CONFIRM_S}",
            "10m",
            "the broker confirms slowly",
            "One webhook of a hundred waits {{ $value | humanizeDuration }} or longer for its answer.",
        ),
    ]


def share_refused(source: WebhookSource, status: str = ".+") -> str:
    """The share that was answered so, of these and the accepted ones of ten minutes; the status is a regular expression."""
    refused = _refused(source, status)
    accepted = f"sum(increase({series(source, 'forebay_ingest_accepted_total')}[10m]))"
    return f"({refused} / ({refused} + {accepted}))"


def _refused(source: WebhookSource, status: str, *more: str) -> str:
    counter = series(source, "forebay_ingest_refused_total", f'status=~"{status}"', *more)
    return f"sum(increase({counter}[10m]))"


def _refusals(source: WebhookSource, wanted: Alerts) -> list[Alert]:
    limit = wanted.refused_percent / 100
    found = [
        Alert(
            "ForebayIngestFailing",
            "critical",
            f"{_refused(source, '5..', NOT_SUSPENDED)} > 0",
            AT_ONCE,
            "webhooks are answered 5xx",
            "About {{ $value | humanize }} in ten minutes were not taken for a fault of ours; the provider may send them again.",
        ),
        Alert(
            "ForebayWebhooksRefused",
            "warning",
            f"{share_refused(source)} > {limit}",
            "5m",
            "many requests are not answered 2xx",
            "{{ $value | humanizePercentage }} of the requests of ten minutes were refused, for whatever cause.",
        ),
        Alert(
            "ForebaySignaturesRefused",
            "warning",
            f"{share_refused(source, '401|403')} > {limit}",
            "5m",
            "many signatures do not verify",
            "{{ $value | humanizePercentage }} were refused by 401: a rotated secret, another provider, or a stranger.",
        ),
        Alert(
            "ForebayLimitsExceeded",
            "warning",
            f"{_refused(source, '413|429|431')} > 0",
            AT_ONCE,
            "webhooks exceed a limit",
            "About {{ $value | humanize }} in ten minutes were too large or too many; most providers give those up.",
        ),
    ]
    if wanted.silence is not None:
        quiet = f"sum(increase({series(source, 'forebay_ingest_accepted_total')}[{round(wanted.silence)}s])) == 0"
        text = "No webhook was accepted for longer than spec.monitoring.alerts.silence says."
        found.append(Alert("ForebayNoWebhooks", "warning", quiet, AT_ONCE, "no webhook comes", text))
    return found


def _letters(source: WebhookSource, wanted: Alerts) -> list[Alert]:
    dead = series(source, "forebay_dead_letter_queue_messages")
    given_up = series(source, "forebay_dead_letters_total", 'reason=~"exhausted|expired"')
    return [
        Alert(
            "ForebayDeadLetters",
            "warning",
            f"max({dead}) >= {wanted.dead_letters}",
            AT_ONCE,
            "dead letters wait",
            "{{ $value }} webhooks were given up and wait for somebody to look at them.",
        ),
        Alert(
            "ForebayDeadLettersGrowing",
            "critical",
            f"max({dead}) - max({dead} offset 10m) > 0",
            "10m",
            "dead letters become more and more",
            "{{ $value }} more than ten minutes ago: whatever the cause is, it goes on.",
        ),
        Alert(
            "ForebayRetriesExhausted",
            "warning",
            f"sum(increase({given_up}[15m])) > 0",
            AT_ONCE,
            "webhooks were given up after all their attempts",
            "About {{ $value | humanize }} in fifteen minutes had no success within spec.retry; the destination fails for longer.",
        ),
        Alert(
            "ForebayOldestWebhookAge",
            "warning",
            f"max({series(source, 'forebay_oldest_age_seconds')}) > {round(wanted.oldest_age)}",
            "5m",
            "webhooks are delivered late",
            "The one that is tried now for the first time has waited {{ $value | humanizeDuration }}.",
        ),
    ]


def _while_away(source: WebhookSource, otherwise: str) -> str:
    """What becomes of webhooks while the broker can not confirm them; `otherwise`, if there is no outage buffer."""
    if source.spec.ingest.outage_buffer is None:
        return otherwise
    return "Webhooks go into the outage buffer and are answered 2xx, until it is full."


def _outage_buffer(source: WebhookSource) -> list[Alert]:
    if source.spec.ingest.outage_buffer is None:
        return []

    def own(metric: str, *more: str) -> str:
        return series(source, f"forebay_outage_buffer_{metric}", *more)

    full = f"max({own('bytes')} / {own('max_bytes')}) > {NEARLY_FULL}"
    old = f"max({own('oldest_seconds')} / {own('max_seconds')}) > {NEARLY_FULL}"
    left = f"sum({own('webhooks')}) > 0 and min({series(source, 'forebay_ingest_broker_up')}) == 1"
    unusable = own("failures_total", 'cause=~"missing|unreadable|wrong"')
    return [
        Alert(
            "ForebayOutageBufferFilling",
            "critical",
            f"{full} or {old}",
            "1m",
            "the outage buffer is nearly full",
            "The broker has been away for long: an endpoint's buffer is at {{ $value | humanizePercentage }} of maxBytes or maxAge."
            " At 100 % webhooks are answered 503.",
        ),
        Alert(
            "ForebayOutageBufferNotEmptied",
            "warning",
            f"({left}) or sum(increase({unusable}[1h])) > 0",
            "10m",
            "accepted webhooks stay in the outage buffer",
            "The broker is there, and webhooks that were accepted without it are not queued, or can not be read.",
        ),
    ]


def _breaker(source: WebhookSource) -> list[Alert]:
    if source.spec.worker.circuit_breaker is None:
        return []
    return [
        Alert(
            "ForebayBreakerOpen",
            "warning",
            f"max({series(source, 'forebay_breaker_state')}) > 0",  # half-open, too: a probe may take its time and fail
            "5m",
            "nothing is delivered, because most attempts fail",
            "The circuit breaker of a worker does not close: webhooks wait in their queue until the destination takes them again.",
        )
    ]


def _order(source: WebhookSource) -> list[Alert]:
    ordering = source.spec.worker.ordering
    if ordering is None or ordering.after_dead_letter != "Hold":
        return []
    return [
        Alert(
            "ForebayKeysHeld",
            "warning",
            # While one is tried again, which is each minute, it is not counted.
            f"sum(max_over_time({series(source, 'forebay_keys_held')}[5m])) > 0",
            AT_ONCE,
            "webhooks of some keys wait behind one that was given up",
            "{{ $value }} keys get nothing until the destination takes the webhook that holds each of them.",
        )
    ]


def _duplicates(source: WebhookSource) -> list[Alert]:
    if source.spec.ingest.deduplication is None:
        return []
    return [
        Alert(
            "ForebaySeenNotShared",
            "warning",
            f"min({series(source, 'forebay_seen_shared')}) == 0",
            "5m",
            "endpoints do not know what others have seen",
            "The stream of what was seen can not be read or written: a copy that comes to another endpoint is delivered again.",
        ),
        Alert(
            "ForebaySeenCutShort",
            "warning",
            f"sum(increase({series(source, 'forebay_seen_cut_short_total')}[1h])) > 0",
            "0m",
            "webhooks are forgotten before the window ends",
            "More come in spec.ingest.deduplication.window than maxIds holds: copies of the oldest are delivered again.",
        ),
    ]
