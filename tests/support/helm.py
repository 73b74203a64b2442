"""Helm, its two majors, built once by tools/build.py; and the chart, as they render it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TREE = Path(__file__).resolve().parents[2]
CHART = TREE / "charts" / "forebay"
MAJORS = ("helm-3", "helm-4")
# A Helm that was built from its module has no Kubernetes version of its own to render for.
KUBERNETES = "1.34.4"

Object = dict[str, Any]


class HelmError(Exception):
    """Helm said no; the text is what it said."""


class Helm:
    """One Helm binary, with folders of its own."""

    def __init__(self, binary: Path, home: Path, kubeconfig: Path | None = None) -> None:
        self.binary = binary
        folders = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._environment = {**os.environ, **folders, "KUBECONFIG": str(kubeconfig or os.devnull)}

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What a Helm command prints. Raises HelmError."""
        process = subprocess.run(
            [self.binary, *arguments], env=self._environment, input=stdin, capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise HelmError(process.stderr + process.stdout)
        return process.stdout

    def render(self, values: Mapping[str, Any], *, release: str = "forebay", namespace: str = "forebay-system") -> str:
        """All of the chart's objects, as text."""
        return self.run(
            "template", release, str(CHART), "--namespace", namespace, "--kube-version", KUBERNETES, "--values", "-",
            stdin=yaml.safe_dump(dict(values)),
        )  # fmt: skip

    def objects(self, values: Mapping[str, Any]) -> list[Object]:
        return [one for one in yaml.safe_load_all(self.render(values)) if one]
