"""Frozen dataclasses from what JSON holds and back: every fault is found and named by its path, nothing unknown is passed over.

It knows dataclasses, tuples, mappings, literals, optional values and what JSON has itself. Reads nothing, changes nothing.
"""

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def plain(value: Any) -> Any:
    """Like dataclasses.asdict, but leaves out what has its default: a reader sees what somebody decided."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if not _is_default(value, f.name)}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def _is_default(value: Any, name: str) -> bool:
    declared = next(f for f in fields(value) if f.name == name)
    if declared.default is not MISSING:
        return bool(getattr(value, name) == declared.default)
    if declared.default_factory is not MISSING:
        return bool(getattr(value, name) == declared.default_factory())
    return False


def read(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    """The value of this type that the data describes. What is wrong with it is added to `faults`; then the value is none to use."""
    reader = _reader(kind)
    return reader(kind, data, path, faults)


def _reader(kind: Any) -> Callable[[Any, Any, str, list[str]], Any]:
    if is_dataclass(kind):
        return _read_dataclass
    return _READERS.get(get_origin(kind), _read_scalar)


def _read_dataclass(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(data, dict):
        faults.append(f"{path or 'it'} is {_named(data)}, not an object")
        return None
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    prefix = f"{path}." if path else ""
    faults.extend(f"{prefix}{name} is not a setting" for name in data if name not in known)
    faults.extend(f"{prefix}{name} is missing" for name, f in known.items() if name not in data and _needed(f))
    before = len(faults)
    values = {name: read(hints[name], item, f"{prefix}{name}", faults) for name, item in data.items() if name in known}
    complete = len(faults) == before and all(name in data or not _needed(f) for name, f in known.items())
    return kind(**values) if complete else None


def _needed(declared: Any) -> bool:
    return declared.default is MISSING and declared.default_factory is MISSING


def _read_tuple(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(data, list):
        faults.append(f"{path} is {_named(data)}, not a list")
        return ()
    arguments = get_args(kind)
    if arguments[-1] is Ellipsis:
        return tuple(read(arguments[0], item, f"{path}[{index}]", faults) for index, item in enumerate(data))
    if len(data) != len(arguments):
        faults.append(f"{path} has {len(data)} items, not {len(arguments)}")
        return ()
    pairs = zip(arguments, data, strict=True)
    return tuple(read(argument, item, f"{path}[{index}]", faults) for index, (argument, item) in enumerate(pairs))


def _read_mapping(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(data, dict):
        faults.append(f"{path} is {_named(data)}, not an object")
        return {}
    return {key: read(get_args(kind)[1], item, f"{path}.{key}", faults) for key, item in data.items()}


def _read_optional(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    if data is None:
        return None
    return read(next(a for a in get_args(kind) if a is not type(None)), data, path, faults)


def _read_literal(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    if data not in get_args(kind):
        faults.append(f"{path} is {data!r}; it takes {', '.join(map(str, get_args(kind)))}")
    return data


def _read_scalar(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return _finite(data, path, faults)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        faults.append(f"{path} is {_named(data)}, not {kind.__name__}")
    return data


def _finite(data: float, path: str, faults: list[str]) -> float:
    """A number that can be waited for; Python's JSON reads NaN, Infinity and integers beyond all floats too."""
    try:
        value = float(data)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        faults.append(f"{path} is not a finite number")
    return value


def _named(data: Any) -> str:
    return "null" if data is None else type(data).__name__


_READERS: dict[Any, Callable[[Any, Any, str, list[str]], Any]] = {
    tuple: _read_tuple,
    Mapping: _read_mapping,
    get_origin(Mapping[str, str]): _read_mapping,
    Union: _read_optional,
    types.UnionType: _read_optional,
    Literal: _read_literal,
}
