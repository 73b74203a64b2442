"""A scheme in words that a person compares with the provider's documentation."""

from forebay.signatures.handshake import Handshake
from forebay.signatures.scheme import Algorithm, Scheme
from forebay.signatures.senders import Senders


def signature(scheme: Scheme) -> str:
    """What is signed, how, and in which header that stands."""
    if scheme.algorithm is Algorithm.NONE:
        return "nothing is verified"
    if scheme.algorithm is Algorithm.TOKEN:
        spelling = {"text": "as it is", "base64": "in base64"}[scheme.encoding]
        after = f" after {scheme.prefix}" if scheme.prefix else ""
        return f"the secret itself, {spelling}{after}, in {_either(scheme.signature_headers)}"
    if scheme.algorithm is Algorithm.JWT:
        return f"a JSON Web Token in {_either(scheme.signature_headers)}; the body is not signed"
    how = f"{scheme.algorithm.upper()} of {scheme.signed}, {scheme.encoding}"
    after = f" after {scheme.prefix}" if scheme.prefix else ""
    return f"{how}{after}, in {_either(scheme.signature_headers)}"


def key(scheme: Scheme) -> str:
    """What of the secret is the key."""
    if scheme.algorithm is Algorithm.NONE:
        return "none"
    if scheme.published and scheme.algorithm is Algorithm.RSA:
        where = f"{scheme.published.place}, of {_either(scheme.published.hosts)} alone"
        return f"the provider's certificate, fetched from the URL in {where}; the secret is no key, but is compared"
    if scheme.published:
        return f"of the set that is fetched from {scheme.published.url or 'jwt.keysUrl'}; there is no secret"
    if scheme.algorithm.public:
        return f"the provider's public key, decoded from {scheme.key_encoding}"
    spelled = (
        "the secret's text" if scheme.key_encoding == "text" else f"the secret, decoded from {scheme.key_encoding}"
    )
    return f"{spelled}, without {scheme.key_prefix} in front" if scheme.key_prefix else spelled


def clock(scheme: Scheme) -> str:
    """Where the time of signing stands, and how far from now it may be."""
    stamp = scheme.timestamp
    if scheme.algorithm is Algorithm.JWT:
        return "the token says when it ends, and has to"
    if stamp is None:
        return "no time is signed"
    place = _either(stamp.headers) if stamp.headers else f"{stamp.item} in {scheme.signature_headers[0]}"
    unit = {"s": "seconds since 1970", "ms": "milliseconds since 1970", "rfc3339": "a date and time"}[stamp.unit]
    return f"{place}, {unit}; at most {stamp.tolerance:g} s from now"


def event_type(scheme: Scheme) -> str:
    """Where the type of the event stands."""
    place, name = scheme.event_place
    return {"header": f"header {name}", "json": f"{name} in the body"}.get(place, "none")


def delivery_id(scheme: Scheme) -> str:
    """Where the provider's id of a delivery stands."""
    return f"header {_either(scheme.delivery_id_headers)}" if scheme.delivery_id_headers else "none"


def handshake(item: Handshake) -> str:
    """When the provider asks, and what the owner has to give for the answer."""
    given = " Its verify token has to be given in handshake.verifyTokenSecretRef." if item.token else ""
    if item.sends:
        return f"{item.says} It is answered once that is safe: on its way into the Secret (verification.capture), or to you (handshake.deliverSecret)."
    return f"{item.says} It is answered; nothing is queued.{given}"


def senders(known: Senders) -> str:
    """Which addresses it sends from, and of which day that is."""
    if not known.networks:
        return f"published at {known.source}, and not known here"
    return f"{', '.join(known.networks)}; as of {known.checked} ({known.confidence}), they change: {known.source}"


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
