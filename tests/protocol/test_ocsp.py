"""OCSP: a responder on loopback, stapled responses, and a server that must staple and does not.

The servers are made with the OpenSSL bindings of `cryptography` (Python's ssl cannot staple).
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.bindings._rust import _openssl
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from mongokey.client_options import ClientOptions
from mongokey.errors import TLSError
from mongokey.transport import connect
from mongokey.transport.tls import ocsp as ocsp_module
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.ocsp import Revocation, Unusable, read_response
from tests.deadlines import timeout_of, within
from tests.servers.certificates import Authority, Pair, utc_now

lib, ffi = _openssl.lib, _openssl.ffi
FAR = 20.0
HOUR = datetime.timedelta(hours=1)
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ocsp"))


def respond(
    authority: Authority,
    pair: Pair,
    status: Any = GOOD,
    *,
    signer: Pair | None = None,
    since: datetime.timedelta = -HOUR,
    until: datetime.timedelta | None = HOUR,
    by_name: bool = False,
    algorithm: Any = None,
) -> bytes:
    """An OCSP response in DER about `pair`, signed by `signer` (default: the authority)."""
    signer = signer or authority
    now = utc_now()
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=pair.certificate,
        issuer=authority.certificate,
        algorithm=algorithm or hashes.SHA1(),
        cert_status=status,
        this_update=now + since,
        next_update=None if until is None else now + until,
        revocation_time=now - HOUR if status == REVOKED else None,
        revocation_reason=None,
    )
    builder = builder.responder_id(encoding, signer.certificate)
    if signer is not authority:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


class Responder:
    """An OCSP responder: what it says is what `answer(request)` returns, None: HTTP 500."""

    def __init__(self) -> None:
        self.answer: Callable[[], bytes | None] = lambda: None
        self.requests: list[ocsp.OCSPRequest] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/ocsp-request"
                outer.requests.append(ocsp.load_der_ocsp_request(body))
                answer = outer.answer()
                self.send_response(200 if answer is not None else 500)
                self.send_header("Content-Type", "application/ocsp-response")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(answer or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ocsp"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(FAR)
        self._server.server_close()


@pytest.fixture
def responder() -> Iterator[Responder]:
    made = Responder()
    yield made
    made.close()


class StaplingServer:
    """A TLS server that echoes, and staples `staple` where a client asks for it."""

    def __init__(self, pair: Pair, staple: bytes | None = None) -> None:
        self._context = ffi.gc(lib.SSL_CTX_new(lib.TLS_method()), lib.SSL_CTX_free)
        path = pair.pem.encode()
        assert lib.SSL_CTX_use_certificate_chain_file(self._context, path) == 1
        assert lib.SSL_CTX_use_PrivateKey_file(self._context, path, lib.SSL_FILETYPE_PEM) == 1
        self.asked = 0

        @ffi.callback("int(SSL *, void *)")
        def status(ssl: Any, _: Any) -> int:
            self.asked += 1
            if staple is None:
                return lib.SSL_TLSEXT_ERR_NOACK
            copy = lib.OPENSSL_malloc(len(staple))
            ffi.memmove(copy, staple, len(staple))
            lib.SSL_set_tlsext_status_ocsp_resp(ssl, copy, len(staple))
            return lib.SSL_TLSEXT_ERR_OK

        self._callback = status
        lib.SSL_CTX_set_tlsext_status_cb(self._context, status)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(None)
            conn = lib.SSL_new(self._context)
            lib.SSL_set_fd(conn, accepted.fileno())
            lib.SSL_set_accept_state(conn)
            buffer = ffi.new("char[]", 100)
            if lib.SSL_do_handshake(conn) == 1:
                while (size := lib.SSL_read(conn, buffer, 100)) > 0:
                    lib.SSL_write(conn, buffer, size)
            lib.ERR_clear_error()
            lib.SSL_free(conn)
            accepted.close()

    def __enter__(self) -> StaplingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(FAR)
        assert not self._thread.is_alive()


def make_tls(authority: Authority, *, bindings: bool = True, **options: Any) -> ClientTLS:
    given = ClientOptions.build(
        "localhost", tls=True, tlsCAFile=authority.certificate_file, **options
    ).tls
    return ClientTLS(given, bindings=bindings)


def greet(tls: ClientTLS, server: StaplingServer) -> Any:
    """Connect, have a word echoed, close; returns the stream."""
    deadline = within(FAR * 1000)
    plain = connect("127.0.0.1", server.port, deadline=deadline)
    stream = tls.wrap(plain, "127.0.0.1", deadline)
    stream.send_all(b"word", deadline)
    assert stream.receive(100, deadline) == b"word"
    stream.close()
    return stream


# Stapled


@pytest.mark.parametrize("must_staple", [False, True])
def test_a_good_staple_is_asked_for_and_taken(authority: Authority, must_staple: bool) -> None:
    pair = authority.issue("stapled", "127.0.0.1", must_staple=must_staple)
    with StaplingServer(pair, respond(authority, pair)) as server:
        tls = make_tls(authority)
        greet(tls, server)
        tls._context.forget_sessions()
        greet(tls, server)
        assert server.asked == 2


def test_a_staple_that_says_revoked_ends_the_connection(authority: Authority) -> None:
    pair = authority.issue("revoked", "127.0.0.1")
    with StaplingServer(pair, respond(authority, pair, REVOKED)) as server:
        with pytest.raises(TLSError, match="is revoked, the stapled") as caught:
            greet(make_tls(authority), server)
    assert (caught.value.reason, caught.value.permanent) == ("TLS-CERTIFICATE-REVOKED", True)


@pytest.mark.parametrize("endpoints", [True, False])
def test_a_certificate_that_demands_a_staple_and_has_none(
    authority: Authority, responder: Responder, endpoints: bool
) -> None:
    pair = authority.issue("bare", "127.0.0.1", must_staple=True, ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair)
    tls = make_tls(authority, tlsDisableOCSPEndpointCheck=not endpoints)
    with StaplingServer(pair) as server, pytest.raises(TLSError, match="must-staple") as caught:
        greet(tls, server)
    assert caught.value.reason == "TLS-STAPLE-MISSING"
    assert responder.requests == []


def test_a_staple_that_is_not_valid_ends_the_connection(authority: Authority) -> None:
    # Others that are not valid never leave this server: its OpenSSL looks at what it staples.
    pair = authority.issue("odd", "127.0.0.1")
    staple = respond(authority, pair, since=-2 * HOUR, until=-HOUR)
    with StaplingServer(pair, staple) as server:
        with pytest.raises(TLSError, match="out of date") as caught:
            greet(make_tls(authority), server)
    assert caught.value.reason == "TLS-STAPLE-INVALID"


def test_unchecked_certificates_are_not_asked_about(authority: Authority) -> None:
    pair = authority.issue("unchecked", "127.0.0.1", must_staple=True)
    for option in ("tlsInsecure", "tlsAllowInvalidCertificates"):
        with StaplingServer(pair) as server, pytest.warns(UserWarning, match="does not check"):
            greet(make_tls(authority, **{option: True}), server)
        assert server.asked == 0
    with StaplingServer(pair) as server:
        greet(make_tls(authority, tlsDisableCertificateRevocationCheck=True), server)


# Responders


@pytest.mark.parametrize("bindings", [True, False])
def test_the_responder_is_asked_once_and_says_good(
    authority: Authority, responder: Responder, bindings: bool
) -> None:
    pair = authority.issue("asked", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair)
    tls = make_tls(authority, bindings=bindings)
    with StaplingServer(pair) as server:
        for _ in range(3):
            greet(tls, server)
        greet(make_tls(authority, bindings=bindings, tlsDisableOCSPEndpointCheck=True), server)
    assert [each.serial_number for each in responder.requests] == [pair.certificate.serial_number]


@pytest.mark.parametrize("bindings", [True, False])
def test_the_responder_says_revoked(
    authority: Authority, responder: Responder, bindings: bool
) -> None:
    pair = authority.issue("gone", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair, REVOKED)
    tls = make_tls(authority, bindings=bindings)
    with StaplingServer(pair) as server:
        for who in ("the OCSP responder http://127.0.0.1", "seen before"):
            with pytest.raises(TLSError, match=who) as caught:
                greet(tls, server)
            assert caught.value.reason == "TLS-CERTIFICATE-REVOKED"
    assert len(responder.requests) == 1


def test_unknown_and_useless_answers_and_none_let_the_connection_be(
    authority: Authority, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("soft", "127.0.0.1", ocsp_url=responder.url)
    forger = Authority(authority.folder, "forger")
    with StaplingServer(pair) as server:
        for answer in (
            respond(authority, pair, UNKNOWN),
            None,
            b"",
            respond(authority, pair, REVOKED, signer=forger),
            respond(authority, pair, REVOKED, since=-2 * HOUR, until=-HOUR),
            b"x" * 100_000,
        ):
            responder.answer = lambda answer=answer: answer
            greet(make_tls(authority), server)
        assert len(responder.requests) == 6
        # A responder that hangs holds a connection up once, and not the next one.
        hang = threading.Event()
        responder.answer = lambda: b"" * hang.wait(FAR)
        monkeypatch.setattr(ocsp_module, "TIMEOUT", timeout_of(300))
        tls = make_tls(authority)
        started = time.monotonic()
        greet(tls, server)
        assert 0.29 < time.monotonic() - started < FAR / 2
        greet(tls, server)
        hang.set()
    assert len(responder.requests) == 7


def test_nobody_listens_where_the_responder_should_be(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    pair = authority.issue("silent", "127.0.0.1", ocsp_url=url)
    with StaplingServer(pair) as server:
        greet(make_tls(authority), server)


def test_a_session_is_not_resumed_beyond_the_answer_s_time(
    authority: Authority, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("short", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair)
    tls = make_tls(authority)
    with StaplingServer(pair) as server:
        greet(tls, server)
        assert greet(tls, server).resumed
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 2 * 3600)
        assert not greet(tls, server).resumed
    assert len(responder.requests) == 2


# Responses alone (RFC 6960, section 3.2)


def read(authority: Authority, pair: Pair, data: bytes) -> Any:
    return read_response(data, pair.certificate, authority.certificate)


def test_responses_that_are_accepted(authority: Authority) -> None:
    pair = authority.issue("leaf", "127.0.0.1")
    delegate = authority.issue("delegate", ocsp_signing=True)
    assert read(authority, pair, respond(authority, pair)).good
    assert read(authority, pair, respond(authority, pair, by_name=True)).good
    assert read(authority, pair, respond(authority, pair, signer=delegate)).good
    assert read(authority, pair, respond(authority, pair, signer=delegate, by_name=True)).good
    assert read(authority, pair, respond(authority, pair, algorithm=hashes.SHA256())).good
    assert not read(authority, pair, respond(authority, pair, REVOKED)).good
    assert read(authority, pair, respond(authority, pair, UNKNOWN)) is None
    assert read(authority, pair, respond(authority, pair, until=None)).until_s <= time.time()
    rsa = Authority(authority.folder, "rsa", "rsa")
    leaf = rsa.issue("rsa-leaf")
    assert read(rsa, leaf, respond(rsa, leaf)).good


def test_responses_that_are_refused(authority: Authority) -> None:
    pair = authority.issue("leaf", "127.0.0.1")
    good = respond(authority, pair)
    no_delegate = authority.issue("no-delegate")
    stranger = Authority(authority.folder, "stranger").issue("false-delegate", ocsp_signing=True)
    old = authority.issue("old-delegate", ocsp_signing=True, since=-3 * HOUR, until=-HOUR)
    failed = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    broken = bytearray(good)
    broken[-1] ^= 1
    for data, why in (
        (failed.public_bytes(Encoding.DER), "status is try_later"),
        (respond(authority, authority.issue("else")), "another certificate"),
        (respond(authority, pair, signer=no_delegate), "may not sign"),
        (respond(authority, pair, signer=stranger), "not told to"),
        (respond(authority, pair, signer=old), "not valid now"),
        (respond(authority, pair, since=HOUR, until=2 * HOUR), "of the future"),
        (respond(authority, pair, since=-2 * HOUR, until=-HOUR), "out of date"),
        (bytes(broken), "signature is wrong|cannot be read"),
        (good[:40], "cannot be read"),
        (b"", "cannot be read"),
    ):
        with pytest.raises(Unusable, match=why):
            read(authority, pair, data)


def test_no_prefix_of_a_response_is_taken_for_one(authority: Authority) -> None:
    pair = authority.issue("leaf", "127.0.0.1")
    good = respond(authority, pair)
    for size in range(len(good)):
        with pytest.raises(Unusable):
            read(authority, pair, good[:size])


def test_a_self_signed_certificate_has_nobody_to_ask(authority: Authority) -> None:
    der = authority.certificate.public_bytes(Encoding.DER)
    assert Revocation(endpoints=True).check("peer", [der], None, None, stapling=True) is None
    assert Revocation(endpoints=True).check("peer", [], None, None, stapling=True) is None


# A context of the user's own


def test_responders_are_asked_beside_a_context_of_one_s_own(
    authority: Authority, responder: Responder
) -> None:
    pair = authority.issue("own", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair, REVOKED)
    context = ssl.create_default_context(cafile=authority.certificate_file)
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)

    def make(**options: Any) -> ClientTLS:
        given = ClientOptions.build("localhost", tls=True, ssl_context=context, **options).tls
        return ClientTLS(given)

    with StaplingServer(pair) as server:
        with pytest.raises(TLSError) as caught:
            greet(make(), server)
        assert caught.value.reason == "TLS-CERTIFICATE-REVOKED"
        assert len(responder.requests) == 1
        greet(make(tlsDisableOCSPEndpointCheck=True), server)
        assert len(responder.requests) == 1
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        greet(make(), server)
        assert len(responder.requests) == 1
