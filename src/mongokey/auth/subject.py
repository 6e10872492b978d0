"""Writes the subject of a certificate as the server does: the name of a MONGODB-X509 user.

Knows RFC 2253's order and escapes and OpenSSL's short names; must not know files or
connections. `cryptography` is loaded only by who has a certificate to show.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from cryptography import x509

# OpenSSL's short names (crypto/objects/objects.txt), which the server writes for what RFC 2253
# has no name for. cryptography knows the nine of the RFC itself.
_SHORT_NAMES = {
    "1.2.840.113549.1.9.1": "emailAddress",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.17": "postalCode",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
}


def subject_name(certificate: x509.Certificate) -> str:
    """The certificate's subject, most special part first: ``CN=ada,OU=users,O=Example,C=GB``."""
    return distinguished_name(certificate.subject)


def distinguished_name(name: x509.Name) -> str:
    """A distinguished name in RFC 2253 order, its special characters escaped."""
    from cryptography.x509 import ObjectIdentifier

    return name.rfc4514_string(
        {ObjectIdentifier(oid): short for oid, short in _SHORT_NAMES.items()}
    )


__all__ = ["distinguished_name", "subject_name"]
