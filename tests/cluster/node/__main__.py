"""A real Kubernetes node on this machine, without a registry and without a trace.

    python -m tests.cluster.node up               a node; prints how to use it. The first time it is built, for minutes
    python -m tests.cluster.node load ARCHIVE …   put images into it, as `docker save` or `make images` makes them
    python -m tests.cluster.node enter COMMAND …  run a command in its network, such as curl at a Service's address
    python -m tests.cluster.node down             end it, and leave nothing behind

Each takes `--folder`, where the node is kept: another folder, another node. See tests/cluster/node/README.md.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from tools.control_plane import binaries

from tests.cluster.node.box import BoxError
from tests.cluster.node.node import TREE, Node, NoNode


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status 1: it could not be done, and why is said in one line."""
    given = _parser().parse_args(arguments)
    node = Node(given.folder.absolute())
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored, as behind `&`
        signal.signal(number, signal.default_int_handler)
    try:
        _do(given, node)
    except (NoNode, BoxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _do(given: argparse.Namespace, node: Node) -> None:
    if given.command == "up":
        node.up()
        print(f"export KUBECONFIG={node.kubeconfig}\nexport PATH={binaries().kubectl.parent}:$PATH")
    elif given.command == "load":
        for archive in given.archive:
            print(node.load(archive))
    elif given.command == "enter":
        command = node.entered(*given.words)
        os.execvp(command[0], command)
    else:
        node.down()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.node", description="A Kubernetes node of one's own.")
    parser.add_argument("--folder", type=Path, default=TREE / ".forebay/node", help="where it is kept (.forebay/node)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring a node up")
    commands.add_parser("load", help="put images into it").add_argument("archive", type=Path, nargs="+")
    enter = commands.add_parser("enter", help="run a command in its network")
    enter.add_argument("words", metavar="command", nargs=argparse.REMAINDER)
    commands.add_parser("down", help="end it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
