"""The headers of a correctly signed request: what `verify` accepts. For samples and tests; senders are elsewhere."""

from collections.abc import Iterable

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line, look
from forebay.signatures.mac import Mac
from forebay.signatures.scheme import Algorithm, Scheme, Timestamp
from forebay.signatures.stamps import write_stamp
from forebay.signatures.template import BODY, ID, LINE, TIMESTAMP, compile_template
from forebay.signatures.token import spelled


def sign(
    scheme: Scheme,
    secret: bytes,
    body: bytes,
    *,
    now: float,
    delivery_id: str,
    headers: Iterable[tuple[str, str]] = (),
    line: Line | None = None,
) -> list[tuple[str, str]]:
    """The headers to add to a request: delivery id, timestamp and signature, as far as the scheme has them.

    `now` is in seconds since 1970. `headers` are others the request will have; only those are read that the scheme
    signs. `line` is needed where method or URL are signed. Raises SpecError if one of these is missing, for a secret or
    id that can not be used, and for a scheme by which only the provider can sign.
    """
    if not (delivery_id.isascii() and delivery_id.isprintable()):
        raise SpecError(f"delivery id {delivery_id!r} can not stand in a header: use printable ASCII")
    identity = [(name, delivery_id) for name in scheme.delivery_id_headers[:1]]
    if scheme.algorithm is Algorithm.NONE:
        return identity
    if not scheme.can_be_signed:
        raise SpecError("only the provider can sign like that: let it send a test webhook")
    stamp = scheme.timestamp or Timestamp()
    stamped = write_stamp(now, stamp.unit)
    fields = {name.lower().encode(): value.encode("latin-1") for name, value in headers}
    if line is not None:
        fields |= look(LINE, line, tuple(fields.items()), body)
    fields |= {BODY: body, TIMESTAMP: stamped.encode(), ID: delivery_id.encode()}
    signature = scheme.prefix + _signature(scheme, secret, fields)
    items = [stamp.item + stamped, signature] if stamp.item else [signature]
    return [
        *identity,
        *((name, stamped) for name in stamp.headers[:1]),
        (scheme.signature_headers[0], scheme.separator.join(items)),
    ]


def _signature(scheme: Scheme, secret: bytes, fields: dict[bytes, bytes]) -> str:
    template = compile_template(scheme.signed)
    missing = [name.decode() for name in template.fields if name not in fields]
    if missing:
        raise SpecError(f"this scheme signs {_what(missing[0])}: give it a value")
    try:
        if scheme.algorithm is Algorithm.TOKEN:
            return spelled(scheme, secret).decode("latin-1")
        mac = Mac(scheme, secret)
    except SpecError as error:
        raise SpecError(f"the secret {error}") from None
    return mac.signature(template.render(fields)).decode()


def _what(field: str) -> str:
    return field if field.startswith("{") else f"the header {field}"
