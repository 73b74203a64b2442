"""What a person gave us to work with: the source among the manifests, and its secrets from wherever they are.

A secret's value is looked for in --secret, then the environment (FOREBAY_SECRET_NAME_KEY), then the manifests, then what
`forebay dev` noted down. It is never shown.
"""

import base64
import os
import re
import secrets as randomness
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay import manifest
from forebay.errors import SpecError
from forebay.manifest import Manifests
from forebay.signatures.configured import scheme_of
from forebay.signatures.scheme import KeyEncoding
from forebay.source import WebhookSource
from forebay_cli.private import write_private
from forebay_cli.sampling import USUAL_EVENT, Sampler
from forebay_cli.state import Home, Notes
from forebay_operator.desired.exposure import with_token
from forebay_operator.desired.ingest_settings import ingest_settings
from forebay_operator.desired.platform import Platform

Secrets = dict[str, dict[str, bytes]]
Key = tuple[str, str]  # a Secret's name, and a key in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A source and everything that was said beside it."""

    source: WebhookSource
    manifests: Manifests
    flags: Mapping[Key, bytes] = field(repr=False, default_factory=dict)  # --secret
    folder: Path | None = None  # of the manifest: where a handler's module is


def given(files: Iterable[str], flags: Iterable[str], wanted: str | None = None) -> Given:
    """The one source in the files, or the one that is wanted. Raises SpecError if there is not exactly one."""
    paths = list(files)
    manifests = manifest.load(*paths)
    found = [source for source in manifests.sources if wanted in (None, source.key)]
    if len(found) != 1:
        raise SpecError(_not_one(manifests, wanted))
    folders = (Path(path) if Path(path).is_dir() else Path(path).parent for path in paths if path != manifest.STDIN)
    return Given(source=found[0], manifests=manifests, flags=flags_of(flags), folder=next(folders, None))


def noted(home: Home, flags: Iterable[str], wanted: str | None = None) -> Given:
    """The source that runs on this machine. Raises SpecError if none does, or several do."""
    running = home.only(wanted)
    if running is None:
        raise SpecError("no source runs here; name its manifest with -f, or start it with forebay dev -f source.yaml")
    manifests = manifest.load(home.notes(running.source).folder / "source.json")
    return Given(source=manifests.sources[0], manifests=manifests, flags=flags_of(flags))


def with_destination(source: WebhookSource, url: str) -> WebhookSource:
    """The source, delivering to another URL instead of its destination or handler. Raises ManifestError."""
    data = source.model_dump(by_alias=True, exclude_unset=True, mode="json")
    worker = data["spec"]["worker"]
    worker.pop("handler", None)
    worker["destination"] = {"url": url}
    return manifest.read_source(data)


def signing_keys(source: WebhookSource) -> list[Key]:
    """The Secrets that its webhooks are signed with."""
    return [(ref.name, ref.key) for ref in source.spec.ingest.verification.secret_refs]


def url_keys(source: WebhookSource) -> list[Key]:
    """The Secrets any of which its URL has to hold."""
    tokens = source.spec.ingest.url_token
    return [(ref.name, ref.key) for ref in tokens.secret_refs] if tokens else []


def url_token(source: WebhookSource, found: Mapping[str, Mapping[str, bytes]]) -> str | None:
    """A token for its URL: the first that was found."""
    values = (found.get(name, {}).get(key) for name, key in url_keys(source))
    return next((value.decode("ascii", "replace") for value in values if value), None)


def _own_keys(source: WebhookSource) -> list[Key]:
    """The Secrets that are between the source and its provider: signing secrets, tokens of handshakes and of the URL."""
    token = source.spec.ingest.handshake.verify_token_secret_ref
    return [*signing_keys(source), *([(token.name, token.key)] if token else []), *url_keys(source)]


def find(given: Given, notes: Notes, keys: Iterable[Key]) -> Secrets:
    """The values of those of the secrets that can be found."""
    found: Secrets = {}
    for name, key in keys:
        value = _value(given, notes, name, key)
        if value is not None:
            # Without the newline of an editor, as the parts read it.
            found.setdefault(name, {})[key] = value.rstrip(b"\r\n")
    return found


def generate(given: Given, notes: Notes, found: Secrets) -> list[Path]:
    """Make up the secrets between source and provider that were not found; the files they are kept in. Adds them to `found`."""
    made = []
    awaited = signing_keys(given.source) if given.source.spec.ingest.verification.capture else []
    for name, key in _own_keys(given.source):
        if key in found.get(name, {}) or (name, key) in awaited:
            continue
        value = _random_secret(given.source, name, key)
        write_private(notes.secret_file(name, key), value)
        found.setdefault(name, {})[key] = value
        made.append(notes.secret_file(name, key))
    return made


def keep(given: Given, notes: Notes, found: Secrets) -> None:
    """Note down the source and its secrets, so that `forebay send` needs no manifest."""
    notes.save_source(given.source.model_dump(by_alias=True, exclude_unset=True, mode="json"))
    for name, key in _own_keys(given.source):
        if key in found.get(name, {}):
            write_private(notes.secret_file(name, key), found[name][key])


def sampler_of(
    source: WebhookSource,
    secret: bytes,
    *,
    event: str | None = None,
    data: bytes | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    token: str | None = None,
) -> Sampler:
    """What makes samples of the source's webhooks, signed with this secret; `token` is the one in their URL."""
    provider = source.spec.ingest.verification.provider
    return Sampler(
        provider=provider,
        scheme=scheme_of(ingest_settings(source, Platform()).verification),
        secret=secret,
        event=event or USUAL_EVENT.get(provider, "example"),
        data=data,
        headers=headers,
        url=with_token(source, source.spec.ingest.public_url or "", token or ""),
    )


def _not_one(manifests: Manifests, wanted: str | None) -> str:
    names = ", ".join(source.key for source in manifests.sources)
    if wanted is not None and names:
        return f"there is no source {wanted} among them, only {names}; name one of these with --source"
    if names:
        return f"there are several sources: {names}; say which with --source"
    return "there is no WebhookSource in these files; begin one with forebay init github > source.yaml"


def flags_of(flags: Iterable[str]) -> dict[Key, bytes]:
    """What --secret says. Raises SpecError."""
    return dict(map(_flag, flags))


def _flag(text: str) -> tuple[Key, bytes]:
    place, equals, value = text.partition("=")
    name, slash, key = place.partition("/")
    if not (equals and slash and name and key):
        raise SpecError(
            "--secret can not be read; write NAME/KEY=@FILE, or NAME/KEY=VALUE, which your shell's history remembers"
        )
    if not value.startswith("@"):
        return (name, key), value.encode()
    try:
        return (name, key), Path(value[1:]).read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise SpecError(
            f"--secret {place}: file {value[1:]} can not be read: {error.strerror}; check its name"
        ) from error


def _value(given: Given, notes: Notes, name: str, key: str) -> bytes | None:
    if (name, key) in given.flags:
        return given.flags[name, key]
    if (text := os.environ.get(variable(name, key))) is not None:
        return text.encode()
    secret = given.manifests.secret(given.source.namespace, name)
    if secret is not None and key in secret.data:
        return secret.data[key]
    try:
        return notes.secret_file(name, key).read_bytes()
    except OSError:
        return None


def variable(name: str, key: str) -> str:
    """The environment variable of a Secret's key."""
    return "FOREBAY_SECRET_" + re.sub(r"[^A-Z0-9]+", "_", f"{name}_{key}".upper())


def variable_is_set(name: str, key: str) -> bool:
    """Whether the environment says what is in a Secret's key."""
    return variable(name, key) in os.environ


def _random_secret(source: WebhookSource, name: str, key: str) -> bytes:
    """A secret of the form that the provider's have. Raises SpecError where only the provider can make one."""
    scheme = scheme_of(ingest_settings(source, Platform()).verification)
    if (name, key) not in signing_keys(source):
        return randomness.token_urlsafe(24).encode()
    if scheme.algorithm.fetched:
        raise SpecError(
            f"{name}/{key} holds what the provider calls your side, which can not be made up; give it with --secret {name}/{key}=TEXT"
        )
    if scheme.algorithm.public:
        raise SpecError(
            f"{name}/{key} holds the provider's public key, which can not be made up; give it with --secret {name}/{key}=@FILE"
        )
    match scheme.key_encoding:
        case KeyEncoding.TEXT:
            return randomness.token_urlsafe(24).encode()
        case KeyEncoding.HEX:
            return randomness.token_hex(32).encode()
        case KeyEncoding.BASE64:
            return scheme.key_prefix.encode() + base64.b64encode(randomness.token_bytes(24))
