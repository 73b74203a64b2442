"""Where a rabbitmq-server comes from: this machine's own, or a root file system of another release. Starts nothing."""

import os
import re
import shutil
from pathlib import Path

from forebay.errors import Unavailable

INSIDE = Path("/run/forebay")  # where a broker's folder appears inside a root file system
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEBIAN_SERVER = Path(
    "/usr/lib/rabbitmq/bin/rabbitmq-server"
)  # /usr/sbin/rabbitmq-server would switch to user rabbitmq
_APPLICATIONS = "usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/*/ebin/*.app"
_NEEDS = re.compile(r"\{applications,\s*\[([^\]]*)\]")

# Enter a root file system in a mount namespace of our own: nothing is written to it, nothing stays mounted.
_ENTER = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
mount -t tmpfs -o size=16m tmpfs "$1/tmp"
mount -t tmpfs -o size=1m,mode=755 tmpfs "$1/run" && mkdir "$1/run/forebay" && mount --bind "$2" "$1/run/forebay"
mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev"
exec chroot "$1" "$3"
"""


def machine_version() -> str | None:
    """The version of Debian's rabbitmq-server package on this machine, without starting anything."""
    return version_in(Path("/"))


def version_in(root: Path) -> str | None:
    """The version of RabbitMQ in a Debian root file system; None if there is none."""
    found = sorted(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*"))
    return found[-1].name.partition("-")[2] if found else None


def server(root: Path | None) -> Path:
    """The start script: its path inside the root file system. Raises Unavailable, with the remedy, if there is none."""
    if root is not None:
        if not (root / _DEBIAN_SERVER.relative_to("/")).exists():
            raise Unavailable(f"no rabbitmq-server in {root}; make one with tools/rabbitmq_root.py")
        return _DEBIAN_SERVER
    if _DEBIAN_SERVER.exists():
        return _DEBIAN_SERVER
    if found := shutil.which("rabbitmq-server"):
        return Path(found).resolve()
    raise Unavailable(
        "this machine has no rabbitmq-server: apt-get install rabbitmq-server, or give a broker with --broker amqp://…"
    )


def plugin_folders(plugin: str, root: Path) -> list[Path]:
    """The folders of a plugin and of all that it needs, as paths inside the root file system; none if they are not found.

    What `rabbit` itself needs is not among them: the server finds that without being told.
    """
    about = {path.stem: path for path in root.glob(_APPLICATIONS)}
    found, new = set[str](), {plugin} & about.keys()
    while new:
        found |= new
        new = {name for one in new - {"rabbit"} for name in _needs(about[one])} & about.keys() - found
    return [Path("/") / about[name].parents[1].relative_to(root) for name in sorted(found)]


def erlang_folders(root: Path) -> list[Path]:
    """Where Erlang's own compiled modules are, as paths inside the root file system; none if they are not found."""
    return [Path("/") / found.relative_to(root) for found in sorted(root.glob("usr/lib/erlang/lib/*/ebin"))]


def _needs(about: Path) -> list[str]:
    """The applications that an application says it needs."""
    listed = _NEEDS.search(about.read_text())
    return re.findall(r"\w+", listed[1]) if listed else []


def start_command(folder: Path, root: Path | None) -> list[str]:
    """What starts the server, in the foreground, with `folder` as its own and its environment as given to the command."""
    script = str(server(root))
    if root is None:
        return [script]
    as_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    enter = ["sh", "-euc", _ENTER, "enter", str(root), str(folder), script]
    return ["unshare", "--mount", "--propagation=private", *as_user, *enter]


def beside(pid: int) -> list[str]:
    """What runs a command where that process is: with its mounts, root and working directory."""
    as_user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", f"--target={pid}", *as_user, "--mount", "--root", "--wd"]
