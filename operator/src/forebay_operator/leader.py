"""One of several replicas acts: the one that holds a Lease. Protocol: client-go's leader election, so kubectl shows it as usual.

Times are what this process has seen, never other machines' clocks: a Lease whose record has not changed for its duration
is free (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection).
"""

import asyncio
import time
from datetime import UTC, datetime

from forebay.errors import ForebayError
from forebay.telemetry import Log
from forebay_operator.cluster import Cluster, Conflict, Kind, Missing, Object

LEASE = Kind("coordination.k8s.io/v1", "Lease")

# A dead leader is followed after DURATION and a RETRY: 17 s. A leader that could not renew for RENEW_WITHIN gives up before
# another one can begin.
DURATION_S, RENEW_WITHIN_S, RETRY_S = 15.0, 10.0, 2.0


class Leadership:
    """The wish to lead, and whether it is fulfilled."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str, log: Log) -> None:
        self._cluster = cluster
        self._namespace, self._name, self._identity = namespace, name, identity
        self._log = log
        self._record: object = None  # of the Lease, as last seen
        self._seen_s = 0.0  # when it was first seen so
        self.holder = ""
        self.leads = False

    async def acquire(self) -> None:
        """Wait until we lead."""
        while True:
            if await self._try():
                break
            await asyncio.sleep(RETRY_S)
        self.leads = True
        self._log.info("leads", lease=f"{self._namespace}/{self._name}", identity=self._identity)

    async def keep(self) -> None:
        """Renew until that fails for too long; then somebody else may lead, so everything has to stop."""
        renewed = time.monotonic()
        while time.monotonic() - renewed < RENEW_WITHIN_S:
            await asyncio.sleep(RETRY_S)
            if await self._try():
                renewed = time.monotonic()
        self.leads = False
        self._log.error("lost the lease", lease=f"{self._namespace}/{self._name}", holder=self.holder)

    async def release(self) -> None:
        """Let the next one begin at once."""
        try:
            lease = await self._cluster.get(LEASE, self._namespace, self._name)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._cluster.replace(lease)
        except ForebayError as error:
            self._log.warning("lease not released", error=str(error))

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(RENEW_WITHIN_S / 2):
                return await self._try_once()
        except (ForebayError, TimeoutError) as error:
            self._log.debug("lease not renewed", error=str(error))
            return False

    async def _try_once(self) -> bool:
        try:
            lease = await self._cluster.get(LEASE, self._namespace, self._name)
        except Missing:
            await self._cluster.create(self._lease({}))
            return True
        spec = lease["spec"]
        self.holder = spec.get("holderIdentity") or ""
        if self.holder not in ("", self._identity) and not self._expired(spec):
            return False
        try:
            await self._cluster.replace({**self._lease(spec), "metadata": lease["metadata"]})
        except Conflict:
            return False
        return True

    def _expired(self, spec: Object) -> bool:
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("acquireTime"))
        if record != self._record:
            self._record, self._seen_s = record, time.monotonic()
        return bool(time.monotonic() - self._seen_s > spec.get("leaseDurationSeconds", DURATION_S))

    def _lease(self, before: Object) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = before.get("holderIdentity") == self._identity
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": before["acquireTime"] if ours and before.get("acquireTime") else now,
                "renewTime": now,
                "leaseTransitions": before.get("leaseTransitions", 0) + (0 if ours else 1),
            },
        }
