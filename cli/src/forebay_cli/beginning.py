"""A manifest to start from, for any provider that is known: made from what is known of it."""

from collections.abc import Iterator
from textwrap import wrap

from forebay.signatures.presets import Preset
from forebay.signatures.scheme import Algorithm

_URL = "https://hooks.example.com"


def manifest_of(known: Preset) -> str:
    """A source that takes the provider's webhooks, with comments on what to fill in."""
    return "\n".join([*(f"# {line}" for line in wrap(known.setup, 118)), *_lines(known)]) + "\n"


def _lines(known: Preset) -> Iterator[str]:
    name = known.name.lower()
    yield "apiVersion: forebay.dev/v1alpha1"
    yield "kind: WebhookSource"
    yield "metadata:"
    yield f"  name: {name}"
    yield "spec:"
    yield "  ingest:"
    if known.scheme.signs_url:
        yield f"    publicUrl: {_URL}/{name}   # as it is written at the provider"
    yield "    verification:"
    yield f"      provider: {known.name}"
    yield from _proof(known, name)
    yield from _handshake(known, name)
    yield "  worker:"
    yield "    destination:"
    yield f"      url: http://127.0.0.1:9000/{name}   # in a cluster: http://SERVICE.NAMESPACE.svc/{name}"


def _proof(known: Preset, name: str) -> Iterator[str]:
    if known.scheme.algorithm is Algorithm.JWT and known.scheme.published:
        yield "      jwt:"
        yield f"        audience: {_URL}/{name}"
        if not known.scheme.published.url:
            yield "        issuer: https://issuer.example.com"
            yield "        keysUrl: https://issuer.example.com/.well-known/jwks.json"
        for claim in known.scheme.published.claims:
            yield f"        claims: [{{name: {claim}, value: somebody@example.com}}]"
    elif known.scheme.algorithm is not Algorithm.NONE:
        yield "      secretRefs:"
        yield f"        - {{name: {name}-webhook, key: secret}}"
    if any(item.sends for item in known.handshakes):
        yield "      capture: true   # the provider sends it, so the Secret need not exist"
    if known.name == "HMAC":
        yield "      hmac:"
        yield "        header: X-Signature   # and how the rest is done: forebay init generic"


def _handshake(known: Preset, name: str) -> Iterator[str]:
    if any(item.token for item in known.handshakes):
        yield "    handshake:"
        yield f"      verifyTokenSecretRef: {{name: {name}-webhook, key: verify-token}}"
    if any(item.visits for item in known.handshakes):
        yield "    handshake:"
        yield "      confirm: true"
