"""The registry of codes: every word that a diagnosis can have, and the guide that explains it.

A code never changes and never means something else. A new one gets a line here and a row in its
guide. Must not know when a code applies.
"""

from __future__ import annotations

_GUIDES = {
    "docs/errors.md#refused-logins": (
        *("AUTH-ATLAS", "AUTH-CHANGED", "AUTH-CONTAINER-VOLUME", "AUTH-COSMOS", "AUTH-DOCUMENTDB"),
        *("AUTH-EXTERNAL-USER", "AUTH-MECHANISM-OFF", "AUTH-MECHANISM-OTHER", "AUTH-NO-CREDENTIAL"),
        *("AUTH-NO-ROLE", "AUTH-PASSWORD-EDGE", "AUTH-PASSWORD-WRONG", "AUTH-SOURCE-FROM-PATH"),
        *("AUTH-USER-EDGE", "AUTH-USER-OR-PASSWORD", "AUTH-USER-UNKNOWN"),
        *("X509-USER-NAME", "X509-USER-UNKNOWN"),
    ),
    "docs/aws.md#when-it-fails": (
        *("AWS-CLOCK-SKEW", "AWS-CONFIG-WRONG", "AWS-IDENTITY-UNKNOWN", "AWS-KEY-MISSING"),
        *("AWS-KEY-ODD", "AWS-NO-BOTO3", "AWS-NO-CREDENTIALS", "AWS-NO-REGION"),
        *("AWS-PACKAGE-MISSING", "AWS-PROFILE-UNKNOWN", "AWS-PROVIDER-FAILED"),
        *("AWS-PROVIDER-WRONG", "AWS-SECRET-MISSING", "AWS-SOURCE-FAILED"),
        *("AWS-SOURCE-UNREACHABLE", "AWS-SSO-LOGIN", "AWS-STS-DENIED", "AWS-STS-REFUSED"),
        *("AWS-STS-THROTTLED", "AWS-TOKEN-EXPIRED", "AWS-TOKEN-FOREIGN", "AWS-TOKEN-MISSING"),
    ),
    "docs/kerberos.md#when-it-fails": (
        *("KRB-CACHE-UNREADABLE", "KRB-CLIENT-LOCKED", "KRB-CLIENT-UNKNOWN", "KRB-CLOCK-SKEW"),
        *("KRB-CONFIG", "KRB-ENCRYPTION", "KRB-KDC-UNREACHABLE", "KRB-KEY-MISMATCH", "KRB-KEYTAB"),
        *("KRB-NO-TICKET", "KRB-PACKAGE-MISSING", "KRB-PASSWORD-EXPIRED", "KRB-PASSWORD-WRONG"),
        *("KRB-REALM-UNKNOWN", "KRB-SERVICE-UNKNOWN", "KRB-TICKET-EXPIRED", "KRB-TICKET-OTHER"),
    ),
    "docs/ldap.md#when-a-login-is-refused": ("LDAP-REFUSED", "LDAP-SOURCE"),
    "docs/oidc.md#errors": (
        *("OIDC-ATLAS", "OIDC-AUDIENCE", "OIDC-AZURE-IDENTITY", "OIDC-CLAIMS", "OIDC-EXPIRED"),
        *("OIDC-NOT-A-JWT", "OIDC-NOT-YET-VALID", "OIDC-TOKEN-EDGE"),
    ),
    "docs/tls.md#what-goes-wrong": (
        *("TLS-ALERT", "TLS-AUTHORITY-UNKNOWN", "TLS-CERTIFICATE", "TLS-CERTIFICATE-EXPIRED"),
        *("TLS-CERTIFICATE-NOT-YET-VALID", "TLS-CERTIFICATE-REVOKED", "TLS-CERTIFICATE-UNREADABLE"),
        *("TLS-CLIENT-CERTIFICATE-MISSING", "TLS-CLIENT-CERTIFICATE-REFUSED", "TLS-CLOSED"),
        *("TLS-CLOSED-EARLY", "TLS-CRL-EXPIRED", "TLS-CRL-MISSING", "TLS-FAILED", "TLS-HOST-NAME"),
        *("TLS-KEY-IDENTIFIER", "TLS-KEY-TOO-SMALL", "TLS-NEEDED", "TLS-NOT-SPOKEN"),
        *("TLS-OLD-SERVER", "TLS-PURPOSE", "TLS-SELF-SIGNED", "TLS-STAPLE-INVALID"),
        "TLS-STAPLE-MISSING",
    ),
    "docs/connection-strings.md#mongodbsrv": (
        *("DNS-ADDRESS", "DNS-FAILED", "DNS-MALFORMED", "DNS-NAME", "DNS-NO-RESOLVER"),
        *("DNS-NO-SERVICE", "DNS-NO-SRV", "DNS-NXDOMAIN", "DNS-REFUSED", "DNS-SERVFAIL"),
        *("DNS-TIMEOUT", "DNS-TXT-SEVERAL", "DNS-TXT-TEXT", "DNS-UNREACHABLE"),
        *("SRV-HOST-FOREIGN", "SRV-HOST-NAME", "SRV-HOST-REFUSED", "SRV-HOST-SUFFIX"),
        *("SRV-SUFFIX", "SRV-SUFFIX-LIST"),
    ),
    "docs/connection-strings.md#common-mistakes": (
        *("AUTH-EXTERNAL-MECHANISM", "LOGIN-EXPOSED", "OPTION-ALIAS", "OPTION-COMMA"),
        *("OPTION-DEPRECATED", "OPTION-INVALID", "OPTION-NO-EFFECT", "OPTION-REPEATED"),
        *("OPTION-UNKNOWN", "SECRET-BLANK", "SECRET-BRACKETS", "SRV-PORT", "URI-CUT"),
        *("URI-QUOTED", "URI-SCHEME-CASE", "URI-UNESCAPED", "USERINFO-PLUS"),
    ),
}

#: The path and anchor of its guide, by code.
CODES: dict[str, str] = {code: guide for guide, codes in _GUIDES.items() for code in codes}
