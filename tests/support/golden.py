"""Files that hold what is expected; GOLDEN=1 rewrites them, and the diff is reviewed like code (`make golden`)."""

import os
from pathlib import Path


def check(golden: Path, actual: str) -> None:
    """Compare with a golden file, or write it."""
    if os.environ.get("GOLDEN"):
        golden.write_text(actual, "utf-8")
    assert golden.exists(), f"{golden} is missing; GOLDEN=1 writes it"
    assert actual == golden.read_text("utf-8"), (
        f"{golden.name} says otherwise; if the change is meant, GOLDEN=1 rewrites it"
    )
