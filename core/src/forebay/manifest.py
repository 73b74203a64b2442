"""Manifests of a person: files of YAML to WebhookSources and Secrets, or every fault in them at once, each with its place.

    manifests = load("source.yaml", "secret.yaml")

Objects of other kinds are left alone, with a note.
"""

import sys
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forebay.document import Document, Fault, documents, printable
from forebay.errors import SpecError
from forebay.faults import contradictions_in, explain
from forebay.source import API_VERSION, GROUP, KIND, WebhookSource
from forebay.source.perishable import goes_with_pod
from forebay.source.values import kind as kind_of
from forebay.source.values import shown

__all__ = ["Fault", "ManifestError", "Manifests", "Secret", "load", "parse", "read_source"]

STDIN = "-"
# Nobody reads more of them; bounds the work on a stranger's file.
MAX_FAULTS = 100
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Kubernetes Secret of a manifest, for running a source on this machine."""

    namespace: str
    name: str
    data: Mapping[str, bytes] = field(repr=False)  # never printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What was found in some files, in order."""

    sources: tuple[WebhookSource, ...] = ()
    secrets: tuple[Secret, ...] = ()
    notes: tuple[str, ...] = ()  # of each object of another kind, and of what may not go as its writer thinks

    def secret(self, namespace: str, name: str) -> Secret | None:
        return next((s for s in self.secrets if (s.namespace, s.name) == (namespace, name)), None)


class ManifestError(SpecError):
    """Everything that is wrong with some manifests."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def load(*paths: str | Path) -> Manifests:
    """The manifests in files, in the YAML files of folders, and in standard input ("-"). Raises ManifestError."""
    found, faults = _Found(), list[Fault]()
    for path in paths:
        try:
            for name, text in _texts(path):
                faults += _collect(found, text, name)
        except OSError as error:
            remedy = "check its name, or write - to read standard input"
            faults.append(Fault(path="", where=str(path), message=f"can not be read: {error.strerror}", remedy=remedy))
    return _finished(found, faults)


def parse(text: bytes | str, where: str = "") -> Manifests:
    """The manifests in a YAML text. Raises ManifestError."""
    found = _Found()
    return _finished(found, _collect(found, text, where))


def read_source(data: Any) -> WebhookSource:
    """The source in an object as the API server hands it out. Raises ManifestError, whose faults have no line."""
    document = Document(data=data)
    source, faults = _source(document)
    if source is None or faults:
        raise ManifestError(replace(fault, line=0, column=0) for fault in faults)
    return source


@dataclass(slots=True)
class _Found:
    sources: list[WebhookSource] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _finished(found: _Found, faults: list[Fault]) -> Manifests:
    if faults:
        raise ManifestError(faults)
    return Manifests(sources=tuple(found.sources), secrets=tuple(found.secrets), notes=tuple(found.notes))


def _texts(path: str | Path) -> Iterator[tuple[str, bytes]]:
    if str(path) == STDIN:
        yield "<stdin>", sys.stdin.buffer.read()
    elif Path(path).is_dir():
        files = sorted(file for file in Path(path).iterdir() if file.suffix in _SUFFIXES)
        yield from ((str(file), file.read_bytes()) for file in files)
    else:
        yield str(path), Path(path).read_bytes()


def _collect(found: _Found, text: bytes | str, where: str) -> list[Fault]:
    faults: list[Fault] = []
    for document in documents(text):
        faults += _take(found, document)
        if len(faults) > MAX_FAULTS:
            break
    faults.sort(key=lambda fault: (fault.line, fault.column))
    return [replace(fault, where=where) for fault in _bounded(faults)]


def _bounded(faults: list[Fault]) -> list[Fault]:
    if len(faults) <= MAX_FAULTS:
        return faults
    last = replace(faults[MAX_FAULTS], path="", message="and more faults from here on", remedy="mend these first")
    return [*faults[:MAX_FAULTS], last]


def _take(found: _Found, document: Document) -> list[Fault]:
    """Adds a document's object to what was found; returns what is wrong with it."""
    if document.faults and document.data is None:
        return document.faults
    if not isinstance(document.data, dict):
        remedy = f"begin with apiVersion: {API_VERSION} and kind: {KIND}"
        return [document.fault((), f"{kind_of(document.data)} is no Kubernetes object", remedy)]
    return [*document.faults, *_take_object(found, document)]


def _take_object(found: _Found, document: Document) -> list[Fault]:
    version, kind = document.data.get("apiVersion"), document.data.get("kind")
    if kind == KIND or str(version).partition("/")[0] == GROUP:
        source, faults = _source(document)
        return faults if source is None else faults + _add_source(found, document, source)
    if (version, kind) == ("v1", "Secret"):
        return _add_secret(found, document)
    missing = [name for name, value in (("apiVersion", version), ("kind", kind)) if not isinstance(value, str)]
    if missing:
        return [document.fault((name,), "missing", f"add {name}, such as {_EXAMPLES[name]}") for name in missing]
    found.notes.append(f"{printable(kind)} {_name_of(document.data)} is not for Forebay, and left alone")
    return []


_EXAMPLES = {"apiVersion": API_VERSION, "kind": KIND}


def _source(document: Document) -> tuple[WebhookSource | None, list[Fault]]:
    try:
        return WebhookSource.model_validate(document.data), []
    except ValidationError as error:
        details = error.errors(include_url=False)[: MAX_FAULTS + 1]
        shapes = [problem for detail in details for problem in explain(WebhookSource, detail)]
        problems = dict.fromkeys([*shapes, *contradictions_in(WebhookSource, document.data)])
        return None, [document.fault(*problem) for problem in problems]


def _add_source(found: _Found, document: Document, source: WebhookSource) -> list[Fault]:
    if any(other.key == source.key for other in found.sources):
        message = f"source {source.key} is defined a second time"
        return [document.fault(("metadata", "name"), message, "give each source a name of its own")]
    found.sources.append(source)
    scaling = source.spec.worker.autoscaling
    if scaling is not None and scaling.unrest:
        found.notes.append(f"{source.key}: {scaling.unrest}")
    if passing := goes_with_pod(source):
        found.notes.append(f"{source.key}: {passing}")
    return []


def _add_secret(found: _Found, document: Document) -> list[Fault]:
    """A Secret as the API server would take it; no message ever repeats a value of it."""
    metadata = document.data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        return [document.fault(("metadata", "name"), "missing", "give the Secret a name")]
    namespace = metadata.get("namespace") or "default"
    values, faults = _secret_values(document)
    found.secrets.append(Secret(namespace=str(namespace), name=name, data=values))
    return faults


def _secret_values(document: Document) -> tuple[dict[str, bytes], list[Fault]]:
    values: dict[str, bytes] = {}
    faults: list[Fault] = []
    for part, read in (("data", _decoded), ("stringData", str.encode)):
        given = document.data.get(part) or {}
        if not isinstance(given, dict):
            faults.append(
                document.fault((part,), f"{kind_of(given)}, where an object is due", "write key: value lines")
            )
            continue
        for key, value in given.items():
            try:
                values[key] = read(value)
            except (TypeError, ValueError):
                remedy = "write base64, or use stringData" if part == "data" else "put the value in quotes"
                faults.append(document.fault((part, key), "not usable as a Secret's value", remedy))
    return values, faults


def _decoded(value: Any) -> bytes:
    try:
        return b64decode("".join(value.split()), validate=True)
    except (NotBase64, AttributeError) as error:
        raise ValueError from error


def _name_of(data: Mapping[str, Any]) -> str:
    metadata = data.get("metadata")
    return shown(metadata.get("name")) if isinstance(metadata, Mapping) else "without a name"
