"""The version before this one: the commit before, with its own images, chart and CRD, as if somebody had installed that.

FORMER names another commit, such as a release.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from tools.images import TREE, built_as


class NoFormer(Exception):
    """There is none: in a clone without history, say."""


@dataclass(frozen=True, slots=True)
class Former:
    """A tree of its own, in which the chart asks for that commit's images."""

    tree: Path
    archives: Sequence[Path]


def former(folder: Path) -> Former:
    """Check it out and build its images; those of a version that was tested here lately are there still. Raises NoFormer."""
    commit = _commit(os.environ.get("FORMER", "HEAD~1"))
    _said(TREE, "git", "clone", "--quiet", "--shared", "--no-checkout", str(TREE), str(folder))
    _said(folder, "git", "checkout", "--quiet", commit)
    told = _said(folder, sys.executable, "-m", "tools.images").splitlines()
    archives = {line.partition(":")[0].rpartition("-")[2]: Path(line.split()[-1]) for line in told}
    _ask_for(folder / "charts/forebay/values.yaml", {part: built_as(archive) for part, archive in archives.items()})
    return Former(folder, list(archives.values()))


def _ask_for(defaults: Path, tags: Mapping[str, str]) -> None:
    """Have the chart ask for these images, as a released one does: both versions call themselves by the same number here."""
    values = yaml.safe_load(defaults.read_text())
    for component, tag in tags.items():
        place = values if component == "operator" else values[component]
        place["image"]["tag"] = tag
    defaults.write_text(yaml.safe_dump(values))


def _commit(named: str) -> str:
    try:
        return _said(TREE, "git", "rev-parse", "--verify", f"{named}^{{commit}}")
    except subprocess.CalledProcessError as error:
        raise NoFormer(f"there is no commit {named} in this clone") from error


def _said(where: Path, *command: str) -> str:
    """What a command prints. Raises CalledProcessError; what it complains of is shown."""
    environment = {**os.environ, "PYTHONPATH": str(where)}
    done = subprocess.run(command, cwd=where, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()
