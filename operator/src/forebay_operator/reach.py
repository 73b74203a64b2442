"""The namespaces that let the operator in. A Role goes with its namespace, and the others are looked after all the same."""

from collections.abc import Iterable
from contextlib import suppress

from forebay.errors import Unavailable
from forebay_operator.cluster import SOURCE, Cluster, Forbidden


class Reach:
    """Where we may look, of the namespaces that we should look into; none of these means the whole cluster."""

    def __init__(self, cluster: Cluster, wished: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._wished = wished
        self._in_doubt = False  # whether one of `places` may let us in no more
        self.places: tuple[str | None, ...] = ()  # None: the whole cluster

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The places by name; none is the whole cluster."""
        return tuple(place for place in self.places if place is not None)

    def covers(self, namespace: str) -> bool:
        """Whether we may look into it."""
        return self.places == (None,) or namespace in self.places

    def doubt(self) -> None:
        """Something was refused, or a watch has ended."""
        self._in_doubt = True

    async def look_around(self) -> list[str]:
        """Find out where we may look; where not. Raises Unavailable if nowhere."""
        found = await self._let_in(self._wished) if self._wished else (None,)
        shut = sorted({*self._wished} - {*found})
        if not found:
            raise Unavailable(f"the operator may look into none of {', '.join(shut)}: see docs/rbac.md")
        self.places = found
        return shut

    async def changed(self) -> bool:
        """Whether others let us in than when we looked around. Asked while one is shut, and when there was a doubt."""
        if not self._in_doubt and len(self.places) >= len(self._wished):
            return False
        self._in_doubt = False
        return bool(self._wished) and await self._let_in(self._wished) != self.places

    async def _let_in(self, namespaces: Iterable[str]) -> tuple[str | None, ...]:
        found = []
        for namespace in namespaces:
            with suppress(Forbidden):
                await anext(self._cluster.list(SOURCE, namespace, metadata_only=True))
                found.append(namespace)
        return tuple(found)
