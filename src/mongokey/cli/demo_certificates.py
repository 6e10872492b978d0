"""Certificates for the demo's TLS server and its one client, made anew each time, for an hour.

Knows X.509 by way of `cryptography`; must not know the server or the demo. The keys lie in a
folder that only this user can read, and that goes with the demo.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mongokey._support.certificates import subject_name

_LIFE = datetime.timedelta(hours=1)


class CertificateFiles(NamedTuple):
    """Paths of PEM files, and the client's subject as the server writes it."""

    authority: str
    server_certificate: str
    server_key: str
    client: str
    subject: str


def make_certificates(folder: str, host: str) -> CertificateFiles:
    """An authority, a certificate for the IP address `host`, and one for a client."""
    names = (
        [(NameOID.COMMON_NAME, "mongokey demo authority")],
        [(NameOID.COMMON_NAME, host)],
        [
            (NameOID.ORGANIZATION_NAME, "mongokey"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "demo"),
            (NameOID.COMMON_NAME, "marie"),
        ],
    )
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    subjects = [x509.Name([x509.NameAttribute(*part) for part in parts]) for parts in names]
    extensions: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=True, path_length=0),
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
        x509.BasicConstraints(ca=False, path_length=None),
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    made = []
    for key, subject, extension in zip(keys, subjects, extensions, strict=True):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subjects[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _LIFE)
            .not_valid_after(now + _LIFE)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        made.append(builder.sign(keys[0], hashes.SHA256()))
    pems = [certificate.public_bytes(Encoding.PEM) for certificate in made]
    secrets = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in keys]
    files = {
        "authority.pem": pems[0],
        "server.pem": pems[1],
        "server.key": secrets[1],
        "client.pem": pems[2] + secrets[2],
    }
    for name, content in files.items():
        path = Path(folder, name)
        path.touch(mode=0o600)
        path.write_bytes(content)
    authority, certified, secret, client = (str(Path(folder, name)) for name in files)
    return CertificateFiles(authority, certified, secret, client, subject_name(made[2]))


__all__ = ["CertificateFiles", "make_certificates"]
