"""The scheme and the handshakes that a source's settings ask for: a provider's preset, or a user's own HMAC. Reads nothing."""

from collections.abc import Sequence
from dataclasses import replace

from forebay.errors import SpecError
from forebay.settings import IngestSettings, Verification
from forebay.signatures.certified import Certified
from forebay.signatures.handshake import Handshake
from forebay.signatures.key_ring import KeyRing
from forebay.signatures.presets import preset
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Published, Scheme, Timestamp
from forebay.signatures.verify import Verifier
from forebay.signatures.web_token import Expected, WebTokens

Fetching = Certified | WebTokens  # whose keys are published, and have to be fetched before they verify


def scheme_of(verification: Verification) -> Scheme:
    """The scheme to verify and to sign with. Raises SpecError for one that could not protect anything."""
    base = preset(verification.provider).scheme
    if verification.provider != "HMAC":
        return replace(base, signature_headers=(verification.header,)) if verification.header else base
    return replace(
        base,
        algorithm=Algorithm(f"hmac-{verification.algorithm}"),
        encoding=Encoding(verification.encoding),
        signature_headers=(verification.header,) if verification.header else base.signature_headers,
        prefix=verification.prefix,
        signed=verification.template,
        timestamp=Timestamp(headers=(verification.timestamp_header,)) if verification.timestamp_header else None,
        key_encoding=KeyEncoding("text" if verification.key_encoding == "none" else verification.key_encoding),
        delivery_id_headers=(verification.delivery_id_header,) if verification.delivery_id_header else (),
        event_type=_event_type(verification),
    )


def verifier_of(verification: Verification, secrets: Sequence[bytes], ring: KeyRing) -> Verifier | Fetching:
    """What verifies the source's requests; `ring` holds the published keys. Raises SpecError."""
    scheme = scheme_of(verification)
    if scheme.algorithm is Algorithm.RSA:
        return Certified(scheme, secrets, ring, verification.tolerance_s)
    if scheme.algorithm is Algorithm.JWT:
        assert scheme.published is not None, "the scheme sees to it"
        expected = _expected(verification, scheme.published)
        return WebTokens(expected, ring, verification.tolerance_s, scheme.signature_headers[0])
    return Verifier(scheme, secrets, verification.tolerance_s)


def _expected(verification: Verification, published: Published) -> Expected:
    jwt = verification.jwt
    url, issuers = (jwt and jwt.keys_url) or published.url, (jwt and jwt.issuers) or published.issuers
    if jwt is None or not (url and issuers and jwt.audience):
        raise SpecError(f"provider {verification.provider} needs to know the keys' URL, the issuer and the audience")
    lacking = set(published.claims) - {name for name, _ in jwt.claims}
    if lacking:
        raise SpecError(f"provider {verification.provider} needs claims to compare: {', '.join(sorted(lacking))}")
    fixed = tuple((tuple(names.split("|")), text) for names, _, text in (one.partition("=") for one in published.fixed))
    return Expected(keys_url=url, issuers=tuple(issuers), audience=jwt.audience, claims=jwt.claims, fixed=fixed)


def handshakes_of(settings: IngestSettings) -> tuple[Handshake, ...]:
    """The handshakes that the endpoint answers; none for most providers."""
    wanted = settings.handshake
    known = preset(settings.verification.provider).handshakes if wanted.answered else ()
    return tuple(item for item in known if wanted.delivers_secret or wanted.captures_secret or not item.sends)


def _event_type(verification: Verification) -> str | None:
    if verification.event_type_header:
        return f"header:{verification.event_type_header}"
    return f"json:{verification.event_type_json}" if verification.event_type_json else None
