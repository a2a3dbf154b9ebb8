"""TLS as a client of a mail host: contexts, SNI, what is known of the certificate."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cryptography import x509
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from mailerq.smtp.factory import ConnectOptions

PROBLEMS = {
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in its chain",
    20: "issuer is not trusted",
    21: "issuer is not trusted",
    23: "certificate was revoked",
    24: "invalid CA certificate",
    26: "certificate is for another purpose",
    66: "key is too weak",
    67: "key of the CA is too weak",
    68: "signature is too weak",
}
"""What OpenSSL's verification errors (X509_V_ERR_…) say."""


@implementer(IOpenSSLClientConnectionCreator)
class ClientTls:
    """The TLS of one connection. The handshake is never broken off for a certificate: whether it is good is in
    ``facts``, and nothing is sent before its user has looked."""

    def __init__(self, options: ConnectOptions) -> None:
        self._names = options.tls_names or ((options.mx,) if options.mx else ())
        self._address = options.address
        self._context = context(options.security in ("required", "verified"), options.trust)
        self._connection: Any = None
        self.problem: str | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_verify(SSL.VERIFY_PEER, self._note)
        name = self._names[0].rstrip(".") if self._names else ""
        if name.isascii() and re.fullmatch(r"[A-Za-z0-9._-]+", name) and not _is_ip(name):
            connection.set_tlsext_host_name(name.encode())
        self._connection = connection
        return connection

    def _note(self, connection: Any, certificate: Any, number: int, depth: int, good: int) -> bool:
        """OpenSSL asks for each certificate of the chain; the first problem is kept, and the handshake goes on."""
        if not good and self.problem is None:
            self.problem = PROBLEMS.get(number, f"certificate does not verify (OpenSSL error {number})")
        return True

    def facts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """``cipher`` and ``certificate`` as ``Peer`` has them. Never raises."""
        connection = self._connection
        cipher = {
            "name": connection.get_cipher_name(),
            "bits": connection.get_cipher_bits(),
            "version": connection.get_protocol_version_name(),
        }
        certificate: dict[str, Any] = {}
        wanted = self._names or (self._address,)
        try:
            found = connection.get_peer_certificate(as_cryptography=True)
            certificate = _described(found)
            if self.problem is None and not any(_is_for(found, name) for name in wanted):
                self.problem = f"certificate is not for {' or '.join(wanted)}"
        except Exception as problem:  # whatever a host may put into a certificate, or leave out
            self.problem = self.problem or f"certificate cannot be read: {type(problem).__name__}"
        certificate["verified"] = self.problem is None
        if self.problem is not None:
            certificate["problem"] = self.problem
        return cipher, certificate

    def forget(self) -> None:
        """It is over: OpenSSL's memory is freed at once, and not when Python looks for rings of objects."""
        self._connection = None

    def failure(self, reason: Failure) -> str:
        """Why a handshake failed, in words."""
        value = reason.value
        if isinstance(value, SSL.Error) and value.args and isinstance(value.args[0], (list, tuple)):
            return "; ".join(str(entry[-1]) for entry in value.args[0] if entry) or "no reason given"
        return reason.getErrorMessage().rstrip(".") or type(value).__name__


@lru_cache(maxsize=16)
def context(strict: bool, trust: Any) -> SSL.Context:
    """A context for all connections of one kind (loading the trusted certificates takes milliseconds).

    ``strict``: TLS 1.2 and above with today's ciphers. Otherwise whatever the host can do: the alternative is clear
    text.
    """
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_2_VERSION if strict else SSL.TLS1_VERSION)
    if not strict:
        made.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    made.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    made.set_mode(SSL.MODE_RELEASE_BUFFERS)
    _trust(trust)._addCACertsToContext(made)
    return made


def _trust(trust: Any) -> Any:
    from twisted.internet._sslverify import IOpenSSLTrustRoot, OpenSSLDefaultPaths

    return OpenSSLDefaultPaths() if trust is None else IOpenSSLTrustRoot(trust)


def _described(certificate: x509.Certificate) -> dict[str, Any]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name) for name in alternatives.get_values_for_type(x509.DNSName)]
        names += [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        names = []
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "notbefore": f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S}",
        "notafter": f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}",
        "altnames": names,
    }


def _is_for(certificate: x509.Certificate, name: str) -> bool:
    """Whether the certificate carries ``name`` (RFC 9525: in its alternative names, never in its subject)."""
    name = name.rstrip(".")
    try:
        if _is_ip(name):
            verify_certificate_ip_address(certificate, name.strip("[]"))
        else:
            verify_certificate_hostname(certificate, name)
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


def _is_ip(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
