"""The rows about TLS: certificates, names, key files, ports with and without it."""

from __future__ import annotations

from mongokey.diagnostics.entry import Entry, rows

_CERTAIN = "certain"
_LIKELY = "likely"
_POSSIBLE = "possible"
_WHO = "OpenSSL's verification code; the certificate's subject, issuer and dates"

TLS: list[Entry] = [
    *rows(
        "docs/tls.md#what-goes-wrong",
        (
            "TLS-AUTHORITY-UNKNOWN",
            "the server's certificate was issued by an authority that is not trusted here",
            _CERTAIN,
            _WHO,
            "give the right authority's certificate as tlsCAFile",
        ),
        (
            "TLS-SELF-SIGNED",
            "the server's certificate issued itself, and is not among those trusted",
            _CERTAIN,
            _WHO,
            "put it into tlsCAFile, or have it issued by an authority",
        ),
        (
            "TLS-CERTIFICATE-EXPIRED",
            "the server's certificate, or one of its authorities', has expired",
            _CERTAIN,
            _WHO + ", this machine's clock",
            "renew it on the server; check this machine's clock",
        ),
        (
            "TLS-CERTIFICATE-NOT-YET-VALID",
            "the server's certificate is not valid yet",
            _CERTAIN,
            _WHO + ", this machine's clock",
            "check this machine's clock, or the certificate",
        ),
        (
            "TLS-HOST-NAME",
            "the server's certificate is not made for the name or address connected to",
            _CERTAIN,
            "the names that it is made for",
            "connect by one of these names (through a tunnel: by way of the hosts file), or have "
            "it issued anew",
        ),
        (
            "TLS-CERTIFICATE-REVOKED",
            "the server's certificate is revoked",
            _CERTAIN,
            "OCSP's answer, or tlsCRLFile",
            "have the server given a new one",
        ),
        (
            "TLS-CRL-MISSING",
            "tlsCRLFile has no list of the authority that issued the certificate",
            _CERTAIN,
            "OpenSSL's verification code",
            "add the list",
        ),
        (
            "TLS-CRL-EXPIRED",
            "the list in tlsCRLFile is out of date",
            _CERTAIN,
            "OpenSSL's verification code",
            "fetch a new one",
        ),
        (
            "TLS-STAPLE-MISSING",
            "the certificate demands a stapled OCSP response, and the server sent none",
            _CERTAIN,
            "the certificate's extension",
            "switch stapling on in the server",
        ),
        (
            "TLS-STAPLE-INVALID",
            "the stapled OCSP response is not valid",
            _CERTAIN,
            "what is wrong with it",
            "have the server renew it",
        ),
        (
            "TLS-CERTIFICATE-UNREADABLE",
            "an extension that tells about revocation is there twice or cannot be read",
            _CERTAIN,
            "the extension",
            "have the certificate issued anew",
        ),
        (
            "TLS-PURPOSE",
            "the server's certificate is not made for servers (extendedKeyUsage)",
            _CERTAIN,
            "OpenSSL's verification code",
            "have it issued anew",
        ),
        (
            "TLS-KEY-TOO-SMALL",
            "the key of the server's certificate is too small to be safe",
            _CERTAIN,
            "OpenSSL's verification code",
            "have it issued anew with a key of 2048 bits or more",
        ),
        (
            "TLS-KEY-IDENTIFIER",
            "a certificate has no Authority Key Identifier, which a context with "
            "VERIFY_X509_STRICT (Python 3.13's default one) demands; mongokey's own does not",
            _CERTAIN,
            "OpenSSL's verification code",
            "re-issue it with the extension, or take VERIFY_X509_STRICT from your ssl_context",
        ),
        (
            "TLS-CERTIFICATE",
            "the server's certificate cannot be verified for another reason",
            _CERTAIN,
            "OpenSSL's words",
            "act on them",
        ),
        (
            "TLS-CLIENT-CERTIFICATE-MISSING",
            "the server asks for a client certificate, and none was sent",
            "certain after the alert certificate_required; likely after others, while none is sent",
            "the alert; whom the server accepts certificates of",
            "give it as tlsCertificateKeyFile",
        ),
        (
            "TLS-CLIENT-CERTIFICATE-REFUSED",
            "the server does not accept the client's certificate",
            _CERTAIN,
            "the alert, and the certificate's subject",
            "use one that is valid and issued by an authority that the server knows",
        ),
        (
            "TLS-NEEDED",
            "the port speaks TLS, and the connection is without",
            "certain where the port answers in TLS (mongokey check greets it so); likely where it "
            "hangs up without a word",
            "how the connection ended",
            "add tls=true",
        ),
        (
            "TLS-NOT-SPOKEN",
            "the port does not speak TLS, and the connection does",
            _CERTAIN,
            "the first bytes of the answer, or the answer to a plain hello; which option switched "
            "TLS on",
            "remove that option, or have the server speak TLS",
        ),
        (
            "TLS-OLD-SERVER",
            "the server offers only what is no longer safe: TLS older than 1.2, small keys, "
            "insecure renegotiation",
            _CERTAIN,
            "OpenSSL's reason",
            "upgrade the server or the proxy before it",
        ),
        (
            "TLS-CLOSED",
            "the connection was cut off in the handshake, without a word",
            "likely for hosts with an access list, else possible",
            "how far the handshake came",
            "see whether the port speaks TLS, and who may connect",
        ),
        (
            "TLS-CLOSED-EARLY",
            "the server closed the connection right after the handshake",
            _LIKELY,
            "a handshake that was done, and no data since",
            "it may demand another client certificate, or one at all",
        ),
        (
            "TLS-ALERT",
            "the server ended the handshake with an alert that names no cause known here",
            _CERTAIN,
            "the alert",
            "look into the server's log",
        ),
        (
            "TLS-FAILED",
            "the handshake could not be completed",
            _POSSIBLE,
            "OpenSSL's words",
            "act on them",
        ),
    ),
    *rows(
        "",
        (
            "TLS-ACCESS-LIST",
            "very likely this machine's public address is not in the cluster's access list: hosted "
            "clusters cut off who is not, on every host, right after the first bytes of TLS",
            "likely; never certain, as the same happens for other reasons, and not said where one "
            "host alone does so",
            "a hosted domain; every host cut off, by EOF or alert 80; the address connected from",
            "add this machine's public address to the list; a VPN or proxy changes it",
        ),
        (
            "TLS-PROXY",
            "the server's certificate was issued by a proxy that looks into TLS, not by the "
            "host's authority",
            _LIKELY,
            "the issuer's name",
            "give the proxy's root certificate as tlsCAFile, or ask for an exception",
        ),
        (
            "TLS-NO-AUTHORITIES",
            "this machine has no certificate of any authority, so no server can be verified",
            _CERTAIN,
            "where certificates were looked for, and that there are none",
            "install ca-certificates (python.org's Python on macOS: Install Certificates.command), "
            "or tlsCAFile=certifi.where()",
        ),
        (
            "TLS-KEY-MISSING",
            "the file in tlsCertificateKeyFile has a certificate and no private key",
            _CERTAIN,
            "the PEM blocks of the file",
            "cat client.crt client.key > client.pem",
        ),
        (
            "TLS-KEY-ENCRYPTED",
            "the private key is encrypted, and its password is missing or wrong",
            _CERTAIN,
            "the key's PEM block",
            "give tlsCertificateKeyFilePassword",
        ),
        (
            "TLS-KEY-OTHER",
            "the private key does not belong to the certificate: they are halves of two pairs",
            _CERTAIN,
            "the two public keys, compared",
            "put the right key behind the certificate",
        ),
        (
            "TLS-KEY-FORMAT",
            "the file is not PEM, but DER, PKCS#12 (.p12, .pfx) or a Java key store",
            _CERTAIN,
            "the file's first bytes",
            "convert it with the command that is shown",
        ),
        (
            "TLS-KEY-ORDER",
            "an authority's certificate stands before the client's own",
            _CERTAIN,
            "which certificate has the key's public half",
            "put the client's certificate first",
        ),
        (
            "TLS-KEY-DATES",
            "the client's certificate has expired, or is not valid yet",
            _CERTAIN,
            "its dates and this machine's clock",
            "have it renewed, or set the clock",
        ),
        (
            "TLS-FILE",
            "a file that a TLS option names cannot be used",
            _CERTAIN,
            "the option, the path and what is wrong",
            "correct the path or the file",
        ),
        (
            "TLS-OCSP-SLOW",
            "an OCSP responder of the server's certificate did not answer in time, so the first "
            "connection to each server waits for it",
            _LIKELY,
            "the responder, and how long it was waited for",
            "let the responder be reached, have the server staple its answer, or "
            "tlsDisableOCSPEndpointCheck=true",
        ),
    ),
]
