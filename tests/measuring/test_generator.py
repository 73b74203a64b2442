"""The load generator has tests of its own, in Go."""

import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.mark.timeout(600)  # on a cold machine it compiles what the peers are made of
def test_the_load_generator_counts_honestly() -> None:
    done = subprocess.run(["go", "test", "./..."], cwd=BENCH, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
