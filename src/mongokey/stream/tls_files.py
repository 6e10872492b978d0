"""Reads the files that TLS options name, and says what is wrong with one that cannot be used.

Knows PEM and the formats taken for it, keys, and the dates of certificates. Must not know
connections or contexts. A password or a key is never part of a message.
"""

from __future__ import annotations

import datetime
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mongokey.certificates import subject_name
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

KEY_FILE = "tlsCertificateKeyFile"
PASSWORD = "tlsCertificateKeyFilePassword"  # noqa: S105  (an option's name)

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_JKS = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_LARGEST = 16 * 1024 * 1024


class Identity:
    """The client's certificate and key, checked; `pem` is the file, its key encrypted or not.

    `subject` is written as the server writes it (RFC 2253), the name of the MONGODB-X509 user.
    """

    __slots__ = ("certificate", "path", "pem", "subject")

    def __init__(self, path: str, pem: bytes, certificate: x509.Certificate) -> None:
        self.path = path
        self.pem = pem
        self.certificate = certificate
        self.subject = subject_name(certificate)

    def date_problem(self) -> str | None:
        """Why the certificate's dates do not fit the clock, or None."""
        return _date_problem(self.certificate)


def read_identity(path: str, password: str | None) -> Identity:
    """Read a certificate, its chain and its private key from one PEM file.

    Raises `ConfigurationError` that names the file and what is wrong with it: missing, no PEM,
    no key, an encrypted key without or with a wrong password, a key of another certificate,
    the leaf not first, a certificate that is expired or not yet valid.
    """
    pem = _read(path, KEY_FILE)
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(pem)]
    chain = [block for label, block in blocks if label in _CERTIFICATES]
    keys = [block for label, block in blocks if label.endswith(b"PRIVATE KEY")]
    if not blocks:
        raise _unusable(KEY_FILE, path, _foreign_format(pem, client=True))
    if not keys:
        text = "it has no private key: append it, as in `cat client.crt client.key > client.pem`"
        raise _unusable(KEY_FILE, path, text)
    if not chain:
        text = (
            "it has a private key but no certificate: put both into one file, as in "
            "`cat client.crt client.key > client.pem`"
        )
        raise _unusable(KEY_FILE, path, text)
    key = _load_key(path, keys[0], password)
    certificates = [_load_certificate(path, block) for block in chain]
    wanted = _spki(key.public_key())
    owners = [n for n, each in enumerate(certificates, 1) if _spki(each.public_key()) == wanted]
    if not owners:
        raise _unusable(
            KEY_FILE,
            path,
            f"its private key does not belong to its certificate (subject "
            f"{subject_name(certificates[0])!r}): they are halves of two different pairs",
        )
    if owners[0] != 1:
        raise _unusable(
            KEY_FILE,
            path,
            f"the certificate that belongs to the private key is number {owners[0]} in the file; "
            "it must come first, the certificates of authorities after it",
        )
    problem = _date_problem(certificates[0])
    if problem is not None:
        raise _unusable(KEY_FILE, path, problem)
    return Identity(path, pem, certificates[0])


def read_authorities(path: str) -> list[x509.Certificate]:
    """The certificates in a file, or in a directory's hashed files, to be shown; what cannot be
    read is left out: `explain_authorities` says why."""
    import os

    found = []
    try:
        if os.path.isdir(path):
            names = sorted(os.listdir(path))
            files = [os.path.join(path, name) for name in names if name[8:9] == "."]
        else:
            files = [path]
        for each in files:
            for match in _BLOCK.finditer(_read(each, "tlsCAFile")):
                if match[1] in _CERTIFICATES:
                    found.append(x509.load_pem_x509_certificate(match[0]))
    except (OSError, ValueError, ConfigurationError):
        return found
    return found


def explain_authorities(path: str, option: str) -> ConfigurationError:
    """The error for a file of authorities or revoked certificates that OpenSSL does not take."""
    from os.path import isdir

    if isdir(path):
        return _unusable(option, path, "the directory cannot be used; OpenSSL wants hashed names")
    try:
        content = _read(path, option)
    except ConfigurationError as error:
        return error
    labels = {match[1] for match in _BLOCK.finditer(content)}
    if not labels:
        return _unusable(option, path, _foreign_format(content, client=False))
    wanted = "revocation list (X509 CRL)" if option == "tlsCRLFile" else "certificate"
    found = ", ".join(sorted(label.decode() for label in labels))
    return _unusable(
        option, path, f"no {wanted} in it can be read; it has PEM blocks of the kind {found}"
    )


def _unusable(option: str, path: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{option}={path!r} cannot be used: {why}")


def _read(path: str, option: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _unusable(option, path, f"it cannot be read ({reason})") from error
    if len(content) > _LARGEST:
        raise _unusable(option, path, "it is larger than 16 MiB, which no PEM file is")
    return content


def _foreign_format(content: bytes, *, client: bool) -> str:
    """What a file without PEM blocks is, and how to convert it."""
    if not content.strip():
        return "it is empty"
    if content.startswith(_JKS):
        kind, line = (
            "a Java key store (JKS)",
            "keytool -importkeystore -deststoretype PKCS12 -srckeystore … -destkeystore store.p12",
        )
    elif content.startswith(b"0"):
        return _der_format(content, client=client)
    elif content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        kind, line = "text in UTF-16", "iconv -f UTF-16 -t ASCII"
    elif b"-----BEGIN" in content:
        return "its PEM text is cut short or damaged: a BEGIN line has no END line of its kind"
    else:
        return "it is not PEM: no line of it says -----BEGIN …-----"
    return f"it is {kind}, and PEM is needed: convert it with `{line}`"


def _der_format(content: bytes, *, client: bool) -> str:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    for load, kind, line in (
        (x509.load_der_x509_certificate, "certificate", "openssl x509 -inform DER -in … -out …"),
        (
            lambda data: load_der_private_key(data, None),
            "private key",
            "openssl pkey -inform DER -in … -out …",
        ),
        (x509.load_der_x509_crl, "revocation list", "openssl crl -inform DER -in … -out …"),
    ):
        try:
            load(content)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return f"it is a {kind} in DER, and PEM is needed: convert it with `{line}`"
    # PFX ::= SEQUENCE { version INTEGER 3, … } (RFC 7292)
    if b"\x02\x01\x03" in content[:8]:
        what = "-nodes" if client else "-cacerts -nokeys"
        return (
            "it is PKCS#12 (.p12, .pfx), and PEM is needed: convert it with "
            f"`openssl pkcs12 -in … -out client.pem {what}`"
        )
    return "it is binary (DER or PKCS#12), and PEM is needed"


def _load_key(path: str, block: bytes, password: str | None) -> Any:
    encrypted = b"ENCRYPTED" in block[:200]
    if encrypted and not password:
        raise _unusable(
            KEY_FILE, path, f"its private key is encrypted: give its password as {PASSWORD}"
        )
    try:
        return load_pem_private_key(block, password.encode() if encrypted and password else None)
    except UnsupportedAlgorithm as error:
        raise _unusable(
            KEY_FILE, path, f"its private key is of an unknown kind ({error})"
        ) from None
    except (ValueError, TypeError):
        why = (
            f"its private key cannot be decrypted: {PASSWORD} is wrong, or the file is damaged"
            if encrypted
            else "its private key is damaged"
        )
        # From None: what cryptography says helps nobody, and may tell of the key.
        raise _unusable(KEY_FILE, path, why) from None


def _load_certificate(path: str, block: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise _unusable(KEY_FILE, path, f"a certificate in it is damaged ({error})") from None


def _spki(key: Any) -> bytes:
    der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def _date_problem(certificate: x509.Certificate) -> str | None:
    now = datetime.datetime.now(datetime.timezone.utc)
    if now > certificate.not_valid_after_utc:
        when = certificate.not_valid_after_utc
        return f"its certificate expired on {when:%Y-%m-%d %H:%M} UTC; have it renewed"
    if now < certificate.not_valid_before_utc:
        when = certificate.not_valid_before_utc
        return (
            f"its certificate is not valid before {when:%Y-%m-%d %H:%M} UTC; this machine's clock "
            f"says {now:%Y-%m-%d %H:%M}"
        )
    return None


__all__ = ["Identity", "explain_authorities", "read_authorities", "read_identity"]
