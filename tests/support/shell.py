"""Commands of the documentation, run as a reader would run them."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[list[str]]:
    """The lines of every block of commands on a page, in order."""
    return [block.splitlines() for block in _BLOCK.findall(page.read_text("utf-8"))]


def told(page: Path, which: int = 0) -> list[str]:
    """What a page says that commands print at last, line by line; those of its first block that tells so, or a later one's."""
    return page.read_text("utf-8").split("```console\n")[1 + which].split("```")[0].splitlines()


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell in this repository with kubectl, Helm and a kubeconfig."""

    kubectl: Path
    kubeconfig: Path
    helm: Path
    home: Path
    variables: Mapping[str, str]

    def run(self, commands: str) -> str:
        """What the commands print. Raises AssertionError with all of it at the first that fails."""
        programs = self.home / "bin"
        programs.mkdir(exist_ok=True)
        for name, path in (("kubectl", self.kubectl), ("helm", self.helm)):
            (programs / name).unlink(missing_ok=True)
            (programs / name).symlink_to(path)
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            **self.variables,
        }
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", commands],
            cwd=TREE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"ended with {done.returncode}:\n{done.stdout}"
        return done.stdout
