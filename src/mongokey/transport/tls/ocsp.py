"""Asks whether a server's certificate was revoked: stapled responses, then its OCSP responders.

Follows the ocsp-support specification and RFC 6960, with a cache by CertID; soft fail where
nobody answers. Knows certificates and HTTP; must not know how the handshake was done.
"""

from __future__ import annotations

import datetime
import time

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from mongokey._support.deadline import Timeout
from mongokey._support.system import monotonic
from mongokey._support.waiting import Cancelled, never
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import AutoReconnect, TLSError
from mongokey.transport.tls.der import (
    INTEGER,
    OID,
    SEQUENCE,
    Malformed,
    dotted,
    elements,
    extensions,
    only,
)
from mongokey.transport.tls.responders import ask_responders

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.deadline import Deadline

# ocsp-support.md, step 7: the default time for a request to a responder.
TIMEOUT = Timeout(5_000_000_000)
# For so long a responder that did not answer is not asked again, in seconds: it would hold up
# every new connection.
PAUSE_S = 30.0
# So many responders of one certificate are asked: each costs a thread.
_MOST_RESPONDERS = 4
_LONGEST_URL = 2048
# An answer is kept no longer than this, in seconds, whatever its nextUpdate says, and believed no
# longer where it has none.
_KEPT_S = 7 * 24 * 3600
# So many answers and certificates are remembered.
_MOST_ANSWERS = 256
_MOST_QUESTIONS = 64

# RFC 5280, section 4.2.2.1, and RFC 7633.
_ACCESS, _FEATURES = "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24"
_BY_OCSP = "1.3.6.1.5.5.7.48.1"
_URI = 0x86  # GeneralName: uniformResourceIdentifier [6]
_STATUS_REQUEST = b"\5"
_GOOD, _REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


class _Questions:
    """What is to be known of one server's certificate, read from it once."""

    __slots__ = ("certificate", "issuer", "key", "must_staple", "request", "urls")

    def __init__(self, chain: list[bytes]) -> None:
        """Raises `Malformed`, which says what of the certificate cannot be read."""
        found = extensions(chain[0])
        self.must_staple = _demands_staple(found.get(_FEATURES))
        self.urls = _responders(found.get(_ACCESS))
        self.certificate = _load(chain[0], "it")
        self.issuer = _load(chain[1], "its issuer's certificate") if len(chain) > 1 else None
        # Made when it is needed: most certificates ask for no check at all.
        self.request: ocsp.OCSPRequest | None = None
        self.key: tuple[bytes, bytes, int] | None = None
        if self.issuer is not None:
            try:
                self.request = _request(self.certificate, self.issuer, SHA1())  # noqa: S303
                self.key = (
                    self.request.issuer_name_hash,
                    self.request.issuer_key_hash,
                    self.request.serial_number,
                )
            except Exception as error:
                raise Malformed(f"no OCSP request can be made of it ({error})") from None


def _load(der: bytes, what: str) -> x509.Certificate:
    # Besides ValueError, cryptography has exceptions without a common class for what is odd.
    try:
        return x509.load_der_x509_certificate(der)
    except Exception as error:
        raise Malformed(f"{what} cannot be read ({error})") from None


def _demands_staple(extension: bytes | None) -> bool:
    """Whether the TLS Feature extension asks for a stapled response (RFC 7633, section 4)."""
    if extension is None:
        return False
    what = f"its extension TLS Feature ({_FEATURES})"
    features = list(elements(only(extension, SEQUENCE, what), what))
    if any(tag != INTEGER for tag, _ in features):
        raise Malformed(f"{what} is not what it should be")
    return any(number == _STATUS_REQUEST for _, number in features)


def _responders(extension: bytes | None) -> list[str]:
    """The addresses of OCSP responders in the Authority Information Access extension."""
    if extension is None:
        return []
    what = f"its extension Authority Information Access ({_ACCESS})"
    urls: list[str] = []
    for tag, description in elements(only(extension, SEQUENCE, what), what):
        parts = list(elements(description, what))
        if tag != SEQUENCE or len(parts) != 2 or parts[0][0] != OID:
            raise Malformed(f"{what} is not what it should be")
        kind, location = parts[1]
        if kind != _URI or dotted(parts[0][1]) != _BY_OCSP:
            continue
        if not location.isascii():
            raise Malformed(f"{what} has an address that is not ASCII")
        url = location.decode("ascii")
        if len(url) <= _LONGEST_URL and url not in urls and len(urls) < _MOST_RESPONDERS:
            urls.append(url)
    return urls


class _Answer:
    """A conclusive answer: good or revoked, and until when (Unix time).

    One without an end of its own ends at once: whoever wants to know later asks again.
    """

    __slots__ = ("good", "until_s")

    def __init__(self, good: bool, until_s: int) -> None:
        self.good = good
        self.until_s = until_s


class Unusable(ValueError):
    """A response that RFC 6960, section 3.2, does not let one accept."""


class Revocation:
    """What a client knows of revocations. `endpoints` False never asks responders itself.

    `unasked` has the certificates (DER) that neither name a responder nor demand a staple: without
    a staple there is nothing to check about them.
    """

    def __init__(self, *, endpoints: bool) -> None:
        self.endpoints = endpoints
        self.unasked: set[bytes] = set()
        self._questions: dict[tuple[bytes, ...], _Questions] = {}
        self._answers: dict[tuple[bytes, bytes, int], _Answer] = {}
        self._silent: dict[str, float] = {}

    @property
    def silent(self) -> list[str]:
        """The responders that did not answer, and are not asked for a while."""
        return list(self._silent)

    def check(
        self,
        peer: str,
        chain: list[bytes],
        staple: bytes | None,
        deadline: Deadline | None,
        *,
        stapling: bool,
        cancelled: Callable[[], bool] | None = None,
    ) -> int | None:
        """Check a server's certificate.

        :param chain: DER, the server's certificate first, its issuer second
        :param staple: the OCSP response that came in the handshake, or None
        :param deadline: when the connection must be ready
        :param stapling: whether a staple was asked for; False where that is not possible
        :param cancelled: whether the connection was given up; asked while responders are waited for

        Returns until when, in Unix time, the answer holds; None where nobody had to be asked.
        Raises `TLSError` for a revoked certificate, a staple that is missing though the
        certificate demands one, a staple that is not valid, and a certificate that cannot be read.
        """
        if not chain:
            return None
        asked = self._ask_about(peer, chain)
        if staple is not None and asked.issuer is not None:
            try:
                answer = read_response(staple, asked.certificate, asked.issuer)
            except Unusable as error:
                raise _refused(
                    peer,
                    "TLS-STAPLE-INVALID",
                    "the OCSP response that the server stapled to its certificate is not valid: "
                    f"{error}",
                ) from None
            if answer is not None:
                return self._accept(peer, asked, answer, "the stapled OCSP response")
        elif asked.must_staple and stapling:
            raise _refused(
                peer,
                "TLS-STAPLE-MISSING",
                "the server's certificate demands a stapled OCSP response (must-staple), and the "
                "server sent none",
                "have it reach its responder",
            )
        if asked.key is None or not asked.urls:
            return None
        kept = self._answers.get(asked.key)
        if kept is not None and time.time() < kept.until_s:
            return self._accept(peer, asked, kept, "an OCSP response seen before")
        if not self.endpoints:
            return None
        try:
            answer = self._ask(asked, deadline, cancelled or never)
        except Cancelled:
            raise AutoReconnect(
                f"{peer}: the connection was closed here while it was being made"
            ) from None
        if answer is None:
            # Soft fail, until the responders are asked again.
            again = min((self._silent.get(url, 0.0) for url in asked.urls), default=0.0)
            return int(time.time() + min(max(again - monotonic(), 0.0), PAUSE_S))
        return self._accept(peer, asked, answer, f"the OCSP responder {asked.urls[0]}")

    def _ask_about(self, peer: str, chain: list[bytes]) -> _Questions:
        known = tuple(chain[:2])
        asked = self._questions.get(known)
        if asked is None:
            if len(self._questions) >= _MOST_QUESTIONS:
                self._questions.clear()
                self.unasked.clear()
            try:
                asked = self._questions[known] = _Questions(chain)
            except Malformed as error:
                raise _refused(
                    peer,
                    "TLS-CERTIFICATE-UNREADABLE",
                    f"whether the server's certificate is revoked cannot be found out: {error}",
                    "have it issued anew",
                ) from None
            if not asked.urls and not asked.must_staple:
                self.unasked.add(chain[0])
        return asked

    def _accept(self, peer: str, asked: _Questions, answer: _Answer, who: str) -> int:
        if asked.key is not None and answer.until_s > time.time():
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[asked.key] = answer
        if not answer.good:
            raise _refused(
                peer,
                "TLS-CERTIFICATE-REVOKED",
                "the server's certificate (serial number "
                f"{asked.certificate.serial_number:x}) is revoked, {who} says",
            )
        return answer.until_s

    def _ask(
        self, asked: _Questions, deadline: Deadline | None, cancelled: Callable[[], bool]
    ) -> _Answer | None:
        """Ask the responders side by side; the first conclusive answer, None without one."""
        now = monotonic()
        urls = [url for url in asked.urls if self._silent.get(url, 0.0) <= now]
        if not urls or asked.issuer is None or asked.request is None:
            return None
        timeout = TIMEOUT
        if deadline is not None and deadline.left_ns() // 2 < timeout.ns:
            # The login still needs some of the time.
            timeout = Timeout(deadline.left_ns() // 2, deadline.timeout.option)
        certificate, issuer = asked.certificate, asked.issuer
        answer = ask_responders(
            urls,
            asked.request.public_bytes(Encoding.DER),
            timeout.start(),
            lambda response: read_response(response, certificate, issuer),
            cancelled,
        )
        if answer is None:
            if len(self._silent) >= _MOST_ANSWERS:
                self._silent.clear()
            for url in urls:
                self._silent[url] = monotonic() + PAUSE_S
        return answer


def _refused(peer: str, code: str, summary: str, fix: str = "") -> TLSError:
    diagnosis = Diagnosis(code, CERTAIN, summary, fix=fix)
    return TLSError(f"{peer}: TLS handshake failed: {diagnosis.text} [{code}]", diagnosis, True)


def read_response(
    data: bytes, certificate: x509.Certificate, issuer: x509.Certificate
) -> _Answer | None:
    """What an OCSP response in DER says of `certificate`; None for "unknown".

    Raises `Unusable` when it must not be accepted (RFC 6960, section 3.2): not successful, about
    another certificate, not signed by the issuer or whom it delegated, or not of this time.
    """
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unusable(f"its status is {response.response_status.name.lower()}")
        single = _find(response, certificate, issuer)
        _check_signature(response, issuer)
    except Unusable:
        raise
    except Exception as error:
        # cryptography's exceptions for what is odd have no common class.
        raise Unusable(f"it cannot be read ({error})") from None
    return _judge(single)


def _judge(single: Any) -> _Answer | None:
    now = datetime.datetime.now(datetime.timezone.utc)
    since, until = _utc(single, "this_update"), _utc(single, "next_update")
    if since is None or since > now:
        raise Unusable("it is of the future: check this machine's clock")
    if until is not None and until <= now:
        raise Unusable(f"it is out of date since {until:%Y-%m-%d %H:%M} UTC")
    if single.certificate_status not in (_GOOD, _REVOKED):
        return None
    good = single.certificate_status == _GOOD
    # RFC 6960, section 4.2.2.1: without nextUpdate there may be newer information at any time, so
    # it is not kept; and an old one is somebody's who plays it again.
    if until is None and now - since > datetime.timedelta(seconds=_KEPT_S):
        raise Unusable(f"it is of {since:%Y-%m-%d} and does not say until when it holds")
    end = now if until is None else min(until, now + datetime.timedelta(seconds=_KEPT_S))
    return _Answer(good, int(end.timestamp()))


def _find(response: Any, certificate: x509.Certificate, issuer: x509.Certificate) -> Any:
    """The part of the response that is about `certificate`."""
    for single in response.responses:
        wanted = _request(certificate, issuer, single.hash_algorithm)
        if (
            single.serial_number == wanted.serial_number
            and single.issuer_name_hash == wanted.issuer_name_hash
            and single.issuer_key_hash == wanted.issuer_key_hash
        ):
            return single
    raise Unusable("it is about another certificate")


def _check_signature(response: Any, issuer: x509.Certificate) -> None:
    signer = _signer(response, issuer)
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    signature, signed = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            raise Unusable("it is signed with a key of an unknown kind")
    except InvalidSignature:
        raise Unusable("its signature is wrong") from None


def _signer(response: Any, issuer: x509.Certificate) -> x509.Certificate:
    """Who signed: the issuer itself, or one to whom it delegated that (RFC 6960, 4.2.2.2)."""
    candidates: list[x509.Certificate] = [issuer, *response.certificates]
    for candidate in candidates:
        if response.responder_name is not None:
            named = candidate.subject == response.responder_name
        else:
            digest = x509.SubjectKeyIdentifier.from_public_key(candidate.public_key()).digest
            named = digest == response.responder_key_hash
        if not named:
            continue
        if candidate == issuer:
            return issuer
        try:
            usage = _extension(candidate, x509.ExtendedKeyUsage)
        except Exception:
            raise Unusable("the certificate of who signed it cannot be read") from None
        if usage is None or ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
            raise Unusable("who signed it may not sign OCSP responses")
        now = datetime.datetime.now(datetime.timezone.utc)
        if not candidate.not_valid_before_utc <= now <= candidate.not_valid_after_utc:
            raise Unusable("the certificate of who signed it is not valid now")
        try:
            candidate.verify_directly_issued_by(issuer)
        except Exception:
            raise Unusable("who signed it was not told to by the issuer") from None
        return candidate
    raise Unusable("it does not have the certificate of who signed it")


def _request(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: Any) -> Any:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
    return builder.build()


def _extension(certificate: Any, kind: Any) -> Any:
    # Raises what cryptography finds odd; who calls says whose certificate that is.
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _utc(single: Any, name: str) -> datetime.datetime | None:
    # cryptography 42 has only the times without a zone.
    if hasattr(single, f"{name}_utc"):
        aware: datetime.datetime | None = getattr(single, f"{name}_utc")
        return aware
    naive: datetime.datetime | None = getattr(single, name)
    return None if naive is None else naive.replace(tzinfo=datetime.timezone.utc)


__all__ = ["Revocation", "Unusable", "read_response"]
