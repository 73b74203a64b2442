"""The scheme and the handshakes that a source's settings ask for: a provider's preset, or a user's own HMAC. Reads nothing."""

from dataclasses import replace

from forebay.settings import IngestSettings, Verification
from forebay.signatures.handshake import Handshake
from forebay.signatures.presets import preset
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Scheme, Timestamp


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


def handshakes_of(settings: IngestSettings) -> tuple[Handshake, ...]:
    """The handshakes that the endpoint answers; none for most providers."""
    return preset(settings.verification.provider).handshakes if settings.handshake.answered else ()


def _event_type(verification: Verification) -> str | None:
    if verification.event_type_header:
        return f"header:{verification.event_type_header}"
    return f"json:{verification.event_type_json}" if verification.event_type_json else None
