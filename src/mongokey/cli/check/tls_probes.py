"""What a TLS connection is like, and what one more look tells where it failed.

Knows which probe makes which cause surer: a greeting the other way (TLS to a plain failure, plain
to a TLS failure), the chain without checking it, the request for a client certificate. Each is
bounded by the check's deadline. Must not log in, nor send anything that is secret.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from typing import TYPE_CHECKING, Any

from mongokey._support.certificates import distinguished_name, host_names, in_words, subject_name
from mongokey._support.hosted_services import access_list_of
from mongokey.cli.check.certificate_request import read_request, read_request_of_tls_1_3
from mongokey.cli.check.report import Found
from mongokey.cli.check.state import Host, State
from mongokey.connection.connection import Connection
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first
from mongokey.errors import MongoError
from mongokey.handshake.hello import hello_command
from mongokey.topology.causes import hint_of_host
from mongokey.transport.connecting import connect

if TYPE_CHECKING:
    from mongokey.transport.tls.context import ClientTLS

# Causes that one more greeting can confirm, and those that a look at the chain makes plainer.
_CHAIN = frozenset(
    {
        "TLS-AUTHORITY-UNKNOWN",
        "TLS-SELF-SIGNED",
        "TLS-CERTIFICATE-EXPIRED",
        "TLS-CERTIFICATE-NOT-YET-VALID",
        "TLS-HOST-NAME",
        "TLS-PROXY",
    }
)
_CLIENT = frozenset(
    {"TLS-CLIENT-CERTIFICATE-MISSING", "TLS-CLIENT-CERTIFICATE-REFUSED", "TLS-CLOSED-EARLY"}
)
_CUT_OFF = frozenset({"TLS-CLOSED", "TLS-ALERT"})


# ---------------------------------------------------------------- a connection that was made


def peer_certificate(stream: Any, tls: ClientTLS) -> bytes | None:
    """The server's certificate in DER."""
    found: bytes | None
    if tls.engine == "openssl":
        found = stream.peer_certificate()
    else:
        found = stream.ssl_object.getpeercert(True)
    return found


def tls_facts(stream: Any, tls: ClientTLS) -> dict[str, Any]:
    """Protocol, cipher, the chain, its names and dates, and whom the client says it is."""
    leaf = peer_certificate(stream, tls)
    facts: dict[str, Any] = {"engine": tls.engine, "client_certificate": tls.subject}
    if tls.engine == "openssl":
        facts["protocol"], facts["cipher"] = stream.version(), stream.cipher()
    else:
        speaks = stream.ssl_object
        facts["protocol"], facts["cipher"] = speaks.version(), speaks.cipher()[0]
    chain: list[bytes] = []
    with contextlib.suppress(MongoError, AttributeError, ValueError):
        chain = stream.verified_chain()
    facts["chain"] = describe_chain(chain or ([leaf] if leaf else []))
    facts["names"] = host_names(leaf) if leaf else None
    return facts


def describe_chain(chain: list[bytes]) -> list[dict[str, Any]]:
    """Certificates (DER) in words, the server's first."""
    from cryptography import x509

    found = []
    for der in chain:
        try:
            certificate = x509.load_der_x509_certificate(der)
            found.append(
                {
                    "subject": subject_name(certificate),
                    "issuer": distinguished_name(certificate.issuer),
                    "valid_from": certificate.not_valid_before_utc.isoformat(),
                    "valid_until": certificate.not_valid_after_utc.isoformat(),
                }
            )
        except Exception as error:
            # cryptography's exceptions for what is odd have no common class.
            found.append(
                {
                    "subject": f"(cannot be read: {error})",
                    "issuer": "",
                    "valid_from": "",
                    "valid_until": "",
                }
            )
    return found


# ---------------------------------------------------------------- one that failed


def look_closer(state: State, failed: list[Host], of: int) -> list[Found]:
    """The causes of the failures of these hosts, out of `of` that were tried, each once."""
    found: dict[str, Found] = {}
    for number, host in enumerate(failed):
        diagnoses = list(host.found) or [_unexplained(host)]
        if number == 0:
            diagnoses = _with_probes(state, host, diagnoses)
        facts = {**state.facts(host), "hosts": [each.name for each in failed]}
        if host.tls is not None:
            facts["tls_facts"] = host.tls
        for each in diagnoses:
            found.setdefault(each.code, Found(each, facts))
    cut_off = _access_list(state, failed, of)
    if cut_off is not None:
        found = {cut_off.code: Found(cut_off, state.facts(failed[0])), **found}
        # The same cause in general terms says less.
        for code in _CUT_OFF:
            found.pop(code, None)
    hint = hint_of_host(failed[0].address[0])
    if hint is not None:
        found = {hint.code: Found(hint, state.facts(failed[0])), **found}
    order = surest_first(each.diagnosis for each in found.values())
    return [found[each.code] for each in order]


def _unexplained(host: Host) -> Diagnosis:
    if host.timed_out:
        return Diagnosis(
            "TOPOLOGY-SILENT",
            LIKELY,
            f"{host.name} took the connection and did not finish the TLS handshake in time",
            [str(host.error)],
            "is it a MongoDB server's port, does it speak TLS, and is that server up? A proxy, "
            "port forward or tunnel takes connections even when nothing is behind it",
        )
    return Diagnosis("TLS-FAILED", POSSIBLE, f"{host.name}: {host.error}")


def _access_list(state: State, failed: list[Host], of: int) -> Diagnosis | None:
    """Hosted clusters cut off who is not on their access list, on every host, without a word."""
    lists = access_list_of(failed[0].address[0])
    if lists is None or len(failed) < of or state.options is None or state.options.tls is None:
        return None
    if not all(_CUT_OFF & {each.code for each in host.found} for host in failed):
        return None
    sources = sorted({source for host in failed if (source := _source_of(host)) is not None})
    evidence = [f"{host.name}: {host.error}" for host in failed]
    evidence += [
        f"connected from {source} (the public address may be another)" for source in sources
    ]
    return Diagnosis(
        "TLS-ACCESS-LIST",
        LIKELY,
        f"very likely this machine's public address is not in {lists}: "
        + (f"all {of} hosts" if of > 1 else "the host")
        + " cut the connection off in the TLS handshake",
        evidence,
        "add this machine's public address there (Network Access, Add IP Address shows it); a VPN "
        "or proxy changes it",
    )


def _source_of(host: Host) -> str | None:
    """The local address that connections to `host` come from."""
    ip, port = host.reached, host.address[1]
    if ip is None or port is None:
        return None
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect((ip.partition("%")[0], port))
            return str(udp.getsockname()[0])
    except OSError:
        return None


def _with_probes(state: State, host: Host, diagnoses: list[Diagnosis]) -> list[Diagnosis]:
    code = diagnoses[0].code
    encrypted = state.options is not None and state.options.tls is not None
    if not encrypted and code in ("TLS-NEEDED", "TLS-CLOSED"):
        return _confirm_needed(state, host, diagnoses)
    if encrypted and code in ("TLS-NOT-SPOKEN", "TLS-CLOSED", "TLS-FAILED"):
        return _confirm_not_spoken(state, host, diagnoses)
    if code in _CHAIN:
        return _show_chain(state, host, diagnoses)
    if code in _CLIENT:
        return _show_request(state, host, diagnoses)
    return diagnoses


def _confirm_needed(state: State, host: Host, diagnoses: list[Diagnosis]) -> list[Diagnosis]:
    """Whether the port answers a TLS greeting, after it hung up on a plain one."""
    answer = _greet_in_tls(state, host)
    first = diagnoses[0]
    if answer is None:
        return diagnoses
    sure = Diagnosis(
        "TLS-NEEDED",
        CERTAIN,
        "this port speaks TLS, and the connection is without",
        [*first.evidence, answer],
        _with_tls(state),
    )
    return [sure, *diagnoses[1:]]


def _with_tls(state: State) -> str:
    from mongokey.cli.mistakes import mask

    uri = mask(state.given.reveal()[0])
    if "://" not in uri:
        return "add tls=true"
    if "?" in uri:
        return f"{uri}&tls=true"
    path = uri.partition("://")[2]
    return f"{uri}?tls=true" if "/" in path else f"{uri}/?tls=true"


def _greet_in_tls(state: State, host: Host) -> str | None:
    """What came of a TLS greeting, in words; None where the answer was none of TLS's."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = _plain_socket(state, host)
    if plain is None:
        return None
    try:
        with plain, context.wrap_socket(plain, server_hostname=host.address[0]) as stream:
            return f"a TLS greeting on a second connection was answered with {stream.version()}"
    except ssl.SSLError as error:
        # An alert is an answer of TLS's too.
        alert = "ALERT" in (error.reason or "")
        return f"a TLS greeting was answered with an alert ({error.reason})" if alert else None
    except (OSError, ValueError):
        return None


def _confirm_not_spoken(state: State, host: Host, diagnoses: list[Diagnosis]) -> list[Diagnosis]:
    """Whether the port answers a plain hello, after it did not answer TLS."""
    deadline = state.probe()
    name, port = host.address
    ip = host.reached
    assert port is not None
    assert ip is not None
    try:
        stream = connect(name, port, deadline=deadline, resolver=lambda *_: [(ip, port)])
        try:
            reply = Connection(stream, host.address).command("admin", hello_command(None), deadline)
        finally:
            stream.close()
    except MongoError:
        return diagnoses
    options = state.options
    assert options is not None
    implied = options.tls.implied_by if options.tls is not None else None
    first = diagnoses[0]
    answered = "a plain hello on a second connection was answered"
    if reply.get("ok"):
        answered += f" (maxWireVersion {reply.get('maxWireVersion')})"
    how = "remove tls=true"
    if implied:
        how = f"remove {implied}, which switches TLS on,"
    elif options.connection_string is not None and options.connection_string.is_srv:
        how = "add tls=false (mongodb+srv switches TLS on)"
    sure = Diagnosis(
        "TLS-NOT-SPOKEN",
        CERTAIN,
        "this port does not speak TLS, it speaks without"
        + (f"; TLS was switched on by {implied}" if implied else ""),
        [*first.evidence, answered],
        f"{how} or have the server speak TLS",
    )
    return [sure, *(each for each in diagnoses if each.code != "TLS-NOT-SPOKEN")]


def _show_chain(state: State, host: Host, diagnoses: list[Diagnosis]) -> list[Diagnosis]:
    """Who issued the server's certificates, for which names and until when: looked at unchecked."""
    der = _fetch_certificate(state, host)
    if der is None:
        return diagnoses
    names = host_names(der) or []
    seen = [
        f"this machine's clock says {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} "
        "UTC",
        f"it is made for {', '.join(names) or 'no name'}",
    ]
    words = in_words(der)
    if words is not None:
        seen.insert(0, words)
    return [
        each.replace(evidence=tuple(dict.fromkeys((*each.evidence, *seen)))) for each in diagnoses
    ]


def _fetch_certificate(state: State, host: Host) -> bytes | None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = _plain_socket(state, host)
    if plain is None:
        return None
    try:
        with plain, context.wrap_socket(plain, server_hostname=host.address[0]) as stream:
            return stream.getpeercert(True)
    except (OSError, ValueError):
        return None


def _show_request(state: State, host: Host, diagnoses: list[Diagnosis]) -> list[Diagnosis]:
    """Which authorities the server accepts client certificates of, and whether ours is of one."""
    names = _accepted_authorities(state, host)
    seen = []
    if names is not None:
        seen.append(
            "the server asks for a client certificate"
            + (f", and accepts those issued by {'; '.join(names)}" if names else "")
        )
    tls = state.settings.tls if state.settings is not None else None
    issuer = None
    if tls is not None and tls.identity is not None:
        issuer = distinguished_name(tls.identity.certificate.issuer)
        seen.append(f"ours is issued by {issuer}")
    shown = [each.replace(evidence=(*each.evidence, *seen)) for each in diagnoses]
    if issuer is None:
        return shown
    # Without the names, the server's own word: it does not know the authority (RFC 8446, 6.2).
    unknown = any("unknown ca" in line for each in diagnoses for line in each.evidence)
    if (names and issuer not in names) or (unknown and not names):
        accepts = f"accepts those of {'; '.join(names)}" if names else "does not know that one"
        said = seen if names else [*diagnoses[0].evidence, *seen]
        shown.insert(
            0,
            Diagnosis(
                "X509-AUTHORITY",
                LIKELY,
                f"the client certificate is issued by {issuer}, and the server {accepts}",
                said,
                "use a certificate of an authority that the server accepts, or have the server "
                "trust the other one too; where an intermediate authority issued it, put that "
                "one's certificate behind it in the file",
            ),
        )
    return shown


def _accepted_authorities(state: State, host: Host) -> list[str] | None:
    """The names in the server's request for a client certificate; None where none is seen."""
    for read in (read_request, read_request_of_tls_1_3):
        plain = _plain_socket(state, host)
        if plain is None:
            return None
        with plain:
            request = read(plain, host.address[0], state.probe())
        if request is not None:
            return request.authorities
    return None


def _plain_socket(state: State, host: Host) -> socket.socket | None:
    ip, port = host.reached, host.address[1]
    if ip is None or port is None:
        return None
    left = state.probe().left_s
    if left <= 0:
        return None
    try:
        made = socket.create_connection((ip, port), timeout=left)
    except OSError:
        return None
    made.settimeout(left)
    return made


__all__ = ["describe_chain", "look_closer", "peer_certificate", "tls_facts"]
