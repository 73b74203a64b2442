"""Token buckets, as the generic cell rate algorithm (ITU-T I.371): one moment for each, no timers. Reads no clock."""

from forebay.topology import RateLimit

# Clients that are told apart at most. One that has been silent for as long as its bucket takes to fill is forgotten.
MAX_CLIENTS = 50_000


class Bucket:
    """One rate."""

    def __init__(self, limit: RateLimit) -> None:
        self._step = 1 / limit.rate
        self._slack = (limit.burst - 1) * self._step + 1e-9  # sums of steps are not exact
        self._full = 0.0

    def admit(self, now: float) -> bool:
        """Take one token, if there is one."""
        full = max(self._full, now)
        if full - now > self._slack:
            return False
        self._full = full + self._step
        return True


class Buckets:
    """The same rate for each of many clients; those beyond MAX_CLIENTS share one."""

    def __init__(self, limit: RateLimit) -> None:
        self._step = 1 / limit.rate
        self._slack = (limit.burst - 1) * self._step + 1e-9
        self._full: dict[bytes, float] = {}  # when each client's bucket is full again
        self._others = Bucket(limit)
        self._swept = 0.0

    def __len__(self) -> int:
        return len(self._full)

    def admit(self, client: bytes, now: float) -> bool:
        """Take one token of the client's, if there is one."""
        known = self._full.get(client)
        if known is None and len(self._full) >= MAX_CLIENTS and not self._sweep(now):
            return self._others.admit(now)
        full = now if known is None or known < now else known
        if full - now > self._slack:
            return False
        self._full[client] = full + self._step
        return True

    def _sweep(self, now: float) -> bool:
        """Forget whose bucket is full; whether there is room. At most once a second: a flood of clients must not make it dear."""
        if now - self._swept >= 1.0:
            self._swept = now
            self._full = {client: full for client, full in self._full.items() if full > now}
        return len(self._full) < MAX_CLIENTS
