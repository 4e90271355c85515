"""Certificates and keys of one lab control plane: a CA, a serving certificate, client identities.

A client's identity is in its certificate, as Kubernetes reads it: common name is the user,
organisations are the groups. Files are written with mode 0600. Nothing here is for production.

Called by `ControlPlane`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_NAME = "tandem-lab"
VALIDITY = dt.timedelta(days=3650)
# Guests of the lab have clocks of their own, and some tests turn them.
BACKDATED = dt.timedelta(days=2)
# Newer TLS libraries refuse a CA certificate that does not say it may sign.
_SIGNING_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def write_private(path: Path, content: bytes | str) -> None:
    """Write a file of mode 0600, whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    partial.replace(path)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, certificate_path: Path, key_path: Path) -> None:
        """Write both, key first, so that a certificate is never without its key."""
        write_private(key_path, self.key)
        write_private(certificate_path, self.certificate)


class Authority:
    """The lab's CA, kept in `directory` and made on first use."""

    def __init__(self, directory: Path) -> None:
        self.certificate_path = directory / "ca.crt"
        self._key_path = directory / "ca.key"
        if not self.certificate_path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
            _new_authority().write(self.certificate_path, self._key_path)
        self.certificate = self.certificate_path.read_bytes()
        self._issuer = x509.load_pem_x509_certificate(self.certificate)
        self._key = _load_key(self._key_path.read_bytes())

    def server(self, names: Sequence[str]) -> KeyPair:
        """A serving certificate for host names and addresses."""
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = self._builder(_name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH)
        return self._sign(builder.add_extension(alternatives, critical=False))

    def client(self, user: str, groups: Sequence[str]) -> KeyPair:
        """A client certificate that Kubernetes takes for `user`, a member of `groups`."""
        return self._sign(self._builder(_name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH))

    def peer(self, name: str) -> KeyPair:
        """A certificate by which one of several equals is known, as a server and as a client."""
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        alternatives = x509.SubjectAlternativeName([_general_name(name)])
        builder = self._builder(_name(name), *usages)
        return self._sign(builder.add_extension(alternatives, critical=False))

    def _builder(
        self, subject: x509.Name, *usages: x509.ObjectIdentifier
    ) -> x509.CertificateBuilder:
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            _base_builder(subject, self._issuer.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(issuer_key, critical=False)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = builder.public_key(key.public_key()).sign(self._key, hashes.SHA256())
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def new_signing_key() -> bytes:
    """A private key (PEM) that signs service account tokens."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def _new_authority() -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(CA_NAME)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _base_builder(name, name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNING_USAGE, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _base_builder(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALIDITY)
    )


def _name(common_name: str, organisations: Sequence[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organisations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        # Kubernetes reads EC keys of this form everywhere, PKCS#8 ones not in every version.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the lab's CA key is {type(key).__name__}, not an elliptic curve key")
    return key
