"""Writes what each image has of Python packages, as CycloneDX: dist/sbom/forebay-COMPONENT.cdx.json.

    uv run python -m tools.sbom

From uv.lock alone, so it takes no network and no image; with the place and the hash of every file that may be installed.
The packages of the base image are its publisher's to tell, and the release workflow adds them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.images import COMPONENTS

TREE = Path(__file__).resolve().parent.parent
FOLDER = TREE / "dist/sbom"


def bill(component: str) -> dict[str, Any]:
    """The component's bill of materials."""
    asked = ("--quiet", "--locked", "--no-dev", f"--package=forebay-{component}", "--format=cyclonedx1.5")
    done = subprocess.run(  # noqa: S603 - our own command line
        ["uv", "export", "--preview-features=sbom-export", *asked],  # noqa: S607 - whichever the machine has
        cwd=TREE, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main() -> int:
    """The command line."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for component in COMPONENTS:
        path = FOLDER / f"forebay-{component}.cdx.json"
        path.write_text(json.dumps(bill(component), indent=1) + "\n")
        sys.stdout.write(f"{path.relative_to(TREE)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
