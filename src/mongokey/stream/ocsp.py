"""Asks whether a server's certificate was revoked: stapled responses, then its OCSP responders.

Follows the ocsp-support specification and RFC 6960, with a cache by CertID; soft fail where
nobody answers. Knows certificates and HTTP; must not know how the handshake was done.
"""

from __future__ import annotations

import datetime
import http.client
import threading
import time
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from mongokey._clock import monotonic
from mongokey.errors import TLSError
from mongokey.stream._stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# ocsp-support.md, step 7: the default time for a request to a responder, in seconds.
TIMEOUT_S = 5.0
# For so long a responder that did not answer is not asked again, in seconds: it would hold up
# every new connection.
PAUSE_S = 30.0
_LARGEST_RESPONSE = 64 * 1024
_GOOD, _REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


class _Questions:
    """What is to be known of one server's certificate, read from it once."""

    __slots__ = ("certificate", "issuer", "key", "must_staple", "request", "urls")

    def __init__(self, chain: list[bytes]) -> None:
        self.certificate = x509.load_der_x509_certificate(chain[0])
        self.issuer = x509.load_der_x509_certificate(chain[1]) if len(chain) > 1 else None
        features = _extension(self.certificate, x509.TLSFeature)
        self.must_staple = features is not None and (
            x509.TLSFeatureType.status_request in list(features)
        )
        access = _extension(self.certificate, x509.AuthorityInformationAccess)
        self.urls = [
            each.access_location.value
            for each in access or ()
            if each.access_method == AuthorityInformationAccessOID.OCSP
            and isinstance(each.access_location, x509.UniformResourceIdentifier)
        ]
        # Made when it is needed: most certificates ask for no check at all.
        self.request: ocsp.OCSPRequest | None = None
        self.key: tuple[bytes, bytes, int] | None = None
        if self.issuer is not None:
            self.request = _request(self.certificate, self.issuer, SHA1())  # noqa: S303
            self.key = (
                self.request.issuer_name_hash,
                self.request.issuer_key_hash,
                self.request.serial_number,
            )


class _Answer:
    """A conclusive answer: good or revoked, and until when (Unix time; 0: not to be kept)."""

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

    def check(
        self,
        peer: str,
        chain: list[bytes],
        staple: bytes | None,
        deadline_ns: int,
        *,
        stapling: bool,
    ) -> int:
        """Check a server's certificate.

        :param chain: DER, the server's certificate first, its issuer second
        :param staple: the OCSP response that came in the handshake, or None
        :param deadline_ns: when the connection must be ready, a time of `monotonic_ns`; 0: none
        :param stapling: whether a staple was asked for; False where that is not possible

        Returns until when, in Unix time, the answer holds (0: it does not end). Raises
        `TLSError` for a revoked certificate, a staple that is missing though the certificate
        demands one, and a staple that is not valid.
        """
        if not chain:
            return 0
        known = tuple(chain[:2])
        asked = self._questions.get(known)
        if asked is None:
            if len(self._questions) > 64:
                self._questions.clear()
                self.unasked.clear()
            asked = self._questions[known] = _Questions(chain)
            if not asked.urls and not asked.must_staple:
                self.unasked.add(chain[0])
        if staple is not None and asked.issuer is not None:
            try:
                answer = read_response(staple, asked.certificate, asked.issuer)
            except Unusable as error:
                raise TLSError(
                    f"{peer}: TLS handshake failed: the OCSP response that the server stapled to "
                    f"its certificate is not valid: {error} [TLS-STAPLE-INVALID]",
                    "TLS-STAPLE-INVALID",
                    True,
                ) from None
            if answer is not None:
                return self._accept(peer, asked, answer, "the stapled OCSP response")
        elif asked.must_staple and stapling:
            raise TLSError(
                f"{peer}: TLS handshake failed: the server's certificate demands a stapled OCSP "
                "response (must-staple), and the server sent none: have it reach its responder "
                "[TLS-STAPLE-MISSING]",
                "TLS-STAPLE-MISSING",
                True,
            )
        if asked.key is None or not asked.urls:
            return 0
        kept = self._answers.get(asked.key)
        if kept is not None and time.time() < kept.until_s:
            return self._accept(peer, asked, kept, "an OCSP response seen before")
        if not self.endpoints:
            return 0
        answer = self._ask(asked, deadline_ns)
        if answer is None:
            # Soft fail; a session resumed later than this is checked again.
            return int(time.time() + PAUSE_S)
        return self._accept(peer, asked, answer, f"the OCSP responder {asked.urls[0]}")

    def _accept(self, peer: str, asked: _Questions, answer: _Answer, who: str) -> int:
        if asked.key is not None and answer.until_s:
            self._answers[asked.key] = answer
        if not answer.good:
            raise TLSError(
                f"{peer}: TLS handshake failed: the server's certificate (serial number "
                f"{asked.certificate.serial_number:x}) is revoked, {who} says "
                "[TLS-CERTIFICATE-REVOKED]",
                "TLS-CERTIFICATE-REVOKED",
                True,
            )
        return answer.until_s

    def _ask(self, asked: _Questions, deadline_ns: int) -> _Answer | None:
        """Ask the responders side by side; the first conclusive answer, None without one."""
        now = monotonic()
        urls = [url for url in asked.urls if self._silent.get(url, 0.0) <= now]
        if not urls or asked.issuer is None or asked.request is None:
            return None
        limit = TIMEOUT_S
        if deadline_ns:
            # The login still needs some of the time.
            limit = min(limit, max(0.0, (deadline_ns - monotonic_ns()) / 2e9))
        until = now + limit
        body = asked.request.public_bytes(Encoding.DER)
        answers: SimpleQueue[tuple[str, _Answer | None]] = SimpleQueue()
        certificate, issuer = asked.certificate, asked.issuer

        def ask(url: str) -> None:
            try:
                found = read_response(_post(url, body, limit), certificate, issuer)
            except (OSError, ValueError, http.client.HTTPException):
                found = None  # no answer, or none to rely on: soft fail
            answers.put((url, found))

        for url in urls:
            threading.Thread(target=ask, args=(url,), daemon=True, name="mongokey-ocsp").start()
        waiting = set(urls)
        while waiting:
            try:
                url, answer = answers.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                break
            if answer is not None:
                return answer
            waiting.discard(url)
        for url in urls:
            self._silent[url] = monotonic() + PAUSE_S
        return None


def _post(url: str, body: bytes, timeout: float) -> bytes:
    parts = urlsplit(url)
    # Over HTTPS the responder's own certificate would have to be asked about.
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"no http:// address: {url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/ocsp-request"})
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"the responder answered HTTP {response.status}")
        content = response.read(_LARGEST_RESPONSE + 1)
    finally:
        connection.close()
    if len(content) > _LARGEST_RESPONSE:
        raise ValueError("the responder's answer is too large")
    return content


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
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"it cannot be read ({error})") from None
    now = datetime.datetime.now(datetime.timezone.utc)
    since, until = _utc(single, "this_update"), _utc(single, "next_update")
    if since is None or since > now:
        raise Unusable("it is of the future: check this machine's clock")
    if until is not None and until <= now:
        raise Unusable(f"it is out of date since {until:%Y-%m-%d %H:%M} UTC")
    if single.certificate_status not in (_GOOD, _REVOKED):
        return None
    good = single.certificate_status == _GOOD
    return _Answer(good, int(until.timestamp()) if until is not None else 0)


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
        usage = _extension(candidate, x509.ExtendedKeyUsage)
        if usage is None or ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
            raise Unusable("who signed it may not sign OCSP responses")
        now = datetime.datetime.now(datetime.timezone.utc)
        if not candidate.not_valid_before_utc <= now <= candidate.not_valid_after_utc:
            raise Unusable("the certificate of who signed it is not valid now")
        try:
            candidate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            raise Unusable("who signed it was not told to by the issuer") from None
        return candidate
    raise Unusable("it does not have the certificate of who signed it")


def _request(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: Any) -> Any:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
    return builder.build()


def _extension(certificate: Any, kind: Any) -> Any:
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
