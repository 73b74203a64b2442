"""The flags of forebay-operator, each also an environment variable; nothing else decides how it runs."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from forebay.telemetry import LEVELS
from forebay_operator.desired import Platform

PREFIX = "FOREBAY_OPERATOR_"

_HELP = f"""\
Watches WebhookSource resources and makes each of them an endpoint, queues, workers and alerts, and keeps it so.

Every flag can be given as an environment variable too: --ingest-image as {PREFIX}INGEST_IMAGE; lists by commas. It uses the
pod's service account, or else the kubeconfig. Its CRD has to be there: kubectl apply -f crds/
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the operator runs."""

    namespaces: tuple[str, ...] = ()  # none: the whole cluster
    default_broker: tuple[str, str] | None = None  # namespace and name of a Secret
    admin_address: str = "0.0.0.0:9090"  # probes come from the node
    log_format: str = "json"
    log_level: str = "info"
    workers: int = 16
    resync_s: float = 600.0
    leader_election: bool = False
    lease_namespace: str = "default"
    lease_name: str = "forebay-operator"
    identity: str = "forebay-operator"
    platform: Platform = field(default_factory=Platform)


def options(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Read the command line. Ends the process with status 2 and one line if something in it is wrong."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    return Options(
        namespaces=tuple(given.namespace),
        default_broker=given.default_broker,
        admin_address=given.admin_address,
        log_format=given.log_format,
        log_level=given.log_level,
        workers=given.workers,
        resync_s=given.resync,
        leader_election=given.leader_election,
        lease_namespace=given.lease_namespace,
        lease_name=given.lease_name,
        identity=given.identity,
        platform=_platform(given),
    )


def _platform(given: argparse.Namespace) -> Platform:
    usual = Platform()
    return Platform(
        ingest_image=given.ingest_image or usual.ingest_image,
        worker_image=given.worker_image or usual.worker_image,
        image_pull_secrets=tuple(given.image_pull_secret),
        allow_private=given.allow_private,
        allow_loopback=given.allow_loopback,
        network_policies=given.network_policies,
        ingress_namespaces=tuple(given.ingress_namespace),
        monitoring_namespaces=tuple(given.monitoring_namespace),
        broker_ports=tuple(given.broker_port) or usual.broker_ports,
        dashboard_label=given.dashboard_label[0],
        dashboard_label_value=given.dashboard_label[1],
        dashboard_folder_annotation=given.dashboard_folder_annotation,
    )


class _Parser(argparse.ArgumentParser):
    """Takes defaults from the environment, and says in one line what is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(
            "forebay-operator",
            description=_HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._environment = environment

    def flag(self, name: str, **how: object) -> None:
        """Add --NAME, with the value of its environment variable as the default."""
        variable = PREFIX + name.upper().replace("-", "_")
        text = self._environment.get(variable)
        if text is not None:
            how["default"] = _from_text(self, variable, text, how)
        self.add_argument(f"--{name}", **how)  # type: ignore[arg-type]

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"error: {message} (forebay-operator --help)\n")


def _from_text(parser: _Parser, variable: str, text: str, how: Mapping[str, object]) -> object:
    if how.get("action") == argparse.BooleanOptionalAction:
        if text.lower() not in ("true", "false"):
            parser.error(f"{variable} is {text!r}: write true or false")
        return text.lower() == "true"
    convert = how.get("type", str)
    assert callable(convert)
    try:
        return [convert(part) for part in text.split(",") if part] if how.get("action") == "append" else convert(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(f"{variable}: {error}")
        raise AssertionError from error


def _parser(environment: Mapping[str, str]) -> _Parser:
    parser, usual = _Parser(environment), Options()
    _add_what_it_makes(parser.flag, usual.platform)
    _add_whom_pods_reach(parser.flag)
    _add_dashboards(parser.flag, usual.platform)
    _add_how_it_runs(parser.flag, usual)
    _add_leading(parser.flag, usual, environment)
    parser.add_argument("--version", action="version", version=version("forebay-operator"))
    return parser


_Add = Callable[..., None]
_SWITCH = argparse.BooleanOptionalAction


def _add_what_it_makes(add: _Add, usual: Platform) -> None:
    add(
        "namespace", action="append", default=[], metavar="NS", help="watch this namespace only (repeatable; none: all)"
    )
    add("ingest-image", metavar="IMAGE", help=f"image of ingest pods (default {usual.ingest_image})")
    add("worker-image", metavar="IMAGE", help=f"image of worker pods (default {usual.worker_image})")
    add(
        "image-pull-secret", action="append", default=[], metavar="NAME", help="Secret to pull images with (repeatable)"
    )
    add("default-broker", type=_secret, metavar="NS/SECRET", help="broker of sources that name none")


def _add_whom_pods_reach(add: _Add) -> None:
    add("allow-private", action=_SWITCH, default=True, help="destinations may have private addresses")
    add("allow-loopback", action=_SWITCH, default=False, help="destinations may be the pod itself")
    add("network-policies", action=_SWITCH, default=True, help="say whom pods may talk to (default yes)")
    add("ingress-namespace", action="append", default=[], metavar="NS", help="webhooks come from here (none: anywhere)")
    add(
        "monitoring-namespace",
        action="append",
        default=[],
        metavar="NS",
        help="scrapes come from here (none: anywhere)",
    )
    add(
        "broker-port",
        action="append",
        type=_positive,
        default=[],
        metavar="PORT",
        help="of brokers (default 5671, 5672)",
    )


def _add_dashboards(add: _Add, usual: Platform) -> None:
    add(
        "dashboard-label",
        type=_label,
        default=(usual.dashboard_label, usual.dashboard_label_value),
        metavar="KEY=VALUE",
        help="by which Grafana's sidecar finds dashboards (default grafana_dashboard=1)",
    )
    add(
        "dashboard-folder-annotation",
        default=usual.dashboard_folder_annotation,
        metavar="KEY",
        help="by which it is told their folder (default grafana_folder)",
    )


def _add_how_it_runs(add: _Add, usual: Options) -> None:
    add("admin-address", default=usual.admin_address, metavar="HOST:PORT", help="/healthz, /readyz, /metrics")
    add("log-format", choices=("json", "text"), default="json", help="form of the log lines (default json)")
    add("log-level", choices=LEVELS, default="info", help="least level of the log lines (default info)")
    add(
        "workers",
        type=_positive,
        default=usual.workers,
        metavar="N",
        help="reconciles at once, half of them at most at one broker (default 16)",
    )
    add(
        "resync",
        type=_positive,
        default=int(usual.resync_s),
        metavar="SECONDS",
        help="look at everything again (default 600)",
    )


def _add_leading(add: _Add, usual: Options, environment: Mapping[str, str]) -> None:
    add("leader-election", action=_SWITCH, default=False, help="only one of several replicas acts")
    add("lease-namespace", default=usual.lease_namespace, metavar="NS", help="namespace of the Lease")
    add("lease-name", default=usual.lease_name, metavar="NAME", help="name of the Lease")
    add(
        "identity",
        default=environment.get("HOSTNAME", usual.identity),
        metavar="NAME",
        help="who holds the Lease (default: host name)",
    )


def _secret(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/SECRET")
    return namespace, name


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
