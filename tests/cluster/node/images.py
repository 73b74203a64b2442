"""The node's own images: what holds a pod's namespaces, and CoreDNS."""

from pathlib import Path

from tools.archive import Image, program
from tools.build import built

from tests.cluster.node import parts

_OWN = {
    "pause": Image(name=parts.PAUSE, command=("/pause",)),
    "coredns": Image(name=parts.DNS_IMAGE, command=("/coredns",)),
}


def archives() -> list[Path]:
    return [program(built(name), image) for name, image in _OWN.items()]
