"""Certificates for tests: an authority, and what it issues, right or wrong in one respect.

This module knows X.509 by way of `cryptography`; it must not know servers or the code under test.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from threading import get_ident
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def make_key(kind: str) -> Any:
    """A private key: ``ec`` (P-256) or ``rsa`` (2048 bits)."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def make_name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def key_pem(key: Any, password: str | None = None) -> bytes:
    encryption: Any = NoEncryption()
    if password is not None:
        encryption = BestAvailableEncryption(password.encode())
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


class Pair:
    """A certificate and its key, with files made of them in `folder`."""

    def __init__(self, certificate: x509.Certificate, key: Any, folder: Path, name: str) -> None:
        self.certificate = certificate
        self.key = key
        self.folder = folder
        self.name = name

    def file(self, suffix: str, content: bytes) -> str:
        path = self.folder / f"{self.name}{suffix}"
        if not path.exists() or path.read_bytes() != content:
            # In one step, as somebody may read it just now.
            new = path.with_name(f"{path.name}.{get_ident()}")
            new.write_bytes(content)
            new.replace(path)
        return str(path)

    @property
    def pem(self) -> str:
        """One file: the certificate, then the key."""
        return self.file(".pem", certificate_pem(self.certificate) + key_pem(self.key))

    @property
    def certificate_file(self) -> str:
        return self.file(".crt", certificate_pem(self.certificate))

    @property
    def key_file(self) -> str:
        return self.file(".key", key_pem(self.key))

    def encrypted_pem(self, password: str) -> str:
        content = certificate_pem(self.certificate) + key_pem(self.key, password)
        return self.file(".encrypted.pem", content)


class Authority(Pair):
    """A root authority that issues certificates into `folder`."""

    def __init__(self, folder: Path, name: str = "authority", kind: str = "ec") -> None:
        key = make_key(kind)
        subject = make_name((NameOID.ORGANIZATION_NAME, "Tests"), (NameOID.COMMON_NAME, name))
        certificate = (
            _builder(subject, subject, key.public_key(), -DAY, 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        super().__init__(certificate, key, folder, name)
        self.kind = kind

    def issue(
        self,
        name: str,
        *hosts: str,
        subject: x509.Name | None = None,
        since: datetime.timedelta = -DAY,
        until: datetime.timedelta = DAY,
        ocsp_url: str | None = None,
        must_staple: bool = False,
        ocsp_signing: bool = False,
        server: bool = True,
    ) -> Pair:
        """A certificate for `hosts` (names and addresses), valid from now+since to now+until."""
        key = make_key(self.kind)
        if subject is None:
            subject = make_name((NameOID.COMMON_NAME, name))
        builder = _builder(subject, self.certificate.subject, key.public_key(), since, until)
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        if ocsp_url is not None:
            access = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url)
            )
            builder = builder.add_extension(
                x509.AuthorityInformationAccess([access]), critical=False
            )
        if must_staple:
            builder = builder.add_extension(
                x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False
            )
        if ocsp_signing or not server:
            purpose = (
                ExtendedKeyUsageOID.OCSP_SIGNING
                if ocsp_signing
                else ExtendedKeyUsageOID.CLIENT_AUTH
            )
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return Pair(builder.sign(self.key, hashes.SHA256()), key, self.folder, name)

    def revocation_list(self, *revoked: Pair) -> str:
        """A file with the list of those revoked."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(utc_now() - DAY)
            .next_update(utc_now() + DAY)
        )
        for pair in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(pair.certificate.serial_number)
                .revocation_date(utc_now() - DAY)
                .build()
            )
        signed = builder.sign(self.key, hashes.SHA256())
        return self.file(".crl", signed.public_bytes(Encoding.PEM))


def self_signed(folder: Path, name: str, *hosts: str) -> Pair:
    """A server's certificate that it issued itself."""
    key = make_key("ec")
    subject = make_name((NameOID.COMMON_NAME, name))
    certificate = (
        _builder(subject, subject, key.public_key(), -DAY, DAY)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key, folder, name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Any,
    since: datetime.timedelta,
    until: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = utc_now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
