"""From a container's command to a process of this environment: what is run, where, with which variables. Starts nothing."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay.errors import SpecError
from forebay_cli.local.pod import Pod

READY_FILE = "ready.json"
ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one replica is started, each time it is."""

    name: str  # "github-worker-default-0"
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)  # holds whatever the user's shell holds
    root: Path  # FOREBAY_ROOT
    cwd: Path
    log: Path  # what it prints, of all its lives
    grace_s: float

    @property
    def ready_file(self) -> Path:
        return self.root / READY_FILE


def launch(
    pod: Pod,
    index: int,
    *,
    folder: Path,
    port: int,
    handlers: Path | None,
    environ: Mapping[str, str],
    extra: Mapping[str, str],
) -> Launch:
    """The launch of a pod's replica below `folder`. Raises SpecError if its command is not installed here.

    `handlers` is the folder with a Python handler's module; `extra` are variables that win over the container's.
    """
    name = f"{pod.deployment}-{index}"
    root = folder / name
    return Launch(
        name=name,
        argv=resolve(pod.command),
        env=_variables(pod, root, port, handlers, environ) | dict(extra),
        root=root,
        cwd=handlers or root,
        log=folder / "logs" / f"{name}.log",
        grace_s=pod.grace_s,
    )


def resolve(command: tuple[str, ...]) -> tuple[str, ...]:
    """The container's command in this environment: `forebay-worker` is the module that is installed beside us."""
    module = command[0].replace("-", "_")
    if importlib.util.find_spec(module) is not None:
        # -P: what lies in the working folder must not shadow what is installed.
        return (sys.executable, "-P", "-m", module, *command[1:])
    found = shutil.which(command[0])
    if found is None:
        raise SpecError(f"{command[0]} is not installed here; install {command[0]} beside forebay-cli")
    return (found, *command[1:])


def _variables(pod: Pod, root: Path, port: int, handlers: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The shell's variables, the container's, and in place of addresses and paths in a pod those of this machine."""
    shell = {name: value for name, value in environ.items() if not name.startswith("FOREBAY_")}
    modules = [str(handlers)] if handlers else []
    path = os.pathsep.join([*modules, *filter(None, [shell.get("PYTHONPATH")])])
    return {
        **shell,
        **dict(pod.env),
        **({"PYTHONPATH": path} if path else {}),
        "PYTHONUNBUFFERED": "1",
        "FOREBAY_ROOT": str(root),
        "FOREBAY_LISTEN": f"127.0.0.1:{port}",
        "FOREBAY_ADMIN_LISTEN": ANY_PORT,
        "FOREBAY_READY_FILE": str(root / READY_FILE),
        "FOREBAY_REPLICA": root.name,
    }
