"""A provider that publishes its keys: its certificate, its key set, and requests signed by them, as its documentation says."""

import base64
import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.verifying.signed import NOW, RawHeaders, raw

TOPIC = b"arn:aws:sns:us-east-1:123456789012:orders"
CERTIFICATE = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-56e67fcb41f6fec09b0196692625d385.pem"
WEBHOOK_ID = b"1JE4291016473214C"
PAYPALS = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270"
KEYS = "https://issuer.example.com/keys"
GRAPH = "0bf30f3b-4a52-48df-9a82-234910c4a086"  # the application that Microsoft Graph's tokens are of

Request = tuple[RawHeaders, bytes]


@cache
def key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """The same one each time: to make one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def certificate(private: Any = None, now: float = NOW, days: int = 1) -> bytes:
    """A certificate of that key, good from an hour ago on."""
    private = private or key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begins = datetime.fromtimestamp(now, UTC) - timedelta(hours=1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    made = made.serial_number(1).not_valid_before(begins).not_valid_after(begins + timedelta(days=days))
    return made.sign(private, SHA256()).public_bytes(Encoding.PEM)


def sns(now: float = NOW, version: str = "2", private: Any = None, **changes: Any) -> Request:
    """A message of Amazon SNS; a change to None leaves the field out."""
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said: dict[str, Any] = {
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC.decode(),
        "Subject": "Zoë", "Message": '{"id":\n1}', "Timestamp": at, **changes,
    }  # fmt: skip
    said = {name: value for name, value in said.items() if value is not None}
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{name}\n{said[name]}\n" for name in names if name in said)
    function: HashAlgorithm = SHA1() if version == "1" else SHA256()
    signature = (private or key()).sign(text.encode(), padding.PKCS1v15(), function)
    said |= {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}
    said = {"SigningCertURL": CERTIFICATE, **said}
    return raw([("x-amz-sns-message-type", str(said["Type"]))]), json.dumps(said).encode()


def paypal(now: float = NOW, body: bytes = b'{"event_type":"PAYMENT"}', **changes: Any) -> Request:
    """A webhook of PayPal."""
    at = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    text = f"69cd13f0|{at}|{WEBHOOK_ID.decode()}|{zlib.crc32(body)}".encode()
    headers = {
        "PAYPAL-TRANSMISSION-ID": "69cd13f0", "PAYPAL-TRANSMISSION-TIME": at, "PAYPAL-CERT-URL": PAYPALS,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(key().sign(text, padding.PKCS1v15(), SHA256())).decode(),
        **changes,
    }  # fmt: skip
    return raw(headers.items()), body


def url64(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _number(value: int) -> str:
    return url64(value.to_bytes((value.bit_length() + 7) // 8))


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues tokens, with a key of each kind."""

    rsa: rsa.RSAPrivateKey
    curve: ec.EllipticCurvePrivateKey
    edwards: ed25519.Ed25519PrivateKey

    def key_set(self) -> bytes:
        public, point = self.rsa.public_key().public_numbers(), self.curve.public_key().public_numbers()
        keys = [
            {"kid": "r", "kty": "RSA", "n": _number(public.n), "e": _number(public.e), "use": "sig"},
            {"kid": "c", "kty": "EC", "crv": "P-256", "x": _number(point.x), "y": _number(point.y)},
            {"kid": "e", "kty": "OKP", "crv": "Ed25519", "x": url64(self.edwards.public_key().public_bytes_raw())},
            {"kid": "weak", "kty": "RSA", "n": _number(key(1024).public_key().public_numbers().n), "e": "AQAB"},
            {"kid": "secret", "kty": "oct", "k": "AAAA"},
        ]
        return json.dumps({"keys": keys}).encode()

    def token(self, now: float = NOW, alg: str = "RS256", kid: str | None = None, **claims: Any) -> str:
        """A token; a change to None leaves the claim out."""
        said: dict[str, Any] = {
            "iss": "https://issuer.example.com",
            "aud": "us",
            "iat": int(now),
            "exp": int(now) + 600,
        }
        said = {
            name: value for name, value in {**said, "email": "a@example.com", **claims}.items() if value is not None
        }
        key_id = kid or {"RS256": "r", "PS256": "r", "ES256": "c", "EdDSA": "e"}[alg]
        text = ".".join(url64(json.dumps(part).encode()) for part in ({"alg": alg, "kid": key_id}, said))
        return f"{text}.{url64(self._signature(alg, text.encode()))}"

    def _signature(self, alg: str, text: bytes) -> bytes:
        match alg:
            case "RS256":
                return self.rsa.sign(text, padding.PKCS1v15(), SHA256())
            case "PS256":
                return self.rsa.sign(text, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
            case "ES256":
                r, s = decode_dss_signature(self.curve.sign(text, ec.ECDSA(SHA256())))
                return r.to_bytes(32) + s.to_bytes(32)
            case _:
                return self.edwards.sign(text)


@cache
def issuer() -> Issuer:
    return Issuer(key(), ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate())
