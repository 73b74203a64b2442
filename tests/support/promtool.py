"""Prometheus' own word on rules and expressions."""

import subprocess
from pathlib import Path


def said(promtool: Path, *arguments: str, where: Path) -> str:
    """What promtool printed; an AssertionError with it if it found a fault."""
    done = subprocess.run(
        [promtool, *arguments], cwd=where, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
