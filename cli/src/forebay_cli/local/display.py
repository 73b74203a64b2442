"""What `forebay dev` shows: how to send the first webhook, then one live line; at no terminal a line every five seconds."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from forebay.source import WebhookSource
from forebay.source.references import SecretKeyRef
from forebay_cli.given import Secrets, sampler_of, signing_keys, url_token
from forebay_cli.local.broker import RunBroker
from forebay_cli.local.capture import Kept
from forebay_cli.local.replica import Replica
from forebay_cli.local.run import LocalRun
from forebay_cli.local.watch import Flow, line
from forebay_cli.sampling import Moment, curl

EVERY_S = 5.0  # between two lines where nothing can be overwritten


class Display:
    """The screen of one run."""

    def __init__(self, console: Console, moment: Moment, *, logs: bool = False) -> None:
        self._console = console
        self._moment = moment
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._tail = _Tail() if logs else None
        self._before: Flow | None = None
        self._said_at = float("-inf")
        self._restarts: dict[str, int] = {}
        self._started = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def starting(self, source: WebhookSource, *, private: bool) -> None:
        broker = "a private RabbitMQ and " if private else ""
        self._status(f"starting {broker}the processes of {source.key} …")

    def started(self, run: LocalRun, there: RunBroker, made: Iterable[Path], secrets: Secrets) -> None:
        self._started = True
        if self._live is not None:
            self._status("")
        for path in run.absent:
            self._say(f"[yellow]note[/]: the volume at {escape(path)} is a pod's; a process here does not get it")
        source = run.source
        rows = {
            "endpoint": run.url,
            "delivers to": _destination(source, len(run.workers)),
            "broker": there.shown,
            "logs": str(run.folder / "logs"),
        }
        if files := ", ".join(map(str, made)):
            rows["secret"] = f"made up, in {files}"
        self._say(f"[bold]{source.key}[/] runs here until Ctrl-C\n")
        for name, value in rows.items():
            self._say(f"  [cyan]{name:<12}[/] {escape(value)}")
        command = self._curl(run, secrets)
        if command is None:
            self._say("\nOnly the provider can sign for this source: let it send a test webhook.")
        else:
            self._say("\nSend the first webhook from another terminal:\n")
            self._say(f"  [green]forebay send{_more(source)}[/]\n")
            self._console.print(Text(_indented(f"# or\n{command}")), soft_wrap=True)
        self._say("")

    def awaits(self, ref: SecretKeyRef | None) -> None:
        """What is for the provider to do first."""
        if ref is not None:
            self._say(
                f"[yellow]note[/]: {escape(f'{ref.name}/{ref.key}')} waits for the provider's handshake: make the webhook there,"
                " with the public URL that leads here"
            )

    def captured(self, kept: Kept) -> None:
        """The provider has sent its secret."""
        self._say(f"the provider's secret came {escape(kept.shown)}; it is in {escape(str(kept.file))}")

    def show(self, now: Flow, replicas: Iterable[Replica]) -> None:
        """The present flow, and what else there is to say."""
        for replica in replicas:
            self._note_restart(replica)
            if self._tail is not None:
                self._print_log(replica)
        if self._live is not None:
            self._status(line(now, self._before))
            self._before = now
        elif now.at - self._said_at >= EVERY_S:
            self._say(escape(line(now, self._before)))
            self._before, self._said_at = now, now.at

    def draining(self) -> None:
        if not self._started:
            return
        text = "draining: what is being delivered is finished (Ctrl-C again ends at once)"
        if self._live is not None:
            self._status(text)
        else:
            self._say(text)

    def ended(self, last: Flow, *, lost: bool) -> None:
        """The last word; `lost` if the queues end with the run."""
        if not self._started:
            return
        self._say(f"ended: {last.accepted:,.0f} accepted, {last.delivered:,.0f} delivered")
        waiting = (last.queued or 0) + (last.retrying or 0)
        if lost and (waiting or last.dead):
            self._say(
                f"[yellow]note[/]: {waiting:,} waiting and {last.dead:,} dead ones went with the private broker;"
                " --data DIR keeps them for the next run"
            )

    def _note_restart(self, replica: Replica) -> None:
        if replica.restarts > self._restarts.get(replica.name, 0):
            self._say(
                f"[yellow]note[/]: {replica.name} ended (status {replica.exit_status}) and was started again;"
                f" its log: {escape(str(replica.launch.log))}"
            )
        self._restarts[replica.name] = replica.restarts

    def _print_log(self, replica: Replica) -> None:
        assert self._tail is not None
        for text in self._tail.new_lines(replica.launch.log):
            self._console.print(Text.assemble((f"{replica.name} ", "dim"), text), soft_wrap=True)

    def _curl(self, run: LocalRun, secrets: Secrets) -> str | None:
        keys = signing_keys(run.source)
        secret = secrets.get(keys[0][0], {}).get(keys[0][1]) if keys else b""
        if secret is None:
            return None
        sampler = sampler_of(run.source, secret, event="ping", token=url_token(run.source, secrets))
        return curl(run.url, sampler.sample(self._moment)) if sampler.scheme.can_be_signed else None

    def _say(self, markup: str) -> None:
        self._console.print(markup, highlight=False, soft_wrap=True)

    def _status(self, text: str) -> None:
        if self._live is not None:
            self._live.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)
        elif not self._started:
            self._say(escape(text))


class _Tail:
    """The lines that were added to files since the last look."""

    def __init__(self) -> None:
        self._positions: dict[Path, int] = {}

    def new_lines(self, file: Path) -> list[str]:
        try:
            with file.open("rb") as stream:
                stream.seek(self._positions.get(file, 0))
                added = stream.read()
        except OSError:
            return []
        complete = added[: added.rfind(b"\n") + 1]
        self._positions[file] = self._positions.get(file, 0) + len(complete)
        return complete.decode(errors="replace").splitlines()


def _destination(source: WebhookSource, workers: int) -> str:
    worker = source.spec.worker
    target = worker.destination.url if worker.destination else f"{worker.handler.target}()" if worker.handler else "?"
    return f"{target}, by {workers} worker process{'' if workers == 1 else 'es'}"


def _more(source: WebhookSource) -> str:
    usual: Mapping[str, str] = {"GitHub": " --event push --count 100", "Stripe": " --event invoice.paid --count 100"}
    return usual.get(source.spec.ingest.verification.provider, " --count 100")


def _indented(text: str) -> str:
    return "\n".join(f"  {row}" for row in text.splitlines())
