"""forebay verify: what the endpoint would say of a recorded request."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click

from forebay.errors import SpecError
from forebay.json_path import dig
from forebay.settings import Jwt, Verification
from forebay.signatures.configured import Fetching, verifier_of
from forebay.signatures.elsewhere import Line
from forebay.signatures.key_ring import KeyRing, read_certificate, read_key_set
from forebay.signatures.presets import Preset, preset
from forebay.signatures.replies import Denied, Question, Replies, Reply
from forebay.signatures.scheme import Algorithm
from forebay.signatures.stamps import read_moment
from forebay.signatures.verify import Refused, Verified, Verifier, Verifies
from forebay_cli import options


@click.command(
    "verify",
    epilog=options.examples("""
forebay verify --provider github --request recorded.http --secret-file webhook-secret
forebay verify --provider stripe --request recorded.http --secret whsec_… --now 2026-11-26T11:30:00Z
"""),
)
@click.option("--provider", required=True, metavar="NAME", help="Who signed it, in any case; see forebay providers.")
@click.option(
    "--request",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="The request as it was sent: its first line, headers, an empty line, the body's bytes; - for standard input.",
)
@click.option("--secret", "secrets", multiple=True, metavar="TEXT", help="A signing secret. Can be repeated.")
@click.option(
    "--secret-file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The same from a file, which keeps it out of the shell's history; a newline at its end is left out.",
)
@click.option("--verify-token", metavar="TEXT", help="The verify token that the provider's handshake shows.")
@click.option("--url", metavar="URL", help="The URL that the provider knows, for those that sign it.")
@click.option(
    "--key",
    "key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What the provider publishes to verify by, a certificate or a key set; nothing is fetched here.",
)
@click.option("--issuer", metavar="TEXT", help="Who issued a token, where that is not known of the provider.")
@click.option("--audience", metavar="TEXT", help="Whom a token is for.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=TEXT", help="What else a token says. Can be repeated.")
@click.option("--now", metavar="TIME", help="Verify as of this time: RFC 3339, or seconds since 1970.  [default: now]")
@click.option("--tolerance", type=float, metavar="SECONDS", help="How far from now the signed time may be.")
def command(
    *,
    provider: str,
    file: Path,
    secrets: tuple[str, ...],
    files: tuple[Path, ...],
    verify_token: str | None,
    url: str | None,
    key: Path | None,
    issuer: str | None,
    audience: str | None,
    claims: tuple[str, ...],
    now: str | None,
    tolerance: float | None,
) -> None:
    """Say whether a recorded request is let in, and why not.

    For a handshake of the provider it says what that is answered. Prints JSON. Exits with 0 if it is let in or answered, with 1 if it is refused.
    """
    known = preset(provider)
    if known.name == "HMAC":
        raise SpecError("provider HMAC does not say how it signs; name one of forebay providers")
    request = parse_request(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    keys = [secret.encode() for secret in secrets] + [path.read_bytes().removesuffix(b"\n") for path in files]
    if not keys and known.scheme.algorithm not in (Algorithm.NONE, Algorithm.JWT):
        raise SpecError(f"provider {known.name} needs a secret to check with; give --secret or --secret-file")
    line, at = _line(known, request, url), _moment(now)
    jwt = Jwt(audience=audience or "", issuers=(issuer,) if issuer else (), claims=tuple(map(_claim, claims)))
    verifier = _verifier(known, keys, tolerance, jwt, _Published(key, request, line, at))
    replies = _replies(known, keys, verify_token, request)

    def verified(question: Question) -> Verified | Refused:
        return verifier.verify(question.headers, question.body, at, line)

    verdict = replies.reply(request, verified) or verified(request)
    click.echo(json.dumps(_answer(known, verdict, request), indent=2))
    if isinstance(verdict, Refused | Denied):
        click.get_current_context().exit(1)


class _Published(NamedTuple):
    """What the provider publishes, and the request that it is for."""

    file: Path | None
    request: Question
    line: Line
    now: float


def _verifier(known: Preset, keys: list[bytes], tolerance: float | None, jwt: Jwt, given: _Published) -> Verifies:
    scheme = known.scheme
    if not scheme.algorithm.fetched:
        return Verifier(scheme, keys, tolerance)
    ring = KeyRing()
    where = scheme.published.url if scheme.published and scheme.published.url else "https://…"
    settings = Verification(provider=known.name, jwt=replace(jwt, keys_url=where))
    verifier = verifier_of(replace(settings, tolerance_s=round(tolerance) if tolerance else None), keys, ring)
    assert isinstance(verifier, Fetching), "as the scheme's algorithm says"
    url = verifier.wants(given.request.headers, given.request.body, given.now, given.line)
    if url and not given.file:
        raise SpecError(f"{known.name} publishes what to verify by at {url}; fetch it, and give it with --key")
    if url and given.file:
        read = read_certificate if scheme.algorithm is Algorithm.RSA else read_key_set
        ring.keep(url, read(given.file.read_bytes()), given.now)
    return verifier


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise SpecError(f"--claim {text!r} can not be read; write NAME=TEXT")
    return name, value


Verdict = Verified | Refused | Reply | Denied


def _line(known: Preset, request: Question, url: str | None) -> Line:
    if known.scheme.signs_url and not url:
        raise SpecError(f"{known.name} signs the URL; give it with --url, as it is written at the provider")
    path, mark, query = request.target.partition("?")
    return Line(request.method, url if url and "?" in url else (url or path) + mark + query)


def _replies(known: Preset, keys: list[bytes], token: str | None, request: Question) -> Replies:
    shown = any(item.token for item in known.handshakes)
    if shown and not token and request.method == "GET":
        raise SpecError(f"the handshake of {known.name} shows a verify token; give it with --verify-token")
    handshakes = known.handshakes if token or not shown else ()
    return Replies(handshakes, known.scheme, keys, token.encode() if token else None)


def parse_request(raw: bytes) -> Question:
    """An HTTP/1.1 request (RFC 9112). Lines may end in LF alone. Raises SpecError, which names the line."""
    head, body = _parted(raw)
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    if len(first.split(b" ")) != 3 or b"HTTP/" not in first:
        raise SpecError("the request: line 1 is no request line; begin it with POST /path HTTP/1.1")
    headers = []
    for number, line in enumerate(lines, 2):
        name, colon, value = line.partition(b":")
        if not (colon and name) or name.strip() != name:
            raise SpecError(
                f"the request: line {number} is no header; write Name: value, and an empty line before the body"
            )
        headers.append((name, value.strip(b" \t")))
    method, target, _ = first.decode("latin-1").split(" ")
    return Question(method, target, tuple(headers), body)


def _parted(raw: bytes) -> tuple[bytes, bytes]:
    ends = [(raw.index(end), len(end)) for end in (b"\r\n\r\n", b"\n\n") if end in raw]
    if not ends:
        raise SpecError("the request has no empty line after its headers; the body begins after it")
    at, length = min(ends)
    return raw[:at], raw[at + length :]


def _moment(text: str | None) -> float:
    if text is None:
        return time.time()
    moment = float(text) if text.replace(".", "", 1).isdigit() else read_moment(text)
    if moment is None:
        raise SpecError(f"--now {text!r} is no time; write 2026-11-26T11:30:00Z or seconds since 1970")
    return moment


def _answer(known: Preset, verdict: Verdict, request: Question) -> dict[str, object]:
    named = {name.lower(): value.decode("latin-1") for name, value in reversed(request.headers)}
    place, name = known.scheme.event_place
    kind = named.get(name.lower().encode()) if place == "header" else _in_body(request.body, name) if name else None
    ids = (named.get(header.lower().encode()) for header in known.scheme.delivery_id_headers)
    return {
        "accepted": isinstance(verdict, Verified | Reply),
        "provider": known.name,
        "reason": _reason(verdict),
        "event_type": kind,
        "dedup_key": next((value for value in ids if value is not None), None),
        "handshake": _handshake(verdict) if isinstance(verdict, Reply) else None,
    }


def _reason(verdict: Verdict) -> str | None:
    match verdict:
        case Refused(reason):
            return reason.value
        case Denied():
            return verdict.value
        case Verified() | Reply():
            return None


def _handshake(reply: Reply) -> dict[str, object]:
    return {"status": int(reply.status), "headers": dict(reply.headers), "body": reply.body.decode()}


def _in_body(body: bytes, path: str) -> str | None:
    try:
        value = dig(json.loads(body), path)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None
