"""TCP ports of 127.0.0.1 that nobody listens on."""

import secrets
import socket


def free_port() -> int:
    """A free port below those that the kernel hands out to clients: it stays ours while a process starts again.

    One of the latter would, while its server is down, sooner or later be given to a client that is trying to reach that
    very port, which then talks to itself.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    ports: set[int] = set()
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(12_000)  # the kernel's: two processes forked from one draw different ones
        if is_free(port):
            ports.add(port)
    return list(ports)


def is_free(port: int) -> bool:
    """Whether nobody listens there; connections that are winding down do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
