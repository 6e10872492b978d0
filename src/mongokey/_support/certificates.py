"""Certificates in words: names as the server writes them, who issued, until when, for which hosts.

Knows RFC 2253's order and escapes, OpenSSL's short names and subjectAltName; must not know files or
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
    """The certificate's subject, most special part first: ``CN=ada,OU=users,O=Example,C=GB``.

    It is the name of the MONGODB-X509 user.
    """
    return distinguished_name(certificate.subject)


def distinguished_name(name: x509.Name) -> str:
    """A distinguished name in RFC 2253 order, its special characters escaped."""
    from cryptography.x509 import ObjectIdentifier

    return name.rfc4514_string(
        {ObjectIdentifier(oid): short for oid, short in _SHORT_NAMES.items()}
    )


def host_names(der: bytes) -> list[str] | None:
    """The names and addresses that a server's certificate (DER) is made for, as they are checked:
    those of its subjectAltName, and its common names where that has no DNS name (RFC 6125, 6.4.4).

    None for a certificate that cannot be read.
    """
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_der_x509_certificate(der)
        try:
            alternatives = certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value
        except x509.ExtensionNotFound:
            names, addresses = [], []
        else:
            names = list(alternatives.get_values_for_type(x509.DNSName))
            addresses = [str(ip) for ip in alternatives.get_values_for_type(x509.IPAddress)]
        if not names:
            common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            names = [f"{each.value!s} (its CN)" for each in common]
    except Exception:
        # cryptography's exceptions for what is odd (doubled extensions, names of unknown kinds)
        # have no common class.
        return None
    return names + addresses


__all__ = ["distinguished_name", "host_names", "subject_name"]
