#!/usr/bin/env python3
"""Takes the symbols for debuggers out of shared libraries, as `strip` does, where there is no `strip`: in images' builds.

    python3 tools/without_symbols.py FOLDER     every .so below it; prints how many bytes that saved

The dynamic linker reads what the program headers name and nothing else, and linkers write that first. So a library is cut behind
the last of it, with the table of sections, which names the rest, struck out of its header. Tracebacks of Python stay as they
are; of native code they have addresses in the place of names. What is not a 64-bit little-endian library is left alone.
"""

import struct
import sys
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<32xQ14xHH")  # where the program headers are, how large each is, how many there are
_SEGMENT = struct.Struct("<8xQ16xQ16x")  # where it is in the file, and how much of it


def without_symbols(library: bytes) -> bytes:
    """The library without what no process ever loads; all of it if there is nothing to save."""
    if not library.startswith(_MAGIC):
        return library
    segments, size, number = _HEADER.unpack_from(library)
    parts = (_SEGMENT.unpack_from(library, segments + size * index) for index in range(number))
    end = max(segments + size * number, *(begin + length for begin, length in parts))
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, 40, 0)  # where the sections are
    struct.pack_into("<HH", kept, 60, 0, 0)  # how many, and which of them holds their names
    return bytes(kept)


def main(folder: str) -> None:
    """Do it in place."""
    saved = 0
    for path in Path(folder).rglob("*.so"):
        before = path.read_bytes()
        after = without_symbols(before)
        if len(after) < len(before):
            path.write_bytes(after)
            saved += len(before) - len(after)
    sys.stdout.write(f"{saved}\n")


if __name__ == "__main__":
    main(sys.argv[1])
