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


def load_certificate(der: bytes) -> x509.Certificate | None:
    """A certificate (DER), None for what cannot be read."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None


def organization(certificate: x509.Certificate | None) -> list[tuple[str, str]]:
    """O, OU and DC of a certificate's subject, by which servers know their cluster's members."""
    from cryptography.x509.oid import NameOID

    if certificate is None:
        return []
    kinds = {
        NameOID.ORGANIZATION_NAME: "O",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
        NameOID.DOMAIN_COMPONENT: "DC",
    }
    return sorted(
        (kinds[each.oid], str(each.value)) for each in certificate.subject if each.oid in kinds
    )


def issuer_name(der: bytes) -> str:
    """Who issued a certificate (DER); "" for one that cannot be read."""
    from cryptography import x509

    try:
        return distinguished_name(x509.load_der_x509_certificate(der).issuer)
    except Exception:
        # cryptography's exceptions for what is odd have no common class.
        return ""


def in_words(der: bytes) -> str | None:
    """Whose certificate (DER) that is, who issued it and when it holds; None for what cannot be
    read."""
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
        return (
            f"the certificate of {subject_name(certificate) or '(no subject)'}, issued by "
            f"{distinguished_name(certificate.issuer)}, is valid from "
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    except Exception:
        # As above.
        return None


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


__all__ = [
    "distinguished_name",
    "host_names",
    "in_words",
    "issuer_name",
    "load_certificate",
    "organization",
    "subject_name",
]
