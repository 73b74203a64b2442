"""Files that only we can read: secrets, and notes with a login in them."""

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only we can read, at no moment with wider rights; its new folders likewise."""
    make_private_folder(path.parent)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)


def make_private_folder(folder: Path) -> None:
    """Make a folder and what is missing above it, for us alone (`mkdir(parents=True)` would give parents wider rights)."""
    for part in reversed((folder, *folder.parents)):
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)
