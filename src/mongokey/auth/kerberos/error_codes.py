"""What a Kerberos library's failure means, as a code word.

Knows the status codes of GSS-API (RFC 2744) and MIT's krb5, and the sentences of libraries that
give none (SSPI, Heimdal). Must not know what is to be done about them.
"""

from __future__ import annotations

from mongokey.auth.kerberos.interface import KerberosFailure

NO_TICKET = "KRB-NO-TICKET"
TICKET_EXPIRED = "KRB-TICKET-EXPIRED"
TICKET_OTHER = "KRB-TICKET-OTHER"
SERVICE_UNKNOWN = "KRB-SERVICE-UNKNOWN"
CLIENT_UNKNOWN = "KRB-CLIENT-UNKNOWN"
CLIENT_LOCKED = "KRB-CLIENT-LOCKED"
PASSWORD_WRONG = "KRB-PASSWORD-WRONG"  # noqa: S105 - a code word
PASSWORD_EXPIRED = "KRB-PASSWORD-EXPIRED"  # noqa: S105 - a code word
KEYTAB = "KRB-KEYTAB"
KDC_UNREACHABLE = "KRB-KDC-UNREACHABLE"
REALM_UNKNOWN = "KRB-REALM-UNKNOWN"
CLOCK_SKEW = "KRB-CLOCK-SKEW"
KEY_MISMATCH = "KRB-KEY-MISMATCH"
ENCRYPTION = "KRB-ENCRYPTION"
CONFIG = "KRB-CONFIG"
CACHE_UNREADABLE = "KRB-CACHE-UNREADABLE"

# GSS-API major status, routine errors (RFC 2744, section 3.9.1).
_NO_CRED = 7 << 16
_CREDENTIALS_EXPIRED = 11 << 16

# krb5's error table: codes count up from this one (krb5_err.et; RFC 4120, section 7.5.9).
_KRB5 = -1765328384

_BY_CODE = {
    _KRB5 + offset: cause
    for cause, offsets in {
        CLIENT_LOCKED: (1, 18),  # CLIENT_NAME_EXP, CLIENT_REVOKED
        CLIENT_UNKNOWN: (6,),
        SERVICE_UNKNOWN: (2, 7, 19),  # SERVICE_EXP, S_PRINCIPAL_UNKNOWN, SERVICE_REVOKED
        ENCRYPTION: (14, 236, 237),  # ETYPE_NOSUPP, NOPERM_ETYPE, CONFIG_ETYPE_NOSUPP
        PASSWORD_EXPIRED: (23,),
        PASSWORD_WRONG: (24, 31, 210),  # PREAUTH_FAILED, BAD_INTEGRITY, KRB5_PREAUTH_FAILED
        TICKET_EXPIRED: (32,),
        CLOCK_SKEW: (33, 37, 148),  # TKT_NYV, SKEW, KRB5_KDCREP_SKEW
        KEY_MISMATCH: (35, 41, 44, 45),  # NOT_US, MODIFIED, BADKEYVER, NOKEY
        REALM_UNKNOWN: (68, 154, 220, 224),  # WRONG_REALM, REALM_UNKNOWN, CANT_RESOLVE, NODEFREALM
        CONFIG: (135, 136),  # KRB5_CONFIG_CANTOPEN, KRB5_CONFIG_BADFORMAT
        NO_TICKET: (141, 142, 143, 195),  # CC_NOTFOUND, CC_END, NO_TKT_SUPPLIED, FCC_NOFILE
        KDC_UNREACHABLE: (156,),
        KEYTAB: (181,),  # KRB5_KT_NOTFOUND
        CACHE_UNREADABLE: (193, 194, 199),  # CC_IO, FCC_PERM, CC_FORMAT
    }.items()
    for offset in offsets
}

# Parts of sentences, in lower case.
_BY_TEXT = (
    ("not found in kerberos database", SERVICE_UNKNOWN),
    ("cannot contact any kdc", KDC_UNREACHABLE),
    ("unable to reach any kdc", KDC_UNREACHABLE),
    ("cannot find kdc for", REALM_UNKNOWN),
    ("cannot resolve network address for kdc", KDC_UNREACHABLE),
    ("clock skew", CLOCK_SKEW),
    ("can't find client principal", NO_TICKET),
    ("no kerberos credentials available", NO_TICKET),
    ("no credentials cache", NO_TICKET),
    ("ticket expired", TICKET_EXPIRED),
    ("preauthentication failed", PASSWORD_WRONG),
    ("password incorrect", PASSWORD_WRONG),
    # SSPI, where Windows speaks English.
    ("the logon attempt failed", PASSWORD_WRONG),
    ("no credentials are available in the security package", NO_TICKET),
    ("the specified target is unknown or unreachable", SERVICE_UNKNOWN),
    ("the target principal name is incorrect", KEY_MISMATCH),
    ("no authority could be contacted", KDC_UNREACHABLE),
    ("domain controller", KDC_UNREACHABLE),
    ("clocks on the client and server machines are skewed", CLOCK_SKEW),
    ("account is currently locked out", CLIENT_LOCKED),
    ("account is currently disabled", CLIENT_LOCKED),
    ("password has expired", PASSWORD_EXPIRED),
    ("password for this account has expired", PASSWORD_EXPIRED),
)


def find_cause(failure: KerberosFailure) -> str | None:
    """The code word for `failure`; None when it is none of those known."""
    text = " ".join(message for message, _ in failure.messages).lower()
    # A service's realm that the user's KDC cannot lead to.
    if "krbtgt/" in text and "not found in kerberos database" in text:
        return REALM_UNKNOWN
    codes = [code for _, code in failure.messages]
    # The mechanism's own status says more than GSS-API's, and stands behind it.
    for code in reversed(codes):
        if code in _BY_CODE:
            return _BY_CODE[code]
    for part, cause in _BY_TEXT:
        if part in text:
            return cause
    if _CREDENTIALS_EXPIRED in codes:
        return TICKET_EXPIRED
    return NO_TICKET if _NO_CRED in codes else None
