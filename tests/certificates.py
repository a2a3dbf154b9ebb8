"""Certificates for tests, made when they are needed."""

from __future__ import annotations

import datetime
from ipaddress import ip_address
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet import ssl


@attrs.frozen
class Certificate:
    """A certificate and its key. ``context()`` is what a server's ``startTLS`` wants, ``trust()`` a trust root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def context(self) -> Any:
        return ssl.PrivateCertificate.loadPEM(self.pem() + self.key_pem()).options()

    def trust(self) -> Any:
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(self.pem())])


def general(name: str) -> x509.GeneralName:
    """A DNS name, or an IP address if it is one."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make(*names: str, issuer: Certificate | None = None, days: int = 30, ca: bool = False) -> Certificate:
    """A certificate for ``names``, self-signed unless there is an ``issuer``; expired where ``days`` is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    return Certificate(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)
