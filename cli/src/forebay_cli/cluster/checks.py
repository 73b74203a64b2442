"""What the facts about a cluster, and about one of its sources, mean: fine, worth knowing, or broken; each with a remedy. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from forebay.crd import crd
from forebay.errors import ForebayError
from forebay_cli.cluster.api import Forbidden, NotFound, Object
from forebay_cli.cluster.operators import Operator
from forebay_cli.cluster.roles import Right, how_to_get
from forebay_cli.cluster.standing import age, age_s
from forebay_operator.desired.platform import HTTP_ROUTE, POD_MONITOR, PROMETHEUS_RULE, SCALED_OBJECT
from forebay_operator.drift import says
from forebay_operator.topology import outdated

Level = Literal["ok", "warn", "fail"]

ADMINISTRATOR = "administrator"  # the tag of those who may make users on a broker
_UNSEEN_S = 60.0  # an operator that lives has said something about a source by then
_EXPIRY_S = 14 * 86400.0


class Line(NamedTuple):
    """One finding."""

    level: Level
    about: str
    text: str  # with the remedy, unless all is well


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """What the broker says to the login of its Secret."""

    secret: str  # NAMESPACE/NAME
    address: str
    version: str
    tags: tuple[str, ...]
    alarms: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a public host shows to whoever connects."""

    host: str
    expires: float  # seconds since 1970
    issuer: str


# What could not be had is the error that says why.
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """About one source."""

    source: Object
    broker: BrokerFacts | ForebayError
    workers_login: int | ForebayError  # dead letters that it sees
    destination: str | ForebayError  # how its host was found
    certificate: Certificate | ForebayError | None  # None: it has no URL of https


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """About a cluster."""

    server: str
    version: str
    crd: Object | ForebayError
    served: bool  # whether the API server has the resource, whoever may look at its definition
    rights: Mapping[Right, bool]
    operators: Sequence[Operator] | ForebayError
    apis: frozenset[str]  # "group/version/Kind"
    source: SourceFacts | ForebayError | None = None
    own_version: str = ""
    now: float = field(kw_only=True)


# What a person needs for which command.
PURPOSES: tuple[tuple[str, str, str, str], ...] = (
    ("list", "forebay.dev", "webhooksources", "everything"),
    ("patch", "forebay.dev", "webhooksources", "pause, resume, drain, force-finalize"),
    ("list", "apps", "deployments", "the pods in status, drain"),
    ("list", "", "pods", "tail, and the counts in status"),
    ("get", "", "pods/log", "tail"),
    ("get", "", "pods/proxy", "the counts in status"),
    ("get", "", "secrets", "send, dlq"),
    ("create", "", "pods/portforward", "send and dlq from outside the cluster"),
)

_APIS = (
    (POD_MONITOR, "prometheus-operator", "nobody scrapes metrics by itself"),
    (PROMETHEUS_RULE, "prometheus-operator", "nobody is called when webhooks are refused or die"),
    (SCALED_OBJECT, "KEDA", "workers scale by CPU, not by what waits, and never to zero"),
    (HTTP_ROUTE, "Gateway API", "endpoints can be exposed by Ingress only"),
)


def lines(facts: Facts) -> list[Line]:
    """Every finding, in the order in which things depend on each other."""
    found = [
        Line("ok", "API server", f"{facts.version} at {facts.server}"),
        _definition(facts),
        *_rights(facts),
        *_operators(facts),
        *_optional(facts),
    ]
    if isinstance(facts.source, ForebayError):
        return [*found, Line("fail", "source", str(facts.source))]
    return [*found, *(_source(facts, facts.source) if facts.source else ())]


def _definition(facts: Facts) -> Line:
    install = "install Forebay's chart, or kubectl apply --server-side -f crds/"
    if not facts.served:
        return Line("fail", "CRD", f"this cluster has no WebhookSource; {install}")
    if isinstance(facts.crd, NotFound):
        return Line("fail", "CRD", f"WebhookSource is on its way out; {install}")
    if isinstance(facts.crd, ForebayError):
        return Line("ok", "CRD", "WebhookSource is there (you may not look at its definition)")
    if not says(facts.crd["spec"], crd()["spec"]):
        return Line(
            "warn", "CRD",
            f"WebhookSource is of another release than this forebay ({facts.own_version}); upgrade the older of them: {install}",
        )  # fmt: skip
    return Line("ok", "CRD", f"WebhookSource is that of this forebay ({facts.own_version})")


def _rights(facts: Facts) -> Iterator[Line]:
    lacking = [(right, purpose) for right, purpose in _purposes(facts) if not facts.rights.get(right, False)]
    for right, purpose in lacking:
        level: Level = "fail" if purpose == "everything" else "warn"
        yield Line(level, "your rights", f"no right to {right.shown}, so no {purpose}; {how_to_get(right)}")
    if not lacking:
        yield Line("ok", "your rights", "everything that these commands need")


def _purposes(facts: Facts) -> Iterator[tuple[Right, str]]:
    known = {(right.verb, right.group, right.resource): right for right in facts.rights}
    return ((known[place], purpose) for *key, purpose in PURPOSES if (place := (key[0], key[1], key[2])) in known)


def _operators(facts: Facts) -> Iterator[Line]:
    operators = facts.operators
    if isinstance(operators, ForebayError):
        yield Line("warn", "operator", f"can not be seen: {operators}")
        return
    if not operators:
        yield Line(
            "fail", "operator", "there is none in this cluster; helm install forebay …, or ask who runs it elsewhere"
        )
    for one in operators:
        yield _operator(one, facts.own_version)


def _operator(one: Operator, own_version: str) -> Line:
    metadata = one.deployment["metadata"]
    logs = f"kubectl logs -n {metadata['namespace']} deployment/{metadata['name']}"
    if not one.ready:
        why = f"kubectl describe pods -n {metadata['namespace']} -l app.kubernetes.io/component=operator"
        return Line("fail", "operator", f"{one.shown} has no ready pod; see {why}")
    if one.leads is False:
        return Line(
            "fail",
            "operator",
            f"{one.shown}: its Lease was renewed {age(one.renewed_s)} ago, so nobody acts; see {logs}",
        )
    if one.version and own_version and one.version != own_version:
        return Line(
            "warn",
            "operator",
            f"{one.shown} is {one.version} and this forebay {own_version}; upgrade the older of them",
        )
    acts = ", one of them acts" if one.leads else "" if one.ready > 1 else ", it acts" if one.leads else ""
    return Line("ok", "operator", f"{one.shown}: {one.ready} ready{acts}")


def _optional(facts: Facts) -> Iterator[Line]:
    there = sorted({name for api, name, _ in _APIS if api in facts.apis})
    if there:
        yield Line("ok", "optional APIs", ", ".join(there))
    for api, name, without in _APIS:
        if api not in facts.apis:
            yield Line(
                "warn",
                "optional APIs",
                f"no {api.rpartition('/')[2]} of {name}: {without}; install it if you want that",
            )


# ------------------------------------------------------------------------------------------------------ of one source


def _source(facts: Facts, about: SourceFacts) -> Iterator[Line]:
    yield from _said(facts, about.source)
    yield _broker(about.broker)
    yield _workers_login(about.workers_login)
    yield _destination(about.destination)
    if about.certificate is not None:
        yield _certificate(about.certificate, facts.now)


def _said(facts: Facts, source: Object) -> Iterator[Line]:
    metadata, status = source["metadata"], source.get("status") or {}
    conditions: dict[str, Mapping[str, Any]] = {c["type"]: c for c in status.get("conditions", ())}
    if not conditions:
        old = (age_s(metadata.get("creationTimestamp"), facts.now) or 0) > _UNSEEN_S
        text = "the operator has said nothing about it yet; is there one, and does it watch this namespace?"
        yield Line("fail" if old else "warn", "source", text)
        return
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        yield Line("warn", "source", "the operator has not seen its last change yet; if that stays so, it is not alive")
    ready = conditions.get("Ready", {})
    if ready.get("status") == "True":
        yield Line("ok", "source", "is ready: a webhook sent now is accepted, queued and delivered")
    elif ready.get("reason") == "Suspended":
        yield Line("warn", "source", f"rests; kubectl forebay resume {metadata['name']} -n {metadata['namespace']}")
    else:
        yield Line("fail", "source", f"is not ready, {ready.get('reason', '?')}: {ready.get('message', '')}")


def _broker(broker: BrokerFacts | ForebayError) -> Line:
    if isinstance(broker, ForebayError):
        return Line(_unless_unseen(broker), "broker", str(broker))
    where = f"RabbitMQ {broker.version} at {broker.address}"
    if ADMINISTRATOR not in broker.tags:
        tags = ", ".join(broker.tags) or "none"
        return Line(
            "fail", "broker",
            f"{where}: the login of Secret {broker.secret} has no tag administrator (tags: {tags}), so the operator can make no "
            "users; rabbitmqctl set_user_tags USER administrator",
        )  # fmt: skip
    if broker.alarms:
        return Line(
            "fail", "broker", f"{where} has an alarm and takes no messages: {broker.alarms}; free memory or disk on it"
        )
    if outdated(broker.version):
        return Line(
            "warn",
            "broker",
            f"{where} has known faults in confirms and quorum queues; upgrade to 4.0.8, 4.1.5, 4.2.7, 4.3.3 or newer",
        )
    return Line("ok", "broker", f"{where}, the login of Secret {broker.secret} may do what the operator needs")


def _workers_login(seen: int | ForebayError) -> Line:
    if isinstance(seen, ForebayError):
        return Line(_unless_unseen(seen), "workers' login", str(seen))
    return Line("ok", "workers' login", f"works; {seen:,} dead letters wait")


def _destination(found: str | ForebayError) -> Line:
    if isinstance(found, ForebayError):
        return Line(_unless_unseen(found), "destination", str(found))
    return Line("ok", "destination", found)


def _certificate(seen: Certificate | ForebayError, now: float) -> Line:
    if isinstance(seen, ForebayError):
        return Line(_unless_unseen(seen), "TLS", str(seen))
    left = seen.expires - now
    if left < _EXPIRY_S:
        return Line(
            "warn", "TLS", f"the certificate of {seen.host} ends in {age(left)}; renew it (issuer {seen.issuer})"
        )
    return Line("ok", "TLS", f"the certificate of {seen.host} is valid for {age(left)} (issuer {seen.issuer})")


class Unseen(ForebayError):
    """Something that can not be seen from here, which says nothing about whether it is well."""


def _unless_unseen(error: ForebayError) -> Level:
    return "warn" if isinstance(error, (Unseen, Forbidden)) else "fail"
