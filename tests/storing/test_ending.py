"""A process that used object storage ends by its own exit status, whatever the storage's threads still do."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys
atexit.register(lambda: print("torn down"))
{before}
from forebay.ending import end
print("said", end="")
print("told", end="", file=sys.stderr)
end(3)
"""


@pytest.mark.parametrize(("before", "torn_down"), [("import obstore", ""), ("", "torn down\n")])
def test_all_is_said_and_the_status_stays(before: str, torn_down: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "said" + torn_down, "told")
