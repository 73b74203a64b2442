"""Whether a preset does what it promises: requests that are made up, tampered with, or published. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line
from forebay.signatures.presets import Preset, Vector
from forebay.signatures.scheme import Encoding, Scheme
from forebay.signatures.specimen import FORM, Headers, Signer, Specimen, signer, specimen
from forebay.signatures.verify import Refused, Verifier

NOW = 1_800_000_000.0
HUGE = b"x" * 100_000


@dataclass(frozen=True, slots=True)
class Trial:
    """One request, and what became of it."""

    what: str
    expected: bool  # to be let in
    said: str  # "" where it was let in, else the reason

    @property
    def passed(self) -> bool:
        return self.expected == (self.said == "")


def trials(preset: Preset) -> list[Trial]:
    """All of them. Raises SpecError where nothing can be tried."""
    made = [*_made_up(preset.scheme)] if _can_be_made_up(preset.scheme) else []
    found = made + [_published(preset, vector) for vector in preset.vectors]
    if not found:
        raise SpecError(
            f"provider {preset.name} can not be tried: no request can be made up for it, and it has no vector"
        )
    return found


def _can_be_made_up(scheme: Scheme) -> bool:
    try:
        signer(scheme, b"a")
    except SpecError:
        return False
    return True


def _published(preset: Preset, vector: Vector) -> Trial:
    headers = tuple((name.encode(), value.encode("latin-1")) for name, value in vector.pairs)
    request = Specimen(headers, vector.body.encode(), Line(vector.method, vector.url))
    return Trial(
        f"published in {vector.source}", True, _said(preset.scheme, (vector.secret.encode(),), request, vector.now)
    )


class _Bench:
    """The requests of one scheme, which is tried with two secrets."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        self.ours, self.next, self.theirs = (signer(scheme, seed * 16) for seed in (b"a1", b"b2", b"c3"))
        self.secrets = (self.next.secret, self.ours.secret)
        self.good = specimen(scheme, self.ours, NOW)

    def trial(self, what: str, request: Specimen, *, expected: bool = False, now: float = NOW) -> Trial:
        return Trial(what, expected, _said(self.scheme, self.secrets, request, now))

    def by(self, whom: Signer, **how: object) -> Specimen:
        return specimen(self.scheme, whom, NOW, **how)  # type: ignore[arg-type]  # what specimen takes


def _made_up(scheme: Scheme) -> Iterator[Trial]:
    bench = _Bench(scheme)
    good = bench.good
    yield bench.trial("signed with a secret", good, expected=True)
    yield bench.trial("signed with another secret of the source", bench.by(bench.next), expected=True)
    yield bench.trial("signed by somebody else", bench.by(bench.theirs))
    yield Trial("a source without a secret", False, _said(scheme, (), good, NOW))
    lower = tuple((name.swapcase(), value) for name, value in good.headers)
    yield bench.trial("headers whose names are written in another case", replace(good, headers=lower), expected=True)
    yield from _bodies(bench)
    yield from _signatures(bench)
    yield from _times(bench)
    if scheme.separator:
        yield bench.trial(
            "a list whose second signature is good", bench.by(bench.ours, before=[bench.theirs]), expected=True
        )
        yield bench.trial("a list without a good signature", bench.by(bench.theirs, before=[bench.theirs]))


def _bodies(bench: _Bench) -> Iterator[Trial]:
    if bench.scheme.body_is_free:
        return
    good = bench.good
    yield bench.trial("a byte of the body changed", replace(good, body=good.body[:-1] + bytes([good.body[-1] ^ 1])))
    yield bench.trial("a byte more", replace(good, body=good.body + b" "))
    yield bench.trial("no body, though one was signed", replace(good, body=b""))
    yield bench.trial("an empty body, signed", bench.by(bench.ours, body=b""), expected=True)
    if bench.scheme.content_type != FORM:
        odd = bytes(range(256))
        yield bench.trial("a body of any bytes, signed", bench.by(bench.ours, body=odd), expected=True)


def _signatures(bench: _Bench) -> Iterator[Trial]:
    places = {name.lower().encode() for name in bench.scheme.signature_headers}
    for index, (name, value) in enumerate(bench.good.headers):
        if name.lower() not in places:
            continue
        for at in range(len(value)):
            changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
            yield bench.trial(f"byte {at} of {name.decode()} changed", _with(bench.good, index, changed))
        for what, strange in (
            ("empty", b""),
            ("huge", HUGE),
            ("not ASCII", b"\xff\xc3\xab"),
            ("cut short", value[:-1]),
        ):
            yield bench.trial(f"{name.decode()} that is {what}", _with(bench.good, index, strange))
        if bench.scheme.encoding is Encoding.HEX:
            yield bench.trial(f"{name.decode()} in capitals", _with(bench.good, index, value.upper()))
        twice = replace(bench.good, headers=(*bench.good.headers, (name, value)))
        yield bench.trial(f"{name.decode()} twice", twice)
        yield bench.trial(f"without {name.decode()}", replace(bench.good, headers=_without(bench.good.headers, index)))


def _times(bench: _Bench) -> Iterator[Trial]:
    stamp = bench.scheme.timestamp
    if stamp is None:
        return
    limit = stamp.tolerance
    for what, now, expected in (
        ("as old as it may be", NOW + limit, True), ("older", NOW + limit + 1, False),
        ("as far ahead as it may be", NOW - limit, True), ("further ahead", NOW - limit - 1, False),
    ):  # fmt: skip
        yield bench.trial(f"signed at a time that is {what}", bench.good, expected=expected, now=now)
    names = {name.lower().encode() for name in stamp.headers}
    for index, (name, value) in enumerate(bench.good.headers):
        if name.lower() in names:
            for what, other in (("another", value[:-1] + b"1"), ("empty", b""), ("huge", HUGE), ("not ASCII", b"\xff")):
                yield bench.trial(f"{name.decode()} that is {what}", _with(bench.good, index, other))


def _with(request: Specimen, index: int, value: bytes) -> Specimen:
    headers = list(request.headers)
    headers[index] = (headers[index][0], value)
    return replace(request, headers=tuple(headers))


def _without(headers: Headers, index: int) -> Headers:
    return headers[:index] + headers[index + 1 :]


def _said(scheme: Scheme, secrets: tuple[bytes, ...], request: Specimen, now: float) -> str:
    verdict = Verifier(scheme, secrets).verify(request.headers, request.body, now, request.line)
    return verdict.reason.value if isinstance(verdict, Refused) else ""
