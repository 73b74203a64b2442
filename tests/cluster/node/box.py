"""A box for a node: network, mounts and processes of its own, which the kernel takes away all at once when its first process ends.

Inside it a node finds the machine's programs and its usual paths, and what it writes there stays in the box: `/var`,
`/etc` and `/opt` are layers above the machine's, in memory; `/run` is empty. What is large is in the box's folder. One
pair of interfaces joins the two networks: from the machine the node can be reached, and from the node nothing but the machine.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INSIDE = Path("/run/forebay")  # where the box's folder is in the box
_END_S = 20.0

# What a kubelet would change for the whole machine, as it wants to find it; it finds it in files of its own.
TUNED = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
# $1: the box's folder; then the command. File descriptor 9 is the machine's network.
_ENTER = f"""\
set -e
mkdir -p "$1/containerd" "$1/kubelet"
mount --bind "$1" /mnt
mount -t tmpfs -o mode=755 none /run
mkdir -p {INSIDE} /run/layers /run/tuned
mount --move /mnt {INSIDE}
for d in var etc opt; do
    mkdir -p /run/layers/$d/upper /run/layers/$d/work
    mount -t overlay -o lowerdir=/$d,upperdir=/run/layers/$d/upper,workdir=/run/layers/$d/work none /$d
done
for d in containerd kubelet; do
    mkdir -p /var/lib/$d
    mount --bind {INSIDE}/$d /var/lib/$d
done
tune() {{
    [ -e /proc/sys/$1 ] || return 0
    file=/run/tuned/$(echo $1 | tr / .)
    echo $2 >$file
    mount --bind $file /proc/sys/$1
}}
{chr(10).join(f"tune {name} {value}" for name, value in TUNED.items())}
mount --make-rshared /
ip link set lo up
n=0
while ! ip link add eth0 type veth peer name forebay$n netns /proc/self/fd/9 2>/run/link; do
    n=$((n + 1))
    [ $n -lt 64 ] || {{ cat /run/link >&2; exit 1; }}
done
outside() {{ nsenter --net=/proc/self/fd/9 ip "$@"; }}
echo forebay$n $(nsenter --net=/proc/self/fd/9 cat /sys/class/net/forebay$n/ifindex) >{INSIDE}/link
outside addr add 198.18.$n.1/30 dev forebay$n
outside link set forebay$n up
ip addr add 198.18.$n.2/30 dev eth0
ip link set eth0 up
ip route add default via 198.18.$n.1
echo 1 >/proc/sys/net/ipv4/ip_forward
exec 9<&-
export FOREBAY_NODE_ADDRESS=198.18.$n.2
shift
exec "$@"
"""
# $1: where to, $2: the log; then the command. Prints its process id; it is nobody's child but the machine's.
_BEGIN = """\
exec 9</proc/self/ns/net
cd "$1"
log=$2
shift 2
setsid "$@" >"$log" 2>&1 &
echo $!
"""
_APART = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class BoxError(Exception):
    """There is no box, or it does not go; the text says why."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box, kept in one folder; nobody needs to remember more of it."""

    folder: Path

    @property
    def cgroup(self) -> str:
        """Below which the cgroups of its pods are."""
        return f"forebay-{zlib.crc32(str(self.folder).encode()):08x}"

    def start(self, command: Sequence[str], log: Path, where: Path) -> None:
        """Run the command as the box's first process; it outlives us."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for parent in cgroup_mounts():
            _make_cgroup(parent / self.cgroup)
        enter = ["sh", "-c", _ENTER, "sh", str(self.folder), *command]
        begun = subprocess.run(
            ["sh", "-c", _BEGIN, "sh", str(where), str(log), *_APART, *enter],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        pid = int(begun.stdout)
        self._mark.write_text(f"{pid} {_born(pid)}")

    @property
    def _mark(self) -> Path:
        return self.folder / "pid"

    @property
    def pid(self) -> int | None:
        """The process that the box lives as long as; None: it does not live."""
        with contextlib.suppress(OSError, ValueError):
            pid, born = (int(word) for word in self._mark.read_text().split())
            return pid if _born(pid) == born else None
        return None

    def enter(self, *command: str, network_alone: bool = False) -> list[str]:
        """The command line that runs a command in the box; with `network_alone`, on the machine's own files."""
        namespaces = f"/proc/{self.pid}/ns"
        others = () if network_alone else (f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children")
        return ["nsenter", f"--net={namespaces}/net", *others, "--", *command]

    @property
    def link(self) -> str | None:
        """The machine's end of the pair of interfaces, while it is there."""
        with contextlib.suppress(OSError, ValueError):
            name, index = (self.folder / "link").read_text().split()
            return name if Path(f"/sys/class/net/{name}/ifindex").read_text().strip() == index else None
        return None

    def remove(self) -> None:
        """End all that runs in it, and leave nothing of it; also if it ended halfway, or never was."""
        if (pid := self.pid) is not None:
            first = _children(pid)
            os.kill(pid, signal.SIGKILL)
            # The first process is gone when all others in the box are.
            _until(lambda: not any(_born(one) for one in (pid, *first)))
        if self.link:
            # The kernel would do it too, but only after the last connection of the box has timed out.
            _run("ip", "link", "delete", self.link)
        for parent in cgroup_mounts():
            _until(lambda parent=parent: _remove_cgroup(parent / self.cgroup))  # type: ignore[misc]
        shutil.rmtree(self.folder, ignore_errors=True)


def _born(pid: int) -> int:
    """When a process began, in ticks since the machine did, so that no other takes its place; 0: it is no more."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    return 0


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def _run(*command: str) -> None:
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _END_S
    while not holds():
        if time.monotonic() > deadline:
            raise BoxError(
                f"a part of the box did not end within {_END_S:g} s: `ps aux` and `/proc/*/cgroup` tell which"
            )
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------------ control groups


def cgroup_mounts() -> list[Path]:
    """One for each controller in the old layout, one for all in the new."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(point) for _, point, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]


# All pods together would weigh as much as one process of the machine; so they weigh as eight. In the old layout, and the new.
_WEIGHT = {"cpu.shares": 8 * 1024, "cpu.weight": 8 * 100}


def _make_cgroup(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, weight in _WEIGHT.items():
        if (folder / name).exists():
            (folder / name).write_text(str(weight))
    for name in ("cpuset.cpus", "cpuset.mems"):  # a new one has none in the old layout, and no process may enter it
        if (folder / name).exists() and (folder.parent / name).exists():
            (folder / name).write_text((folder.parent / name).read_text())


def _remove_cgroup(folder: Path) -> bool:
    """Whether it is gone; not yet while a process in it is about to end."""
    try:
        for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            inner.rmdir()
        folder.rmdir()
    except FileNotFoundError:
        return not folder.exists()
    except OSError:
        return False
    return True
