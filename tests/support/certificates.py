"""Certificates for tests: an authority, and what it signs, by openssl."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str = "ca") -> Pair:
    """A CA of one's own."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    use = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 and newer ask for it
    _openssl("req", "-x509", *_KEY, "-nodes", "-days", "2", "-subj", f"/CN={name}", *use, "-keyout", pair.key,
             "-out", pair.certificate)  # fmt: skip
    return pair


HERE = "DNS:localhost,IP:127.0.0.1"


def issued(ca: Pair, folder: Path, name: str, *, passphrase: str = "", names: str = HERE) -> Pair:
    """A certificate of the CA, for the machine itself if nothing else is said, with this common name."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    locked = ("-passout", f"pass:{passphrase}") if passphrase else ("-nodes",)
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text("authorityKeyIdentifier=keyid\n")
    _openssl("req", *_KEY, *locked, "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}",
             "-keyout", pair.key, "-out", request)  # fmt: skip
    _openssl("x509", "-req", "-in", request, "-CA", ca.certificate, "-CAkey", ca.key, "-days", "2", "-copy_extensions",
             "copy", "-extfile", extensions, "-out", pair.certificate)  # fmt: skip
    return pair


def serving(pair: Pair, clients: Pair | None = None) -> ssl.SSLContext:
    """A server's side; with `clients` it asks each client for a certificate of this CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.load_verify_locations(clients.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _openssl(*words: str | Path) -> None:
    subprocess.run(("openssl", *words), check=True, capture_output=True)
