"""Which HTTP statuses are worth another attempt: expressions like "500-599", "429" and "!404". Pure.

The first expression that matches a status decides: a plain one says retry, one that begins with "!" says never. A status
that none matches is retried only if every expression is an exclusion: "!404" alone means everything but 404.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from forebay.errors import SpecError

# 1xx are no answers and 2xx are deliveries: there is nothing to decide about them.
LOWEST, HIGHEST = 300, 599
_EXPRESSION = re.compile(r"(!?)([0-9]{3})(?:-([0-9]{3}))?")


@dataclass(frozen=True, slots=True)
class _Rule:
    retry: bool
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Statuses:
    """Parsed expressions."""

    rules: tuple[_Rule, ...]
    otherwise: bool  # of a status that no expression matches

    def retried(self, status: int) -> bool:
        """Whether an answer with this status is worth another attempt."""
        return next((rule.retry for rule in self.rules if rule.low <= status <= rule.high), self.otherwise)


def parse(expressions: Iterable[str]) -> Statuses:
    """The meaning of a list of expressions. Raises SpecError that names each one that is wrong."""
    listed = list(expressions)
    faults = [fault for fault in map(fault_of, listed) if fault]
    if faults:
        raise SpecError("; ".join(faults))
    rules = tuple(_rule(expression) for expression in listed)
    return Statuses(rules, otherwise=bool(rules) and not any(rule.retry for rule in rules))


def fault_of(expression: str) -> str | None:
    """What is wrong with an expression, with the remedy; None if nothing is."""
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        return f'{expression!r} is no status expression; it takes "503", "500-599", or either with "!" before it'
    low, high = int(match[2]), int(match[3] or match[2])
    if not LOWEST <= low <= high <= HIGHEST:
        return f"{expression!r} does not lie within {LOWEST}-{HIGHEST}, the lower number first"
    return None


def _rule(expression: str) -> _Rule:
    match = _EXPRESSION.fullmatch(expression)
    assert match is not None
    return _Rule(retry=not match[1], low=int(match[2]), high=int(match[3] or match[2]))
