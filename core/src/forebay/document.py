"""YAML text as plain data with the line and column of everything in it. Bounded; never raises for what a person wrote.

Reads the YAML that Kubernetes reads: mappings with text keys, lists, text, numbers, booleans, null. Dates stay text. A key
that stands twice, a document too deep or too large, an alias that multiplies itself: each is a fault with its place.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from typing_extensions import override

# An object of the API server is at most 1.5 MiB; a source is a few KiB.
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 50_000  # per document, aliases followed

_SHOWN = 60  # characters of a stranger's text that a message repeats

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, the first is 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing a person wrote that can not be used, where it stands, and what to write instead."""

    path: str  # "spec.retry.maxAttempts"; "" for the document as a whole
    message: str
    remedy: str
    line: int = 0  # 0: nowhere in the file
    column: int = 0
    where: str = ""  # name of the file

    @override
    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.where, self.line, self.column) if part)
        text = ": ".join(part for part in (place, self.path, self.message) if part)
        return f"{text}; {self.remedy}" if self.remedy else text


@dataclass(slots=True)
class Document:
    """One YAML document: its data, and where each path of it stands."""

    data: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where a path stands, or the nearest thing above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def fault(self, path: Path, message: str, remedy: str) -> Fault:
        line, column = self.place(path)
        return Fault(path=dotted(path), message=message, remedy=remedy, line=line, column=column)


def dotted(path: Path) -> str:
    """A path as people write it: spec.queues[0].name."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in path)
    return text.removeprefix(".")


def printable(text: str) -> str:
    """A stranger's text, fit for a terminal: on one line, not too long, without control characters."""
    safe = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[:_SHOWN])
    return safe if len(text) <= _SHOWN else f"{safe}…"


def documents(text: bytes | str) -> list[Document]:
    """The documents in a YAML text; where it is no YAML, one more document that holds the fault."""
    try:
        decoded = _decoded(text)
        _measure(decoded)
        return [_document(node) for node in yaml.compose_all(decoded, Loader=yaml.SafeLoader) if not _empty(node)]
    except _Unusable as error:
        return [Document(faults=[error.fault])]
    except yaml.YAMLError as error:
        return [Document(faults=[_syntax(error)])]


class _Unusable(Exception):
    """Carries a fault; never seen outside."""

    def __init__(self, message: str, remedy: str, mark: Any = None) -> None:
        super().__init__(message)
        line, column = _at(mark) if mark else (1, 1)
        self.fault = Fault(path="", message=message, remedy=remedy, line=line, column=column)


def _decoded(text: bytes | str) -> str:
    if len(text) > MAX_BYTES:
        raise _Unusable(f"{len(text)} bytes are too many", f"keep a file below {MAX_BYTES} bytes")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _Unusable(f"byte {error.start} (line {line}) is not UTF-8", "save the file as UTF-8") from None


def _measure(text: str) -> None:
    """Counts before anything is built: the parser's events need no recursion, its nodes do. Raises _Unusable."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            nodes = 0
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _Unusable(f"nested more than {MAX_DEPTH} deep", "no source needs that", event.start_mark)
        if nodes > MAX_NODES:
            raise _Unusable(f"more than {MAX_NODES} values", "no source needs that", event.start_mark)


def _document(node: yaml.Node) -> Document:
    document = Document()
    try:
        document.data = _Builder(document).value(node, (), 0)
    except _Unusable as error:
        document.faults.append(error.fault)
    return document


class _Builder:
    """Turns nodes into data, and notes where they stand and what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._built = 0

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._built += 1
        if self._built > MAX_NODES or depth > MAX_DEPTH:
            raise _Unusable("its aliases (*) multiply beyond all measure", "write out what is meant", node.start_mark)
        self._document.places.setdefault(path, _at(node.start_mark))
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path, depth))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _items(self, node: yaml.MappingNode, path: Path, depth: int) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in seen:
                self._note((*path, key), key_node, f"{printable(key)} stands here twice", "keep one of them")
                continue
            seen.add(key)
            self._document.places[(*path, key)] = _at(key_node.start_mark)
            yield key, self.value(value_node, (*path, key), depth + 1)

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._note(path, node, "a list or an object can not be a key", "write text before the colon")
            return None
        if node.tag == "tag:yaml.org,2002:merge":
            self._note(path, node, "merge keys (<<) are not part of Kubernetes' YAML", "write the fields out")
            return None
        return str(node.value)

    def _note(self, path: Path, node: yaml.Node, message: str, remedy: str) -> None:
        line, column = _at(node.start_mark)
        fault = Fault(path=dotted(path), message=message, remedy=remedy, line=line, column=column)
        self._document.faults.append(fault)


_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_REAL = re.compile(r"[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")


def _scalar(node: Any) -> Any:
    """The value of a scalar by what it looks like; everything that is not clearly something else is text."""
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "int" | "float":
            return _number(text)
        case _:
            return text


def _number(text: str) -> int | float | str:
    """YAML 1.1 has more numbers than anybody means (1:30, 1_000); those stay text, and are refused where a number is due."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    return float(text) if _REAL.fullmatch(text) else text


def _empty(node: Any) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.value == "")


def _at(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _syntax(error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = _at(mark) if mark else (1, 1)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can not be read"
    context = getattr(error, "context", None)
    message = f"not YAML: {f'{context}, ' if context else ''}{problem}"
    return Fault(path="", message=message, remedy=_hint(message), line=line, column=column)


def _hint(message: str) -> str:
    if "'\\t'" in message:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in message:
        return "put the value in quotes if it holds a colon, or check the indentation"
    if "expected <block end>" in message:
        return "check the indentation of this line and the ones above it"
    return "check quotes, brackets and indentation here and on the line above"
