"""How a webhook proves where it comes from, as a person writes it down."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from forebay.errors import SpecError
from forebay.signatures.presets import presets
from forebay.signatures.template import compile_template
from forebay.source.model import Part, Problem, cel, wrong
from forebay.source.references import SecretKeyRef
from forebay.source.spelling import closest
from forebay.source.values import HeaderName, HeaderValue, JsonPath, Line, Span, shown

OPEN = "None"
GENERIC = "HMAC"
KEYED = "ApiKey"


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


class Verification(Part):
    """How a webhook proves that it comes from the provider."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (f"(self.provider == '{GENERIC}') == has(self.hmac)", "hmac belongs to provider HMAC, which needs it"),
            (f"!has(self.header) || self.provider == '{KEYED}'", "header belongs to provider ApiKey"),
            (
                f"(self.provider == '{OPEN}') == (!has(self.secretRefs) || size(self.secretRefs) == 0)",
                "secretRefs is needed to verify signatures, and useless for provider None",
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
    tolerance: Annotated[float, Span("1s", "1d")] | None = Field(
        default=None, description="How far the signed time may be from now. Default: the provider's recommendation."
    )
    header: HeaderName | None = Field(
        default=None, description="Header that holds the key; of provider ApiKey. Default: X-API-Key."
    )
    hmac: Hmac | None = Field(default=None, description="How a provider without a preset signs; of provider HMAC.")

    @override
    def faults(self) -> Iterator[Problem]:
        signed = self.provider != OPEN
        if signed and not self.secret_refs:
            remedy = "add secretRefs: [{name: …, key: …}] with the Secret that holds the signing secret"
            yield Problem(("secretRefs",), f"missing: provider {self.provider} needs a secret to check with", remedy)
        if not signed and self.secret_refs:
            yield Problem(("secretRefs",), "provider None checks nothing", "name the provider, or leave secretRefs out")
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
        if self.tolerance is not None and not self._timed():
            yield Problem(("tolerance",), f"provider {self.provider} signs no time here", "leave tolerance out")

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


# Whose handshake shows a verify token.
_SHOWN = [name for name, known in presets().items() if any(item.token for item in known.handshakes)]
_SHOWS = f"self.verification.provider in [{', '.join(repr(name) for name in _SHOWN)}]"
_ANSWERS = "(!has(self.handshake) || !has(self.handshake.mode) || self.handshake.mode == 'Answer')"

_TOKEN_RULE = (
    "handshake.verifyTokenSecretRef is needed where the provider's handshake is answered and shows a verify token, and"
    f" useless elsewhere; those that show one: {', '.join(_SHOWN)}"
)
HANDSHAKE_RULES = (
    (f"({_SHOWS} && {_ANSWERS}) == (has(self.handshake) && has(self.handshake.verifyTokenSecretRef))", _TOKEN_RULE),
)


def handshake_faults(handshake: Handshake, verification: Verification) -> Iterator[Problem]:
    """What is wrong with what is given for the provider's handshake."""
    provider, given = verification.provider, handshake.verify_token_secret_ref is not None
    wanted = provider in _SHOWN and handshake.mode == "Answer"
    path = ("handshake", "verifyTokenSecretRef")
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
    " || (has(self.verification.hmac) && self.verification.hmac.template.contains('{url}')))"
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
    signed = provider in _SIGNERS or "{url}" in template
    if signed and url is None:
        yield Problem(
            ("publicUrl",), f"missing: provider {provider} signs the URL", "write the URL as it is at the provider"
        )
    if url is not None and not signed:
        yield Problem(("publicUrl",), f"provider {provider} signs no URL", "leave it out")
