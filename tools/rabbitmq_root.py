#!/usr/bin/env python3
"""Makes a small Debian root file system with another release's rabbitmq-server, once, and prints where it is.

    uv run tools/rabbitmq_root.py trixie        # RabbitMQ 4.0; bookworm has 3.10, sid the newest

It lies in ${FOREBAY_CACHE:-${XDG_CACHE_HOME:-~/.cache}/forebay} under a name made from all that went into it, and appears
there complete or not at all, however many ask at once. Making one takes debootstrap, the machine's own Debian mirror,
root (or sudo), about 40 seconds and 200 MB; asking again takes a tenth of a second.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from forebay.errors import ForebayError, Unavailable
from forebay_cli.distribution import version_in

SUITES = ("bookworm", "trixie", "sid")
PACKAGES = ("rabbitmq-server",)
RECIPE = "1"  # change it when the steps below change
NOT_NEEDED = ("var/cache", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
_MARK = "forebay-root.json"


def root_of(suite: str) -> Path:
    """The root file system of this Debian suite, made now if need be. Raises Unavailable, with the remedy."""
    folder = cache()
    root = folder / f"rabbitmq-{suite}-{_key(suite)}"
    if _is_whole(root):
        return root
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"rabbitmq-{suite}.lock"):
        if not _is_whole(root):  # somebody may have made it while we waited
            _make(suite, root)
    return root


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FOREBAY_CACHE") or Path(base) / "forebay").absolute()


def _key(suite: str) -> str:
    return hashlib.sha256("\n".join((RECIPE, suite, os.uname().machine, *PACKAGES)).encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(suite: str, root: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise Unavailable("debootstrap is not installed: tools/setup, or apt-get install debootstrap")
    building = root.with_name(f"{root.name}.building")
    for leftover in (building, root):
        as_root("rm", "-rf", "--one-file-system", str(leftover))
    print(f"makes a Debian {suite} root with RabbitMQ in {root} (about 40 s)", file=sys.stderr)  # noqa: T201
    debootstrap(suite, building, PACKAGES)
    as_root("rm", "-rf", *(str(building / folder) for folder in NOT_NEEDED))
    as_root("sh", "-c", f"echo '127.0.0.1 localhost' >{building}/etc/hosts")
    as_root("chroot", str(building), "erl", "-noshell", "-eval", "halt(0).")  # it runs on this kernel and processor
    _mark(building)
    as_root("mv", "-T", str(building), str(root))


def debootstrap(suite: str, target: Path, packages: Sequence[str]) -> None:
    # In a mount namespace of its own: whatever it mounts is gone with it, also when it fails.
    isolated = ("unshare", "--mount", "--propagation=private")
    include = f"--include={','.join(packages)}"
    as_root(*isolated, "debootstrap", "--variant=minbase", include, suite, str(target), mirror())


def _mark(root: Path) -> None:
    mark = json.dumps({"version": version_in(root), "modules": _modules(root)})
    as_root("sh", "-c", f"echo '{mark}' >{root / _MARK}")


def _is_whole(root: Path) -> bool:
    try:
        mark = json.loads((root / _MARK).read_text())
    except (OSError, ValueError):
        return False
    return bool(mark == {"version": version_in(root), "modules": _modules(root)})


def _modules(root: Path) -> int:
    """How many compiled Erlang modules there are: RabbitMQ and Erlang are made of them."""
    return sum(1 for part in ("erlang", "rabbitmq") for _ in (root / "usr/lib" / part).rglob("*.beam"))


def mirror() -> str:
    """Where this machine gets its own Debian packages."""
    sources = Path("/etc/apt")
    files = [
        sources / "sources.list",
        *sorted(sources.glob("sources.list.d/*.list")),
        *sorted(sources.glob("sources.list.d/*.sources")),
    ]
    text = "\n".join(file.read_text() for file in files if file.exists())
    found = re.search(r"^(?:deb\s+(?:\[.*?\]\s*)?|URIs:\s*)(\S+/debian)/?\s*(?:\s|$)", text, re.MULTILINE)
    return found.group(1) if found else "http://deb.debian.org/debian"


def as_root(*command: str) -> None:
    """Run it; what it prints is shown only if it fails."""
    elevated = command if os.geteuid() == 0 else ("sudo", *command)
    done = subprocess.run(  # noqa: S603 - our own command lines
        elevated, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        last = " | ".join(done.stdout.strip().splitlines()[-3:])
        raise Unavailable(f"{' '.join(command[:4])} … failed ({done.returncode}): {last}")


def main(suites: list[str]) -> int:
    if not suites or not set(suites) <= set(SUITES):
        print(f"usage: tools/rabbitmq_root.py {{{'|'.join(SUITES)}}} …", file=sys.stderr)  # noqa: T201
        return 2
    try:
        for suite in suites:
            print(root_of(suite))  # noqa: T201
    except ForebayError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
