"""Which queue a webhook goes to: the first route that matches; and which of its lanes. Parses the body only if that is asked for."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.json_path import MISSING, dig
from forebay.settings import Match, Route
from forebay_ingest.lanes import Spread

# Characters of an event type or delivery id that are kept.
KEPT = 200


@dataclass(slots=True)
class _Webhook:
    """What rules look at; the body's JSON is parsed when the first rule asks."""

    headers: Mapping[str, str]
    suffix: str
    body: bytes
    event_type: str | None = None
    parsed: Any = MISSING

    def json(self) -> Any:
        if self.parsed is MISSING:
            try:
                self.parsed = json.loads(self.body)
            except (ValueError, RecursionError):
                self.parsed = None
        return self.parsed


# The short names of the queue and of the lane, if it is in one; the key by which it waits for others; the event type.
Routed = tuple[str, str | None, str | None, str | None]


class Router:
    """The routing table of a source. The last route is expected to match everything (`default`)."""

    def __init__(self, routes: Sequence[Route], event_type: str | None, spread: Spread | None = None) -> None:
        """`event_type` is where the scheme finds it: "header:NAME", "json:PATH" or None. Without `spread` queues have no lanes."""
        self._spread = spread
        self._routes = [(route.queue, _predicate(route.match)) for route in routes]
        place, _, name = (event_type or "").partition(":")
        self._header = name if place == "header" else None
        # A body is parsed for its event type only where a route decides by it.
        wanted = any(route.match.event_types for route in routes)
        self._field = name if place == "json" and wanted else None
        by_field = any(route.match.json_path is not None for route in routes)
        # Most sources have one queue and no lanes: of their webhooks nothing is decided.
        one = spread is None and self._field is None and self._routes[0][1] is None
        self._only = self._routes[0][0] if one else None
        self.reads_body = self._field is not None or by_field or (spread is not None and spread.reads_body)

    def route(self, headers: Mapping[str, str], suffix: str, body: bytes) -> Routed:
        """Where a webhook goes. `suffix` is what of the path follows the source's own path."""
        if self._only is not None:
            return self._only, None, None, self._told(headers)
        webhook = _Webhook(headers, suffix, body)
        webhook.event_type = self._event_type(webhook)
        for queue, matches in self._routes:
            if matches is None or matches(webhook):
                return self._placed(queue, webhook)
        return self._placed(self._routes[-1][0], webhook)

    def _placed(self, queue: str, webhook: _Webhook) -> Routed:
        if self._spread is None:
            return queue, None, None, webhook.event_type
        return queue, *self._spread.place(queue, webhook), webhook.event_type

    def _event_type(self, webhook: _Webhook) -> str | None:
        if self._header is not None:
            return self._told(webhook.headers)
        if self._field is not None:
            value = dig(webhook.json(), self._field)
            return value[:KEPT] if isinstance(value, str) else None
        return None

    def _told(self, headers: Mapping[str, str]) -> str | None:
        value = None if self._header is None else headers.get(self._header)
        return None if value is None else value[:KEPT]


_Predicate = Callable[[_Webhook], bool]


def _predicate(match: Match) -> _Predicate | None:
    """All conditions that are set must hold; None stands for "everything matches"."""
    conditions: list[_Predicate] = []
    if match.event_types:
        conditions.append(_by_event_type(match.event_types))
    if match.header is not None:
        conditions.append(_by_header(match.header, frozenset(match.header_values)))
    if match.path_suffix is not None:
        conditions.append(_by_suffix(match.path_suffix))
    if match.json_path is not None:  # the costly one comes last
        conditions.append(_by_json(match.json_path, frozenset(match.json_values)))
    if not conditions:
        return None
    return lambda webhook: all(condition(webhook) for condition in conditions)


def _by_event_type(patterns: tuple[str, ...]) -> _Predicate:
    exact = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))

    def matches(webhook: _Webhook) -> bool:
        kind = webhook.event_type
        return kind is not None and (kind in exact or kind.startswith(prefixes))

    return matches


def _by_header(name: str, values: frozenset[str]) -> _Predicate:
    def matches(webhook: _Webhook) -> bool:
        value = webhook.headers.get(name)
        return value is not None and (not values or value in values)

    return matches


def _by_suffix(suffix: str) -> _Predicate:
    return lambda webhook: webhook.suffix.endswith(suffix)


def _by_json(path: str, values: frozenset[str]) -> _Predicate:
    def matches(webhook: _Webhook) -> bool:
        value = dig(webhook.json(), path)
        return value is not MISSING and (not values or _as_text(value) in values)

    return matches


def _as_text(value: Any) -> str:
    """Compared as a person writes it in a manifest: true, null, 12, text."""
    return value if isinstance(value, str) else json.dumps(value)
