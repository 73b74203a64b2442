"""A cluster of kind's, where Docker can pull kind's image: by the machine's Docker, with the stories' images loaded into it."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.build import built

from tests.cluster.cluster import HERE

_NAME = "forebay-stories"


@contextmanager
def kind(home: Path, archives: Sequence[Path]) -> Iterator[Path]:
    """The administrator's kubeconfig; the cluster is deleted after the block."""
    kubeconfig = home / "kubeconfig"
    try:
        _run("create", "cluster", f"--config={HERE}/kind.yaml", f"--kubeconfig={kubeconfig}", "--wait=180s")
        for archive in archives:
            _run("load", "image-archive", str(archive))
        yield kubeconfig
    finally:
        _run("delete", "cluster", f"--kubeconfig={kubeconfig}")


def _run(*arguments: str) -> None:
    subprocess.run([built("kind"), *arguments, f"--name={_NAME}"], check=True, stdin=subprocess.DEVNULL)
