"""`kubectl forebay` as somebody runs it: kubectl finds the plugin on the PATH, and the API server knows who it is."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.control_plane import ControlPlane

from tests.support.apiserver import Api
from tests.support.command_line import Ran


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a shell."""

    namespace: str
    environ: dict[str, str]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """`kubectl …` as a process; its output is there to be read."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "kubectl", *arguments, env=self.environ, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *arguments: str, within_s: float = 60.0) -> Ran:
        """`kubectl forebay …` in the person's namespace, to its end."""
        process = await self.start("forebay", *arguments, "-n", self.namespace)
        out, err = await asyncio.wait_for(process.communicate(), within_s)
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def json(self, *arguments: str) -> Any:
        """What it prints for scripts."""
        ran = await self(*arguments, "-o", "json")
        assert not ran.err, ran.err
        return json.loads(ran.out)

    async def findings(self, *name: str) -> list[dict[str, str]]:
        """What `kubectl forebay doctor` finds, which ends with 1 where anything fails."""
        ran = await self("doctor", *name, "-o", "json")
        found: list[dict[str, str]] = json.loads(ran.out)
        assert ran.status == any(line["level"] == "fail" for line in found), ran.err
        return found


def somebody(plane: ControlPlane, place: Api, home: Path, *roles: str) -> Person:
    """Somebody with these ClusterRoles in the namespace, and no other rights."""
    name = "-".join(("person", *roles))[:50]
    plane.kubectl("create", "serviceaccount", name, "-n", place.namespace)
    for role in roles:
        account = f"--serviceaccount={place.namespace}:{name}"
        plane.kubectl(
            "create", "rolebinding", f"{name}-{role}", f"--clusterrole={role}", account, "-n", place.namespace
        )
    token = plane.kubectl("create", "token", name, "-n", place.namespace).strip()
    return _at_a_shell(plane, place, home, plane.kubeconfig_of(token, home / f"{name}.kubeconfig"))


def administrator(plane: ControlPlane, place: Api, home: Path) -> Person:
    """Somebody with all rights."""
    return _at_a_shell(plane, place, home, plane.kubeconfig)


def _at_a_shell(plane: ControlPlane, place: Api, home: Path, kubeconfig: Path) -> Person:
    programs = home / "bin"
    programs.mkdir(exist_ok=True)
    for program, path in (("kubectl", plane.programs.kubectl), ("kubectl-forebay", _beside_python("kubectl-forebay"))):
        if not (programs / program).exists():
            (programs / program).symlink_to(path)
    environ = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "COLUMNS": "160",
        "KUBECONFIG": str(kubeconfig),
    }
    return Person(place.namespace, environ)


def _beside_python(program: str) -> Path:
    return Path(sys.executable).parent / program
