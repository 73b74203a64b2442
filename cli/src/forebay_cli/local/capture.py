"""The signing secret that a provider sends in its handshake: out of the broker's queue, into the notes and the running endpoint.

What the operator does in a cluster. The queue is there only while a value is missing, so nothing that comes later replaces one.
"""

from dataclasses import dataclass
from pathlib import Path

from forebay.captured import read
from forebay.source.references import SecretKeyRef
from forebay.topology import capture_objects
from forebay_cli.given import Secrets
from forebay_cli.local.run import LocalRun
from forebay_cli.private import write_private
from forebay_cli.state import Notes
from forebay_operator.desired import awaited_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A secret that has come."""

    file: Path
    shown: str  # when, and from whom


class Capture:
    """The secrets that one run awaits."""

    def __init__(self, run: LocalRun, notes: Notes, secrets: Secrets) -> None:
        self._run, self._notes = run, notes
        refs = awaited_secrets(run.source)
        self._known = {secrets.get(ref.name, {}).get(ref.key, b"") for ref in refs}
        self._awaited = [ref for ref in refs if not secrets.get(ref.name, {}).get(ref.key)]

    @property
    def awaits(self) -> SecretKeyRef | None:
        """What the next secret is for; None: all are there."""
        return self._awaited[0] if self._awaited else None

    async def begin(self) -> None:
        """Let a secret come, if one is awaited. Raises ForebayError."""
        async with self._run.broker.management() as management:
            if self._awaited:
                await management.declare(capture_objects(self._run.vhost, self._run.names))
            else:
                await management.delete(self._queue)

    async def look(self) -> Kept | None:
        """What has come since. Raises ForebayError."""
        ref = self.awaits
        if ref is None:
            return None
        kept: Kept | None = None
        async with self._run.broker.management() as management:
            found = await management.first(self._run.vhost, self._run.names.captured)
            captured = read(*found) if found else None
            if captured is not None and captured.secret not in self._known:
                kept = Kept(file=self._keep(ref, captured.secret), shown=captured.shown)
            if found and self._awaited:
                await management.first(self._run.vhost, self._run.names.captured, take=True)
            elif found:
                await management.delete(self._queue)
        return kept

    def _keep(self, ref: SecretKeyRef, secret: bytes) -> Path:
        file = self._notes.secret_file(ref.name, ref.key)
        write_private(file, secret)
        self._run.learn(ref.name, ref.key, secret)
        self._known.add(secret)
        del self._awaited[0]
        return file

    @property
    def _queue(self) -> str:
        return capture_objects(self._run.vhost, self._run.names)[0].path
