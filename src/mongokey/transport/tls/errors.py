"""Says what went wrong in TLS: one cause, in plain words, with what to change.

Knows verification codes and alerts (RFC 8446, section 6.2) and which of them no second try can
mend. Must not know sockets; both ways to speak TLS hand in the same facts.
"""

from __future__ import annotations

from mongokey._support.hosted_services import access_list_of
from mongokey._support.lazy import late_imports
from mongokey._support.system import monotonic
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis
from mongokey.errors import AutoReconnect, TLSError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.transport.tls.context import ClientTLS

# Verification codes of OpenSSL (x509_vfy.h): (code, cause, what to do), with names to fill in.
_VERIFY = {
    3: ("TLS-CRL-MISSING", "tlsCRLFile has no revocation list of the authority that issued it", ""),
    9: (
        "TLS-CERTIFICATE-NOT-YET-VALID",
        "the server's certificate is not valid yet",
        "check this machine's clock, or the certificate",
    ),
    10: (
        "TLS-CERTIFICATE-EXPIRED",
        "the server's certificate, or one of its authorities', has expired",
        "renew it on the server",
    ),
    12: ("TLS-CRL-EXPIRED", "the revocation list in tlsCRLFile is out of date", ""),
    18: (
        "TLS-SELF-SIGNED",
        "the server's certificate is self-signed and not among those trusted",
        "put it into tlsCAFile, or have it issued by an authority",
    ),
    19: (
        "TLS-AUTHORITY-UNKNOWN",
        "the server's chain of certificates ends in an authority that is not among those trusted "
        "{trusted}",
        "give its root certificate as tlsCAFile (if that is a company's proxy, ask for the "
        "proxy's)",
    ),
    20: (
        "TLS-AUTHORITY-UNKNOWN",
        "the server's certificate was issued by an authority that is not among those trusted "
        "{trusted}",
        "give the right authority's certificate as tlsCAFile",
    ),
    23: ("TLS-CERTIFICATE-REVOKED", "the server's certificate is revoked, tlsCRLFile says", ""),
    26: (
        "TLS-PURPOSE",
        "the server's certificate is not made for servers (extendedKeyUsage)",
        "",
    ),
    62: (
        "TLS-HOST-NAME",
        "the server's certificate is not made for the host name {host!r}{names}",
        "connect by a name that is in it (through a tunnel: by way of the hosts file), or have it "
        "issued anew with this name",
    ),
    64: (
        "TLS-HOST-NAME",
        "the server's certificate is not made for the address {host}{names}",
        "connect by a name or address that is in it, or have it issued anew with this address",
    ),
    66: ("TLS-KEY-TOO-SMALL", "the key of the server's certificate is too small to be safe", ""),
    85: ("TLS-KEY-IDENTIFIER", "the server's certificate has no Authority Key Identifier", ""),
}
_VERIFY[21] = _VERIFY[20]

ALERTS = {
    40: "HANDSHAKE_FAILURE",
    42: "BAD_CERTIFICATE",
    43: "UNSUPPORTED_CERTIFICATE",
    44: "CERTIFICATE_REVOKED",
    45: "CERTIFICATE_EXPIRED",
    46: "CERTIFICATE_UNKNOWN",
    48: "UNKNOWN_CA",
    49: "ACCESS_DENIED",
    51: "DECRYPT_ERROR",
    70: "PROTOCOL_VERSION",
    71: "INSUFFICIENT_SECURITY",
    80: "INTERNAL_ERROR",
    90: "USER_CANCELLED",
    112: "UNRECOGNIZED_NAME",
    116: "CERTIFICATE_REQUIRED",
}
_NUMBERS = {name: number for number, name in ALERTS.items()}
# Products that open TLS connections and issue certificates of their own for them.
_INSPECTORS = (
    *("zscaler", "netskope", "fortinet", "fortigate", "palo alto", "blue coat", "bluecoat"),
    *("umbrella", "sophos", "forcepoint", "websense", "mcafee", "skyhigh", "check point"),
    *("checkpoint", "kaspersky", "eset ssl", "avast", "avg technologies", "bitdefender"),
    *("mitmproxy", "charles proxy", "fiddler", "portswigger", "watchguard", "barracuda"),
    *("sonicwall", "untangle", "cato networks", "iboss", "contentkeeper", "lightspeed"),
)
# So many names of a certificate are listed in an error.
_MOST_NAMES = 10

# Why a server hangs up that TLS has nothing to do with.
_OTHERWISE = (
    "otherwise the server is shutting down, older than MongoDB 3.6 (it does not know this "
    "message), no MongoDB at all, or a proxy or firewall with no server behind it"
)
_NEITHER = "with TLS and without: so TLS is not the cause; " + _OTHERWISE.removeprefix("otherwise ")

# RFC 8446, section 5.1: change_cipher_spec, alert, handshake, application_data.
_RECORD_TYPES = (20, 21, 22, 23)
# OpenSSL's words for an answer that is not TLS, where its first byte is not known.
_NOT_TLS = frozenset(
    [
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
        "BAD_RECORD_TYPE",
        "UNEXPECTED_MESSAGE",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "UNEXPECTED_RECORD",
    ]
)


# How servers have hung up without a word on this process: peer and whether TLS was spoken -> when,
# in monotonic seconds. What was tried is not guessed again.
_hung_up: dict[tuple[str, bool], float] = {}
_REMEMBERED_S = 600.0
_MOST_REMEMBERED = 100


def _hung_up_both_ways(peer: str, spoke_tls: bool) -> bool:
    """Note that `peer` hung up; whether it did so the other way too, not long ago."""
    now = monotonic()
    if len(_hung_up) >= _MOST_REMEMBERED:
        _hung_up.clear()
    _hung_up[peer, spoke_tls] = now
    other = _hung_up.get((peer, not spoke_tls))
    return other is not None and now - other < _REMEMBERED_S


class Facts:
    """What is known of one failure.

    `alert` is the alert's number, `verify_code` OpenSSL's reason why a certificate is refused,
    `reason` OpenSSL's name for the error, `ended` that the server closed or reset the
    connection; `handshake_done` that the handshake was over, `data_received` that data had come
    since. `first_received` is how the server's answer begins (None: not known or no answer),
    `certificate` the one it showed, in DER, where that was refused.
    """

    __slots__ = (
        "alert",
        "certificate",
        "data_received",
        "ended",
        "first_received",
        "handshake_done",
        "peer",
        "reason",
        "text",
        "verify_code",
    )

    def __init__(
        self,
        peer: str,
        text: str,
        *,
        handshake_done: bool,
        reason: str = "",
        alert: int | None = None,
        verify_code: int = 0,
        ended: bool = False,
        data_received: bool = True,
        first_received: bytes | None = None,
        certificate: bytes | None = None,
    ) -> None:
        self.peer = peer
        self.text = text
        self.handshake_done = handshake_done
        self.reason = reason
        self.alert = alert
        self.verify_code = verify_code
        self.ended = ended
        self.data_received = data_received
        self.first_received = first_received
        self.certificate = certificate


def facts_of(
    error: BaseException,
    peer: str,
    *,
    handshake_done: bool,
    certificate: bytes | None = None,
    first_received: bytes | None = None,
) -> Facts:
    """The facts in an exception of Python's ssl module; `certificate` is the server's,
    `first_received` how its answer begins."""
    reason = getattr(error, "reason", None) or ""
    alert = None
    if "_ALERT_" in reason:
        alert = _NUMBERS.get(reason.partition("_ALERT_")[2])
    ended = isinstance(error, ConnectionError) or reason in ("", "UNEXPECTED_EOF_WHILE_READING")
    return Facts(
        peer,
        str(error),
        handshake_done=handshake_done,
        reason=reason,
        alert=alert,
        verify_code=getattr(error, "verify_code", 0) or 0,
        ended=ended,
        first_received=first_received,
        certificate=certificate,
    )


def failure(facts: Facts, tls: ClientTLS | None, host: str | None) -> AutoReconnect:
    """The exception to raise: a `TLSError` where the cause is known to be TLS."""
    found = _cause(facts, tls, host)
    if found is None:
        return AutoReconnect(f"{facts.peer}: {facts.text}")
    diagnosis, permanent = found
    if facts.text:
        diagnosis = diagnosis.replace(evidence=(*diagnosis.evidence, f"OpenSSL: {facts.text}"))
    what = "TLS handshake failed" if not facts.handshake_done or permanent else "TLS failed"
    said = f" (OpenSSL: {facts.text})" if facts.text else ""
    return TLSError(
        f"{facts.peer}: {what}: {diagnosis.text}{said} [{diagnosis.code}]", diagnosis, permanent
    )


def _cause(facts: Facts, tls: ClientTLS | None, host: str | None) -> tuple[Diagnosis, bool] | None:
    """The diagnosis, and whether trying again cannot help; None where TLS is not the cause."""
    if facts.verify_code:
        code, summary, fix = _VERIFY.get(
            facts.verify_code,
            ("TLS-CERTIFICATE", "the server's certificate cannot be verified", ""),
        )
        names = _names(facts.certificate) if code == "TLS-HOST-NAME" else ""
        summary = summary.format(host=host, trusted=_trusted(tls), names=names)
        found = Diagnosis(code, CERTAIN, summary, _shown(facts.certificate), fix)
        return _issued_by_proxy(found, facts) or found, True
    if facts.alert is not None:
        return _alert(facts, tls, host)
    if facts.handshake_done and facts.ended and not facts.data_received:
        return _early(tls), False
    if facts.handshake_done:
        return None if facts.ended else (_failed("broken data arrived"), False)
    spoken = not facts.first_received or facts.first_received[0] in _RECORD_TYPES
    if not spoken or (facts.first_received is None and facts.reason in _NOT_TLS):
        with late_imports:
            from mongokey.transport.other_protocols import recognize

        speaks = recognize(facts.first_received or b"")
        if speaks is not None:
            return Diagnosis("TLS-NOT-SPOKEN", CERTAIN, f"this port {speaks}"), True
        summary = f"this port does not speak TLS{_switched_on(tls)}"
        return Diagnosis("TLS-NOT-SPOKEN", CERTAIN, summary), True
    if facts.ended:
        return _closed(facts, tls, host), False
    if "LEGACY" in facts.reason or "SMALL" in facts.reason or "PROTOCOL" in facts.reason:
        return Diagnosis(
            "TLS-OLD-SERVER",
            CERTAIN,
            "the server offers only what is no longer safe",
            fix="it needs TLS 1.2 or newer, secure renegotiation and keys of 2048 bits",
        ), True
    return _failed("the handshake could not be completed"), False


def _shown(certificate: bytes | None) -> list[str]:
    """Who the server's certificate is of, who issued it, and until when, as evidence."""
    if certificate is None:
        return []
    with late_imports:
        from mongokey._support.certificates import in_words

    words = in_words(certificate)
    return [] if words is None else [words]


def _issued_by_proxy(found: Diagnosis, facts: Facts) -> Diagnosis | None:
    """The cause where the certificate's issuer is called as a product that looks into TLS."""
    if found.code not in ("TLS-AUTHORITY-UNKNOWN", "TLS-SELF-SIGNED") or not facts.certificate:
        return None
    with late_imports:
        from mongokey._support.certificates import issuer_name

    issuer = issuer_name(facts.certificate)
    if not any(name in issuer.lower() for name in _INSPECTORS):
        return None
    return Diagnosis(
        "TLS-PROXY",
        LIKELY,
        f"the server's certificate was issued by {issuer}: a proxy that looks into TLS most likely "
        "stands before the server, and its authority is not trusted",
        found.evidence,
        "give the proxy's root certificate as tlsCAFile, or have it let this host through as it is",
    )


def _failed(summary: str) -> Diagnosis:
    return Diagnosis("TLS-FAILED", POSSIBLE, summary)


def _names(certificate: bytes | None) -> str:
    """What the server's certificate is made for, as part of a sentence; "" if that is not known."""
    if certificate is None:
        return ""
    with late_imports:
        from mongokey._support.certificates import host_names

    names = host_names(certificate)
    if names is None:
        return ""
    if not names:
        return ", nor for any other (it has neither a subjectAltName nor a CN)"
    shown = ", ".join(names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f" but for {shown}{f' and {more} more' if more > 0 else ''}"


def _early(tls: ClientTLS | None) -> Diagnosis:
    return Diagnosis(
        "TLS-CLOSED-EARLY",
        LIKELY,
        "the server closed the connection right after the handshake, before it said anything",
        fix=_about_client_certificate(tls),
    )


def _about_client_certificate(tls: ClientTLS | None) -> str:
    if tls is not None and tls.without_certificate:
        return "it may demand a client certificate (tlsCertificateKeyFile)"
    return "it may refuse the client certificate"


def _closed(facts: Facts, tls: ClientTLS | None, host: str | None) -> Diagnosis:
    access_list = None if host is None else access_list_of(host)
    if access_list is not None:
        return Diagnosis(
            "TLS-CLOSED",
            LIKELY,
            "the server closed the connection in the middle of the handshake",
            fix=f"very likely this machine's public address is not in {access_list}",
        )
    if facts.first_received:
        return Diagnosis(
            "TLS-CLOSED",
            POSSIBLE,
            "the server closed the connection in the middle of the handshake, without saying why",
            fix=_about_client_certificate(tls),
        )
    summary = "the server closed the connection in answer to the TLS greeting, without a word"
    if _hung_up_both_ways(facts.peer, True):
        return Diagnosis("TLS-CLOSED", POSSIBLE, f"{summary}, {_NEITHER}")
    return Diagnosis(
        "TLS-CLOSED",
        POSSIBLE,
        summary,
        fix="unless it does so without TLS too, this port does not speak TLS"
        f"{_switched_on(tls)}; {_OTHERWISE}",
    )


def _alert(facts: Facts, tls: ClientTLS | None, host: str | None) -> tuple[Diagnosis, bool]:
    subject = tls.subject if tls is not None else None
    number = facts.alert or 0
    if number == 116 or (number == 40 and tls is not None and tls.without_certificate):
        return Diagnosis(
            "TLS-CLIENT-CERTIFICATE-MISSING",
            CERTAIN if number == 116 else LIKELY,
            "the server asks for a client certificate, and none was sent",
            fix="give it as tlsCertificateKeyFile",
        ), True
    if number == 80 and host is not None and access_list_of(host) is not None:
        return _closed(facts, tls, host), False
    if number in (42, 43, 44, 45, 46, 48, 49, 51):
        if tls is not None and tls.without_certificate:
            return Diagnosis(
                "TLS-CLIENT-CERTIFICATE-MISSING",
                LIKELY,
                f"the server refuses the connection ({ALERTS[number].lower()}), and no client "
                "certificate was sent",
                fix="give one as tlsCertificateKeyFile",
            ), True
        why = {
            44: "it is revoked",
            45: "it has expired",
            48: "the server does not know the authority that issued it",
        }.get(number, "the server finds it bad")
        whose = f" (subject {subject!r})" if subject else ""
        summary = f"the server refuses the client certificate{whose}: {why}"
        return Diagnosis("TLS-CLIENT-CERTIFICATE-REFUSED", CERTAIN, summary), True
    if number in (70, 71):
        return Diagnosis(
            "TLS-OLD-SERVER",
            CERTAIN,
            "client and server have no version of TLS, or no cipher, in common",
            fix="mongokey needs TLS 1.2 or newer",
        ), True
    name = ALERTS.get(number, str(number)).lower()
    summary = f"the server ended the handshake with the alert {name}"
    return Diagnosis("TLS-ALERT", CERTAIN, summary), False


def silence(tls: ClientTLS | None) -> str:
    """What a timeout adds while the server has not answered the TLS greeting at all."""
    # To a server without TLS, a short greeting looks like the start of a long message.
    return (
        "; the TLS greeting was not answered at all: likely this port does not speak TLS"
        f"{_switched_on(tls)}"
    )


def plain_answer(peer: str, sure: bool) -> TLSError:
    """The error for a server that answers a plain message in TLS (`sure`), or not at all."""
    closed = "the server closed the connection in answer to the first message, without a word"
    if sure:
        diagnosis = Diagnosis(
            "TLS-NEEDED",
            CERTAIN,
            "this port speaks TLS, and the connection is without",
            fix="add tls=true",
        )
    elif _hung_up_both_ways(peer, False):
        diagnosis = Diagnosis("TLS-CLOSED", POSSIBLE, f"{closed}, {_NEITHER}")
    else:
        diagnosis = Diagnosis(
            "TLS-NEEDED",
            LIKELY,
            f"{closed}: unless it does so with TLS too, this port speaks TLS",
            fix=f"add tls=true; {_OTHERWISE}",
        )
    return TLSError(f"{peer}: {diagnosis.text} [{diagnosis.code}]", diagnosis, sure)


def _trusted(tls: ClientTLS | None) -> str:
    if tls is not None and tls.options is not None and tls.options.ca_file:
        return f"(tlsCAFile={tls.options.ca_file!r})"
    with late_imports:
        from mongokey.transport.tls.system import unheeded

    in_vain = unheeded() if tls is not None and tls.options.ssl_context is None else ""
    return f"(those of the system; {in_vain})" if in_vain else "(those of the system)"


def _switched_on(tls: ClientTLS | None) -> str:
    implied = tls.options.implied_by if tls is not None and tls.options is not None else None
    if implied:
        return f"; TLS was switched on by {implied}: remove that, or have the server speak TLS"
    return "; remove tls=true, or have the server speak TLS"


__all__ = ["Facts", "facts_of", "failure", "plain_answer", "silence"]
