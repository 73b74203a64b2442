"""What a reconcile needs to know of Secrets: which ones a source depends on, their versions, the broker's address in one.

A Secret's content is read only where it is a broker's address, and only when its version is a new one.
"""

from forebay.errors import ForebayError, SpecError
from forebay.source import WebhookSource
from forebay_operator.broker import Address, address
from forebay_operator.cluster import SECRET, Missing
from forebay_operator.conditions import Trouble
from forebay_operator.context import Context, KnownBroker
from forebay_operator.desired import awaited_secrets, secret_names
from forebay_operator.world import Key, SecretId

# On a broker's Secret: namespaces, by commas, whose sources may use it; * for all.
CONSENT = "forebay.dev/allow-namespaces"


class Unusable(ForebayError):
    """What a source refers to can not be used; a person has to change something."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.trouble = Trouble(reason, message)


def broker_secret_of(source: WebhookSource, default: tuple[str, str] | None) -> SecretId:
    """The Secret with the broker's address. Raises Unusable if the source names none and there is no default."""
    broker = source.spec.broker
    if broker.secret_ref:
        return SecretId(broker.secret_ref.namespace or source.namespace, broker.secret_ref.name)
    if broker.cluster_ref:
        # https://www.rabbitmq.com/kubernetes/operator/using-operator#creds
        return SecretId(broker.cluster_ref.namespace or source.namespace, f"{broker.cluster_ref.name}-default-user")
    if default is None:
        raise Unusable(
            "BrokerMissing",
            "spec.broker names no broker and the operator has no default one: set spec.broker.secretRef",
        )
    return SecretId(*default)


async def broker_of(context: Context, key: Key, source: WebhookSource) -> Address:
    """Where the source's queues are. Raises Unusable, saying what is missing and where."""
    secret = broker_secret_of(source, context.options.default_broker)
    version = await _version(context, secret)
    if version is None:
        raise Unusable(
            "BrokerSecretMissing",
            f"There is no Secret {secret.name} in namespace {secret.namespace}: create it with key uri",
        )
    known = context.addresses.get(secret)
    if known is None or known.version != version:
        context.addresses[secret] = known = await _read(context, secret, version)
    if secret.namespace != key.namespace and tuple(secret) != context.options.default_broker:
        _consented(known.allowed, key, secret)
    context.places[key] = known.address
    return known.address


async def versions_of(context: Context, source: WebhookSource) -> dict[str, str | None]:
    """The versions of the Secrets that the source's pods mount, by name; None: there is no such Secret."""
    names = sorted(secret_names(source))
    return {name: await _version(context, SecretId(source.namespace, name)) for name in names}


def missing(versions: dict[str, str | None], source: WebhookSource) -> Trouble | None:
    awaited = {ref.name for ref in awaited_secrets(source)}
    absent = sorted(name for name, version in versions.items() if version is None and name not in awaited)
    if not absent:
        return None
    return Trouble(
        "SecretMissing",
        f"There is no Secret {absent[0]} in namespace {source.namespace}: kubectl create secret generic {absent[0]} -n {source.namespace} "
        "--from-literal=KEY=VALUE",
    )


async def _version(context: Context, secret: SecretId) -> str | None:
    watched = context.options.namespaces
    if not watched or secret.namespace in watched:
        return context.world.secrets.get(secret)
    try:
        found = await context.cluster.get(SECRET, secret.namespace, secret.name, metadata_only=True)
    except Missing:
        return None
    return str(found["metadata"]["resourceVersion"])


async def _read(context: Context, secret: SecretId, version: str) -> KnownBroker:
    try:
        found = await context.cluster.get(SECRET, secret.namespace, secret.name)
    except Missing:
        raise Unusable(
            "BrokerSecretMissing", f"There is no Secret {secret.name} in namespace {secret.namespace}"
        ) from None
    consent = found["metadata"].get("annotations", {}).get(CONSENT, "")
    try:
        place = address(found.get("data") or {})
    except SpecError as error:
        raise Unusable(
            "BrokerSecretInvalid", f"Secret {secret.name} in namespace {secret.namespace}: {error}"
        ) from error
    return KnownBroker(version, place, frozenset(name.strip() for name in consent.split(",")))


def _consented(allowed: frozenset[str], key: Key, secret: SecretId) -> None:
    if not allowed & {"*", key.namespace}:
        raise Unusable(
            "NotAllowed",
            f"Secret {secret.name} does not allow namespace {key.namespace}: its owner annotates it with "
            f"kubectl annotate secret {secret.name} -n {secret.namespace} {CONSENT}={key.namespace}",
        )
