"""From pydantic's errors to faults for people: what is wrong at which path, and what to write instead. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from forebay.source.model import Part, Problem, contradictions
from forebay.source.spelling import closest
from forebay.source.values import kind, shown


def explain(model: type[Part], error: ErrorDetails) -> Iterator[Problem]:
    """The problems that one of pydantic's errors stands for."""
    path = tuple(step for step in error["loc"] if step != "[key]")
    if error["type"] == "forebay":
        for problem in error["ctx"]["problems"]:
            yield Problem((*path, *problem.path), problem.message, problem.remedy)
        return
    message, remedy = _said(error, model)
    yield Problem(path, message, remedy)


def contradictions_in(model: type[Part], data: Any, path: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """What is wrong with fields together in those parts of some data whose fields are all right by themselves."""
    try:
        part = model.model_validate(data)
    except ValidationError:
        for name, value in data.items() if isinstance(data, Mapping) else ():
            field = _fields(model).get(name)
            below = None if field is None else _model_in(field.annotation)
            if below is not None:
                yield from _contradictions_below(below, value, (*path, name))
        return
    for problem in contradictions(part):
        yield problem._replace(path=(*path, *problem.path))


def _contradictions_below(model: type[Part], value: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    items = enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, Mapping):
        yield from contradictions_in(model, value, path)
    for index, item in items:
        yield from contradictions_in(model, item, (*path, index))


def _said(error: ErrorDetails, model: type[Part]) -> tuple[str, str]:
    match error["type"]:
        case "missing":
            return _say_missing(error, model)
        case "extra_forbidden":
            return _say_unknown(error, model)
        case other:
            return _SAYINGS.get(other, _say_otherwise)(error)


def _say_missing(error: ErrorDetails, model: type[Part]) -> tuple[str, str]:
    field = _field(model, tuple(error["loc"]))
    described = f": {_lowered(field.description)}" if field and field.description else ""
    return "missing", f"add it{described}"


def _say_unknown(error: ErrorDetails, model: type[Part]) -> tuple[str, str]:
    part = _part(model, tuple(error["loc"][:-1]))
    known = [field.alias or name for name, field in part.model_fields.items()] if part else []
    meant = closest(error["loc"][-1], known)
    if meant:
        return "unknown field", f"did you mean {meant}?"
    home = _home(model, tuple(error["loc"]))
    return "unknown field", f"it belongs to {home}" if home else f"known here: {', '.join(known)}"


def _say_choice(error: ErrorDetails) -> tuple[str, str]:
    choices = [choice.strip("'") for choice in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    meant = closest(error["input"], choices)
    known = "it takes" if len(choices) == 1 else "it takes one of"
    return f"{shown(error['input'])} is not known here", f"write {meant}" if meant else f"{known} {', '.join(choices)}"


def _say_too_small(error: ErrorDetails) -> tuple[str, str]:
    return f"{shown(error['input'])} is too little", f"write {error['ctx']['ge']} or more"


def _say_too_large(error: ErrorDetails) -> tuple[str, str]:
    return f"{shown(error['input'])} is too much", f"write {error['ctx']['le']} or less"


def _say_too_short(error: ErrorDetails) -> tuple[str, str]:
    least = error["ctx"]["min_length"]
    return f"{error['ctx']['actual_length']} entries are too few", f"give {least} or more"


def _say_too_long(error: ErrorDetails) -> tuple[str, str]:
    most = error["ctx"]["max_length"]
    return f"more entries than {most}", f"give {most} or fewer"


def _say_otherwise(error: ErrorDetails) -> tuple[str, str]:
    return error["msg"], ""


def _say_kind(wanted: str, example: str) -> Callable[[ErrorDetails], tuple[str, str]]:
    def say(error: ErrorDetails) -> tuple[str, str]:
        value = error["input"]
        given = (
            kind(value)
            if isinstance(value, (Mapping, list, tuple)) or value is None
            else f"{shown(value)}, {kind(value)}"
        )
        return f"{given}, where {wanted} is due", f"write {example}"

    return say


_SAYINGS: dict[str, Callable[[ErrorDetails], tuple[str, str]]] = {
    "literal_error": _say_choice,
    "greater_than_equal": _say_too_small,
    "less_than_equal": _say_too_large,
    "too_short": _say_too_short,
    "too_long": _say_too_long,
    "int_type": _say_kind("a whole number", "a whole number without quotes"),
    "bool_type": _say_kind("a boolean", "true or false"),
    "string_type": _say_kind("text", "it in quotes"),
    "tuple_type": _say_kind("a list", "a list: [A, B], or lines that begin with -"),
    "dict_type": _say_kind("an object", "an object: {key: value}, or indented lines key: value"),
    "model_type": _say_kind("an object", "an object: {key: value}, or indented lines key: value"),
    "model_attributes_type": _say_kind("an object", "an object: {key: value}, or indented lines key: value"),
}


def _home(model: type[Part], path: tuple[str | int, ...]) -> str | None:
    """Where a field of this name is at home: below or beside the place it was written to, and the nearest such place."""
    names = tuple(step for step in path if isinstance(step, str))
    homes = [home for home, name in _homes(model, ()) if name == names[-1]]
    near = [home for home in homes if home[: len(names) - 2] == names[:-2]]
    nearest = min(near or homes, key=len, default=())
    return ".".join(nearest) if near or len(homes) == 1 else None


def _homes(model: type[Part], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, field in _fields(model).items():
        yield above, str(name)
        below = _model_in(field.annotation)
        if below is not None:
            yield from _homes(below, (*above, str(name)))


def _field(model: type[Part], path: tuple[str | int, ...]) -> Any:
    part = _part(model, path[:-1])
    return None if part is None else _fields(part).get(path[-1])


def _part(model: type[Part], path: tuple[str | int, ...]) -> type[Part] | None:
    """The part of the model that a path leads to."""
    for step in path:
        if isinstance(step, int):
            continue
        field = _fields(model).get(step)
        below = None if field is None else _model_in(field.annotation)
        if below is None:
            return None
        model = below
    return model


def _fields(model: type[Part]) -> dict[str | int, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[Part] | None:
    """The part inside of X | None, tuple[X, ...] and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Part) else None
    return next((found for argument in get_args(annotation) if (found := _model_in(argument))), None)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")
