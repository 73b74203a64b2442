"""The folder that a RabbitMQ of one's own lives in, and what stays the same in it from one start to the next.

Its ports, administrator and cookie, its configuration, and the environment that keeps everything else of the machine out.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from forebay.errors import Unavailable
from forebay_cli.distribution import PATH
from forebay_cli.ports import free_ports, is_free

NODE = "forebay@localhost"
PLUGIN = "rabbitmq_management"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What stays the same when a broker starts again in its folder, so that its clients find it and may enter."""

    amqp_port: int
    management_port: int
    distribution_port: int
    username: str
    password: str = field(repr=False)


def prepare(folder: Path, refresh_s: float) -> Identity:
    """Lay out the folder, readable for us alone, or take up what an earlier broker left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored = folder / "identity.json"
    if stored.exists():
        return Identity(**json.loads(stored.read_text()))
    amqp, management, distribution = free_ports(3)
    identity = Identity(
        amqp_port=amqp,
        management_port=management,
        distribution_port=distribution,
        username="forebay-admin",
        password=secrets.token_urlsafe(24),
    )
    (folder / "data").mkdir(mode=0o700, exist_ok=True)  # the folder itself may have been there, open to others
    (folder / "enabled_plugins").write_text(f"[{PLUGIN}].\n")
    _write_private(folder / "advanced.config", _configuration(identity, refresh_s))
    _write_private(folder / ".erlang.cookie", secrets.token_hex(16))
    _write_private(stored, json.dumps(asdict(identity)))
    return identity


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _configuration(identity: Identity, refresh_s: float) -> str:
    """Erlang terms rather than rabbitmq.conf: translating the latter takes the broker half a second.

    It flushes its write-ahead log at 64 MiB rather than 512, which it holds in memory as well.
    """
    refresh_ms = round(1000 * refresh_s)
    return f"""\
[{{rabbit, [{{tcp_listeners, [{{"127.0.0.1", {identity.amqp_port}}}]}},
           {{default_user, <<"{identity.username}">>}}, {{default_pass, <<"{identity.password}">>}},
           {{collect_statistics_interval, {refresh_ms}}}, {{quorum_tick_interval, {refresh_ms}}},
           {{log, [{{file, [{{file, false}}]}}, {{console, [{{enabled, true}}]}}]}}]}},
 {{ra, [{{wal_max_size_bytes, 67108864}}]}},
 {{rabbitmq_management, [{{tcp_config, [{{ip, "127.0.0.1"}}, {{port, {identity.management_port}}}]}}]}}].
"""


def environment_of(identity: Identity, folder: Path) -> dict[str, str]:
    """The whole environment, paths as the broker sees them: nothing of ours, or of the machine's RabbitMQ, gets in."""
    port = identity.distribution_port
    listen = f"-kernel inet_dist_use_interface {{127,0,0,1}} inet_dist_listen_min {port} inet_dist_listen_max {port}"
    schedulers = min(os.cpu_count() or 1, 4)
    return {
        "PATH": PATH,
        "HOME": str(folder),  # of the cookie
        "LANG": "C.UTF-8",
        "RUNNING_UNDER_SYSTEMD": "true",  # makes the start script replace itself by the broker: one process less
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "data"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "data"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        # Not among the arguments of the broker alone: every minute it starts an Erlang whose one purpose is a port mapper, see
        # ensure_epmd in rabbit_nodes.erl.
        "ERL_AFLAGS": _no_epmd(identity),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-sname {NODE} {listen} +S {schedulers}:{schedulers}",
        "ERL_CRASH_DUMP": "/dev/null",
    }


def require_free(identity: Identity, folder: Path) -> None:
    """Raise Unavailable if somebody listens where the broker will: clearer than what it says itself, and sooner."""
    for port in (identity.distribution_port, identity.amqp_port, identity.management_port):
        if not is_free(port):
            raise Unavailable(
                f"port {port} of 127.0.0.1 is taken: does another broker run in {folder}? If not, delete the folder"
            )


def _no_epmd(identity: Identity) -> str:
    """With a distribution port that both sides know, nobody needs the port mapper, a daemon that would outlive us."""
    return f"-start_epmd false -erl_epmd_port {identity.distribution_port}"
