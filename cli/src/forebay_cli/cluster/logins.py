"""What the command line reads of a source's Secrets, with the rights of the person who runs it; nothing of it is shown.

Dead letters are read, sent back and thrown away with the login of the source's workers: it may do exactly that, on the
queues of this source and no other (docs/decisions/0008).
"""

import base64
from collections.abc import Iterable

from forebay.errors import Rejected
from forebay.manifest import Secret
from forebay_cli.broker import GivenBroker, given_broker
from forebay_cli.cluster.api import SECRETS, Api, Forbidden, NotFound, Object
from forebay_cli.where import KUBECTL
from forebay_operator.desired.metadata import broker_secret_of


async def worker_login(api: Api, source: Object) -> GivenBroker:
    """The broker of a source, with its workers' login. Raises Rejected or Forbidden, saying what to do instead."""
    metadata = source["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    secret = broker_secret_of(name, "worker")
    try:
        found = await read(api, namespace, secret)
    except NotFound as error:
        raise Rejected(
            f"the operator has made no login for the workers of {name} yet (Secret {secret}); {KUBECTL} status {name} -n {namespace} says why"
        ) from error
    except Forbidden as error:
        raise Forbidden(
            f"{error}; or give a login of your own: forebay dlq --broker amqp://… --source {namespace}/{name}"
        ) from error
    if "uri" not in found.data:
        raise Rejected(
            f"Secret {secret} in namespace {namespace} has no key uri; delete it and the operator makes it anew"
        )
    return given_broker(found.data["uri"].decode(), _management(found))


async def read(api: Api, namespace: str, name: str) -> Secret:
    """A Secret. Raises NotFound or Forbidden."""
    found = await api.get(SECRETS, name, namespace)
    data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    return Secret(namespace=namespace, name=name, data=data)


async def read_all(api: Api, namespace: str, names: Iterable[str]) -> tuple[Secret, ...]:
    """The Secrets of these names. Raises Rejected, naming the first that is not there."""
    try:
        return tuple([await read(api, namespace, name) for name in dict.fromkeys(names)])
    except NotFound as error:
        raise Rejected(
            f"{error} in namespace {namespace}; create it, or give its value with --secret NAME/KEY=@FILE"
        ) from error


def _management(secret: Secret) -> str | None:
    return secret.data["management"].decode() if "management" in secret.data else None
