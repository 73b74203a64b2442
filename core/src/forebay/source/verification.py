"""How a webhook proves where it comes from, as a person writes it down."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from forebay.errors import SpecError
from forebay.signatures.presets import presets
from forebay.signatures.scheme import Algorithm
from forebay.signatures.template import compile_template
from forebay.source.model import Part, Problem, cel, wrong
from forebay.source.references import SecretKeyRef
from forebay.source.spelling import closest
from forebay.source.values import HeaderName, HeaderValue, JsonPath, Line, Shape, Span, shown

KeysUrl = Annotated[
    str,
    Shape(r"https://[A-Za-z0-9.-]+/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", "an https URL with a path", 500),
]

OPEN = "None"
GENERIC = "HMAC"
KEYED = "ApiKey"


# Who sends a token that is signed by a published key; of whom the manifest says where that is; what it has to compare.
_TOKENED = [name for name, known in presets().items() if known.scheme.algorithm is Algorithm.JWT]
_UNPUBLISHED = [name for name in _TOKENED if not (found := presets()[name].scheme.published) or not found.url]
_CLAIMED = [(name, claim) for name in _TOKENED if (found := presets()[name].scheme.published) for claim in found.claims]
# Whose handshake carries the signing secret.
_SENT = [name for name, known in presets().items() if any(item.sends for item in known.handshakes)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """The name of a provider whose signatures are known here, spelled as it is there."""

    def read(self, value: Any) -> str:
        names = list(presets())
        if value in names:
            return str(value)
        meant = closest(value, names)
        remedy = f"write {meant}" if meant else "write HMAC and say in hmac how it signs, or None to let everybody in"
        raise wrong(f"{shown(value)} is not one of the known providers, {', '.join(names)}", remedy)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(presets())}


class Hmac(Part):
    """How a provider without a preset signs."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.template.contains('{body}') && !self.template.contains('{form}')",
                "the template must hold {body}, or anybody could change the body",
            ),
            (
                "self.template.contains('{timestamp}') == has(self.timestampHeader)",
                "a timestamp protects only if it is both sent and signed",
            ),
            (
                "!(has(self.eventTypeHeader) && has(self.eventTypeJsonPath))",
                "give eventTypeHeader or eventTypeJsonPath, not both",
            ),
        )
    )

    header: HeaderName = Field(description="Header that carries the signature.")
    algorithm: Literal["SHA1", "SHA256", "SHA512"] = Field(default="SHA256", description="Hash function of the HMAC.")
    encoding: Literal["Hex", "Base64"] = Field(default="Hex", description="How the signature is written.")
    prefix: HeaderValue = Field(
        default="", description='What stands before the signature in the header, such as "sha256=".'
    )
    template: Line = Field(
        default="{body}", description="What is signed: text with {body}, {timestamp}, {id} and {header:NAME} in it."
    )
    timestamp_header: HeaderName | None = Field(
        default=None,
        description="Header with the time of signing, in seconds since 1970; needs {timestamp} in the template.",
    )
    key_encoding: Literal["None", "Base64", "Hex"] = Field(
        default="None", description="How the key is written in the Secret."
    )
    delivery_id_header: HeaderName | None = Field(
        default=None, description="Header with the provider's id of the delivery."
    )
    event_type_header: HeaderName | None = Field(default=None, description="Header with the type of the event.")
    event_type_json_path: JsonPath | None = Field(
        default=None, description="Dotted path into the JSON body to the type of the event, if no header has it."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        if self.event_type_header and self.event_type_json_path:
            message = "give eventTypeHeader or eventTypeJsonPath, not both"
            yield Problem(("eventTypeJsonPath",), message, "keep the header: it needs no look into the body")
        try:
            fields = compile_template(self.template).fields
        except SpecError as error:
            yield Problem(
                ("template",), str(error), "use {body}, {timestamp}, {id} and {header:NAME}; double other braces"
            )
            return
        if fields.count(b"{body}") != 1 or b"{form}" in fields:
            yield Problem(("template",), "must hold {body} once, or anybody could change the body", "add {body}")
        if (b"{timestamp}" in fields) != (self.timestamp_header is not None):
            message = "a timestamp protects only if it is both sent and signed"
            yield Problem(("template",), message, "give timestampHeader and {timestamp} in the template, or neither")
        if b"{id}" in fields and not self.delivery_id_header:
            yield Problem(
                ("template",), "{id} is the delivery's id, and no header is named for it", "give deliveryIdHeader"
            )


class Claim(Part):
    """What a token has to say of one thing."""

    name: Annotated[str, Shape(r"[A-Za-z0-9_.:/-]+", "a claim's name, such as email", 100)] = Field(
        description="Name of the claim."
    )
    value: Line = Field(description="The text it has to be.")


class Jwt(Part):
    """What a JSON Web Token has to say, and where its issuer publishes the keys."""

    audience: Line = Field(description="Whom the token is for (aud); it is one of the token's.")
    issuer: Line | None = Field(
        default=None, description="Who issued it (iss). Default: the provider's; provider JWT has none."
    )
    keys_url: KeysUrl | None = Field(
        default=None,
        description="Where the issuer publishes its keys (JWKS). Default: the provider's; provider JWT has none.",
    )
    claims: tuple[Claim, ...] = Field(
        default=(), max_length=8, description="Further claims, all of which are compared."
    )


class Verification(Part):
    """How a webhook proves that it comes from the provider."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (f"(self.provider == '{GENERIC}') == has(self.hmac)", "hmac belongs to provider HMAC, which needs it"),
            (f"!has(self.header) || self.provider == '{KEYED}'", "header belongs to provider ApiKey"),
            (
                f"(self.provider in [{_listed([OPEN, *_TOKENED])}]) == (!has(self.secretRefs) || size(self.secretRefs) == 0)",
                f"secretRefs is needed to verify signatures, and useless for provider {_either([OPEN, *_TOKENED])}",
            ),
            (
                f"(self.provider in [{_listed(_TOKENED)}]) == has(self.jwt)",
                f"jwt belongs to provider {_either(_TOKENED)}, which needs it",
            ),
            (
                (
                    f"!has(self.jwt) || (self.provider in [{_listed(_UNPUBLISHED)}])"
                    " == (has(self.jwt.keysUrl) && has(self.jwt.issuer)) && has(self.jwt.keysUrl) == has(self.jwt.issuer)"
                ),
                f"jwt.keysUrl and jwt.issuer belong to provider {_either(_UNPUBLISHED)}, which needs both",
            ),
            (
                f"!has(self.capture) || !self.capture || self.provider in [{_listed(_SENT)}]",
                f"capture belongs to provider {_either(_SENT)}, which sends its secret itself",
            ),
            (
                "!has(self.captureFor) || (has(self.capture) && self.capture)",
                "captureFor says how long capture takes a secret: set capture too",
            ),
            *(
                (
                    (
                        f"self.provider != '{name}' || (has(self.jwt) && has(self.jwt.claims)"
                        f" && self.jwt.claims.exists(one, one.name == '{claim}'))"
                    ),
                    f"provider {name} needs the claim {claim}, or anybody's token would do",
                )
                for name, claim in _CLAIMED
            ),
        )
    )

    provider: Annotated[str, KnownProvider()] = Field(
        description="Whose signatures are checked; HMAC for others, as hmac says; None lets everybody in."
    )
    secret_refs: tuple[SecretKeyRef, ...] = Field(
        default=(),
        max_length=8,
        description="The signing secrets. Several during a rotation: a signature by any of them counts.",
    )
    capture: bool = Field(
        default=False,
        description="Put the secret that the provider sends in its handshake into the first of secretRefs without a value. A Secret"
        " that exists has to allow it: forebay.dev/capture: SOURCE.",
    )
    capture_for: Annotated[float, Span("10s", "30d")] | None = Field(
        default=None,
        description="For how long after the source was made a secret is captured, with capture; forebay.dev/capture-from: TIME at the"
        " source begins anew. Default: 1d.",
    )
    tolerance: Annotated[float, Span("1s", "1d")] | None = Field(
        default=None, description="How far the signed time may be from now. Default: the provider's recommendation."
    )
    header: HeaderName | None = Field(
        default=None, description="Header that holds the key; of provider ApiKey. Default: X-API-Key."
    )
    hmac: Hmac | None = Field(default=None, description="How a provider without a preset signs; of provider HMAC.")
    jwt: Jwt | None = Field(
        default=None,
        description="What a token has to say; of providers that send one which is signed by a published key.",
    )

    @override
    def faults(self) -> Iterator[Problem]:
        yield from self._token_faults()
        signed = self.provider not in (OPEN, *_TOKENED)
        if signed and not self.secret_refs:
            remedy = "add secretRefs: [{name: …, key: …}] with the Secret that holds the signing secret"
            yield Problem(("secretRefs",), f"missing: provider {self.provider} needs a secret to check with", remedy)
        if not signed and self.secret_refs:
            message = "checks nothing" if self.provider == OPEN else "needs no secret: its keys are published"
            remedy = "name the provider, or leave secretRefs out" if self.provider == OPEN else "leave secretRefs out"
            yield Problem(("secretRefs",), f"provider {self.provider} {message}", remedy)
        if self.provider == GENERIC and self.hmac is None:
            yield Problem(("hmac",), "missing: provider HMAC needs to know how it signs", "add hmac: {header: …}")
        if self.provider != GENERIC and self.hmac is not None:
            yield Problem(
                ("hmac",), f"provider {self.provider} has its own way", "leave hmac out, or write provider: HMAC"
            )
        if self.header is not None and self.provider != KEYED:
            yield Problem(
                ("header",), f"provider {self.provider} has its own", "leave header out, or write provider: ApiKey"
            )
        if self.capture and self.provider not in _SENT:
            yield Problem(("capture",), f"provider {self.provider} sends no secret in a handshake", "leave capture out")
        if self.capture_for is not None and not self.capture:
            yield Problem(("captureFor",), "nothing is captured", "add capture: true, or leave captureFor out")
        if self.tolerance is not None and not self._timed():
            yield Problem(("tolerance",), f"provider {self.provider} signs no time here", "leave tolerance out")

    def _token_faults(self) -> Iterator[Problem]:
        if (self.provider in _TOKENED) != (self.jwt is not None):
            message = (
                f"missing: provider {self.provider} sends a token"
                if self.jwt is None
                else f"provider {self.provider} sends no token"
            )
            yield Problem(("jwt",), message, "add jwt: {audience: …}" if self.jwt is None else "leave jwt out")
            return
        if self.jwt is None:
            return
        for name, value in (("keysUrl", self.jwt.keys_url), ("issuer", self.jwt.issuer)):
            if (value is None) == (self.provider in _UNPUBLISHED):
                message = "missing: it is not known for" if value is None else "is known for"
                yield Problem(
                    ("jwt", name), f"{message} provider {self.provider}", "add it" if value is None else "leave it out"
                )
        given = [claim.name for claim in self.jwt.claims]
        for provider, claim in _CLAIMED:
            if provider == self.provider and claim not in given:
                message = f"provider {provider} needs the claim {claim}, or anybody's token would do"
                yield Problem(("jwt", "claims"), message, f"add {{name: {claim}, value: …}}")

    def _timed(self) -> bool:
        if self.provider == GENERIC:
            return self.hmac is None or self.hmac.timestamp_header is not None
        return presets()[self.provider].scheme.timestamp is not None


class Handshake(Part):
    """By a handshake a provider makes sure that the endpoint is ours, before it sends webhooks or now and then."""

    mode: Literal["Answer", "Queue"] = Field(
        default="Answer",
        description="Answer: the endpoint answers, and nothing is queued. Queue: it is taken like any webhook.",
    )
    verify_token_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The verify token that was given to the provider, which its handshake shows."
    )
    deliver_secret: bool = Field(
        default=False,
        description="Answer and deliver the unsigned request in which the provider sends its signing secret; of providers that do."
        " For the moment in which the webhook is made: anybody can send such a request.",
    )
    confirm: bool = Field(
        default=False,
        description="Confirm a subscription by visiting the URL that the provider sends; of provider SNS. Otherwise a person has to.",
    )


# Whose handshake shows a verify token.
_SHOWN = [name for name, known in presets().items() if any(item.token for item in known.handshakes)]
# Whose handshake is a visit.
_VISITED = [name for name, known in presets().items() if any(item.visits for item in known.handshakes)]
_SHOWS = f"self.verification.provider in [{', '.join(repr(name) for name in _SHOWN)}]"
_ANSWERS = "(!has(self.handshake) || !has(self.handshake.mode) || self.handshake.mode == 'Answer')"

_TOKEN_RULE = (
    "handshake.verifyTokenSecretRef is needed where the provider's handshake is answered and shows a verify token, and"
    f" useless elsewhere; those that show one: {', '.join(_SHOWN)}"
)
_CAPTURES = "(has(self.verification.capture) && self.verification.capture)"
HANDSHAKE_RULES = (
    (
        f"!{_CAPTURES} || ({_ANSWERS} && (!has(self.handshake) || !has(self.handshake.deliverSecret) || !self.handshake.deliverSecret))",
        "verification.capture needs handshake.mode Answer, and no handshake.deliverSecret beside it",
    ),
    (
        (
            f"!has(self.handshake) || !has(self.handshake.deliverSecret) || !self.handshake.deliverSecret"
            f" || (self.verification.provider in [{_listed(_SENT)}] && {_ANSWERS})"
        ),
        f"handshake.deliverSecret belongs to provider {_either(_SENT)} in mode Answer",
    ),
    (
        (
            f"!has(self.handshake) || !has(self.handshake.confirm) || !self.handshake.confirm || (self.verification.provider in [{_listed(_VISITED)}]"
            f" && {_ANSWERS})"
        ),
        f"handshake.confirm belongs to provider {_either(_VISITED)} in mode Answer",
    ),
    (f"({_SHOWS} && {_ANSWERS}) == (has(self.handshake) && has(self.handshake.verifyTokenSecretRef))", _TOKEN_RULE),
)


def handshake_faults(handshake: Handshake, verification: Verification) -> Iterator[Problem]:
    """What is wrong with what is given for the provider's handshake."""
    provider, given = verification.provider, handshake.verify_token_secret_ref is not None
    wanted = provider in _SHOWN and handshake.mode == "Answer"
    path = ("handshake", "verifyTokenSecretRef")
    if handshake.deliver_secret and (provider not in _SENT or handshake.mode == "Queue"):
        message = "says nothing in mode Queue" if provider in _SENT else f"provider {provider} sends no secret"
        yield Problem(("handshake", "deliverSecret"), message, "leave it out")
    if verification.capture and provider in _SENT and (handshake.mode == "Queue" or handshake.deliver_secret):
        what = ("mode", "leave mode out") if handshake.mode == "Queue" else ("deliverSecret", "leave deliverSecret out")
        message = "the secret that the provider sends is captured, as verification.capture says"
        yield Problem(("handshake", what[0]), message, what[1])
    if handshake.confirm and (provider not in _VISITED or handshake.mode == "Queue"):
        message = "says nothing in mode Queue" if provider in _VISITED else f"provider {provider} asks for no visit"
        yield Problem(("handshake", "confirm"), message, "leave it out")
    if wanted and not given:
        remedy = "add the Secret with the text you give to the provider as verify token, or write mode: Queue"
        yield Problem(path, f"missing: the handshake of provider {provider} shows a verify token", remedy)
    if given and not wanted:
        message = "is not looked at in mode Queue" if provider in _SHOWN else f"provider {provider} shows none"
        yield Problem(path, message, "leave it out")


# Who signs the URL that webhooks are sent to.
_SIGNERS = [name for name, known in presets().items() if known.scheme.signs_url]
_SIGNS = (
    f"(self.verification.provider in [{', '.join(repr(name) for name in _SIGNERS)}]"
    " || (has(self.verification.hmac) && self.verification.hmac.template.contains('url}')))"
)
URL_RULES = (
    (
        f"{_SIGNS} == has(self.publicUrl)",
        f"publicUrl is needed where the provider signs the URL, and useless elsewhere; those that do: {', '.join(_SIGNERS)}",
    ),
)


def url_faults(url: str | None, verification: Verification) -> Iterator[Problem]:
    """What is wrong with the public URL, which only counts where the provider signs it."""
    provider, template = verification.provider, verification.hmac.template if verification.hmac else ""
    signed = provider in _SIGNERS or "url}" in template
    if signed and url is None:
        yield Problem(
            ("publicUrl",), f"missing: provider {provider} signs the URL", "write the URL as it is at the provider"
        )
    if url is not None and not signed:
        yield Problem(("publicUrl",), f"provider {provider} signs no URL", "leave it out")
