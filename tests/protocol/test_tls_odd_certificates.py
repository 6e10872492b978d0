"""Odd certificates and odd OCSP responders come to errors of ours, or to nothing; none hangs."""

from __future__ import annotations

import contextlib
import datetime
import gc
import ipaddress
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mongokey._support.certificates import host_names
from mongokey.cli.explain_tls import describe_tls
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, MongoError, TLSError
from mongokey.transport import connect
from mongokey.transport.tls import ocsp as ocsp_module
from mongokey.transport.tls import responders as tls_responders
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.der import (
    DoubledExtension,
    Malformed,
    elements,
    extensions,
    issuer_of,
    not_after,
    revocation_list,
)
from mongokey.transport.tls.files import read_identity
from mongokey.transport.tls.ocsp import Revocation, Unusable, read_response
from tests.deadlines import timeout_of, within
from tests.protocol.test_ocsp import FAR, REVOKED, respond
from tests.servers.certificates import Authority, Pair, certificate_pem, key_pem, make_name
from tests.servers.tls_server import TLSServer

ACCESS, FEATURES, NAMES = "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24", "2.5.29.17"
# An OID and a value that stand for another extension, of the same length in DER.
PLACE = "1.3.6.1.5.5.7.1.99"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("odd"))


def der_of(content: bytes, tag: int = 0x30) -> bytes:
    size = len(content)
    wide = (size.bit_length() + 7) // 8
    length = bytes([size]) if size < 128 else bytes([0x80 | wide]) + size.to_bytes(wide, "big")
    return bytes([tag]) + length + content


def _encode(dotted: str) -> bytes:
    numbers = [int(each) for each in dotted.split(".")]
    content = bytes([numbers[0] * 40 + numbers[1]])
    for number in numbers[2:]:
        part = [number & 0x7F]
        while number := number >> 7:
            part.append(0x80 | number & 0x7F)
        content += bytes(reversed(part))
    return der_of(content, 0x06)


def with_extensions(
    authority: Authority, *given: tuple[str, bytes], common_name: bytes | None = None
) -> Pair:
    """A server's certificate with extensions as they are given, the doubled and the odd too.

    `cryptography` signs none that is doubled: the signed part is put together here.
    """
    pair = authority.issue("odd", "127.0.0.1")
    whole = pair.certificate.tbs_certificate_bytes
    (_, tbs) = next(iter(_elements(whole)))
    parts = [der_of(content, tag) for tag, content in _elements(tbs) if tag != 0xA3]
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    ).public_bytes()
    every = [(NAMES, names)] if all(name != NAMES for name, _ in given) else []
    body = b"".join(der_of(_encode(name) + der_of(value, 0x04)) for name, value in [*every, *given])
    if common_name is not None:
        parts[5] = der_of(der_of(der_of(_encode("2.5.4.3") + der_of(common_name, 0x0C)), 0x31))
    tbs = der_of(b"".join(parts) + der_of(der_of(body), 0xA3))
    signature = authority.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = parts[2]
    der = der_of(tbs + algorithm + der_of(b"\0" + signature, 0x03))
    return Pair(x509.load_der_x509_certificate(der), pair.key, authority.folder, "odd")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    return elements(data, "it")


def make_tls(authority: Authority, bindings: bool, **options: Any) -> ClientTLS:
    given = ClientOptions.build(
        "localhost", tls=True, tlsCAFile=authority.certificate_file, **options
    ).tls
    return ClientTLS(given, bindings=bindings)


def wrap(tls: ClientTLS, port: int) -> None:
    deadline = within(FAR * 1000)
    plain = connect("127.0.0.1", port, deadline=deadline)
    tls.wrap(plain, "127.0.0.1", deadline).close()


GOOD_ACCESS = der_of(der_of(_encode("1.3.6.1.5.5.7.48.1") + der_of(b"http://127.0.0.1:9/", 0x86)))
UNREADABLE: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "doubled access": ([(ACCESS, GOOD_ACCESS), (ACCESS, GOOD_ACCESS)], f"{ACCESS} is there twice"),
    "doubled unknown": ([("1.2.3.4", b"\5\0"), ("1.2.3.4", b"\5\0")], "1.2.3.4 is there twice"),
    "access is no list": ([(ACCESS, b"\5\0")], f"Information Access ({ACCESS})"),
    "access is empty": ([(ACCESS, b"")], f"Information Access ({ACCESS})"),
    "access is cut": ([(ACCESS, GOOD_ACCESS[:-3])], f"Information Access ({ACCESS})"),
    "access has junk": ([(ACCESS, GOOD_ACCESS + b"x")], f"Information Access ({ACCESS})"),
    "access has numbers": ([(ACCESS, der_of(b"\2\1\5"))], f"Information Access ({ACCESS})"),
    "access is not ASCII": (
        [(ACCESS, GOOD_ACCESS.replace(b"http", b"h\xfctp"))],
        f"Information Access ({ACCESS})",
    ),
    "access has a long length": ([(ACCESS, b"\x30\x88" + b"\xff" * 8)], "Information Access"),
    "features are no list": ([(FEATURES, b"\2\1\5")], f"TLS Feature ({FEATURES})"),
    "features are cut": ([(FEATURES, b"\x30\x03\2\2\5")], f"TLS Feature ({FEATURES})"),
    "features are no numbers": ([(FEATURES, der_of(b"\5\0"))], f"TLS Feature ({FEATURES})"),
    "features are random": ([(FEATURES, b"\x30\x7f" + b"\xff" * 20)], f"TLS Feature ({FEATURES})"),
}


@pytest.mark.parametrize("bindings", [True, False])
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_tells_about_revocation_and_cannot_be_read_ends_the_handshake(
    authority: Authority, case: str, bindings: bool
) -> None:
    given, said = UNREADABLE[case]
    pair = with_extensions(authority, *given)
    with TLSServer(pair.pem, None, "TLSv1_3") as server:
        for _ in range(2):
            with pytest.raises(TLSError) as caught:
                wrap(make_tls(authority, bindings), server.port)
            assert caught.value.reason == "TLS-CERTIFICATE-UNREADABLE"
            assert said in str(caught.value)
            assert caught.value.permanent
        # Who does not check revocation has no use for them.
        wrap(make_tls(authority, bindings, tlsDisableCertificateRevocationCheck=True), server.port)


@pytest.mark.parametrize("bindings", [True, False])
def test_other_oddities_do_not_matter(authority: Authority, bindings: bool) -> None:
    x400 = der_of(der_of(b"", 0xA3) + der_of(bytes([127, 0, 0, 1]), 0x87))
    mail = der_of(der_of("\u00fc@x".encode(), 0x81) + der_of(bytes([127, 0, 0, 1]), 0x87))
    many = b"".join(
        der_of(_encode("1.3.6.1.5.5.7.48.1") + der_of(b"http://127.0.0.1:9/%d" % n, 0x86))
        for n in range(300)
    )
    for given in (
        [(NAMES, x400)],
        [(NAMES, mail)],
        [(PLACE, b"nonsense")],
        [(FEATURES, der_of(b"\2\1\x11"))],
        [(ACCESS, der_of(der_of(_encode("1.3.6.1.5.5.7.48.2") + der_of(b"", 0x86))))],
        [(ACCESS, der_of(der_of(_encode("1.3.6.1.5.5.7.48.1") + der_of(b"http://[::1", 0x86))))],
        [(ACCESS, der_of(der_of(_encode("1.3.6.1.5.5.7.48.1") + der_of(b"http://a:x/", 0x86))))],
        [(ACCESS, der_of(der_of(_encode("1.3.6.1.5.5.7.48.1") + der_of(b"ldap://a/", 0x86))))],
        [(ACCESS, der_of(der_of(_encode("1.3.6.1.5.5.7.48.1") + der_of(b"http://../", 0x86))))],
        [(ACCESS, der_of(many))],
    ):
        pair = with_extensions(authority, *given)
        with TLSServer(pair.pem, None, "TLSv1_3") as server:
            try:
                wrap(make_tls(authority, bindings), server.port)
            except TLSError as error:
                # OpenSSL itself refuses some; what it says is an error of ours all the same.
                assert error.reason.startswith("TLS-CERTIFICATE")  # noqa: PT017


def test_a_certificate_for_another_host_with_odd_names_is_told(authority: Authority) -> None:
    for names in (
        der_of(der_of(b"", 0xA3)),
        der_of(der_of(b"\xff\xfe", 0x82)),
        der_of(der_of(b"\1\2\3", 0x87)),
    ):
        pair = with_extensions(authority, (NAMES, names))
        host_names(pair.certificate.public_bytes(Encoding.DER))
        with TLSServer(pair.pem, None, "TLSv1_3") as server, pytest.raises(TLSError):
            wrap(make_tls(authority, True), server.port)
    assert host_names(b"nonsense") is None
    doubled = with_extensions(authority, (NAMES, der_of(b"")), (NAMES, der_of(b"")))
    assert host_names(doubled.certificate.public_bytes(Encoding.DER)) is None


def test_an_odd_certificate_of_the_client_s_own_is_told(authority: Authority) -> None:
    # A common name that is no UTF-8.
    pair = with_extensions(authority, common_name=b"\xff\xfe")
    path = pair.file(".name.pem", pair.certificate.public_bytes(Encoding.PEM) + key_pem(pair.key))
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_identity(path, None)
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=path).tls
    assert options is not None
    facts = describe_tls(options)
    assert "cannot be read" in facts.authorities[0].subject


def test_a_huge_chain_is_an_error_of_ours_or_fits(authority: Authority) -> None:
    pair = authority.issue("huge", "127.0.0.1")
    more = b"".join(certificate_pem(authority.certificate) for _ in range(400))
    path = pair.file(".huge.pem", certificate_pem(pair.certificate) + more + key_pem(pair.key))
    for bindings in (True, False):
        with TLSServer(path, None, "TLSv1_3") as server:
            with contextlib.suppress(MongoError):
                wrap(make_tls(authority, bindings), server.port)


# DER


def test_no_prefix_and_no_flipped_byte_of_a_certificate_raises_anything_else(
    authority: Authority,
) -> None:
    pair = authority.issue("der", "127.0.0.1", ocsp_url="http://x/", must_staple=True)
    der = pair.certificate.public_bytes(Encoding.DER)
    assert not_after(der) == int(pair.certificate.not_valid_after_utc.timestamp())
    assert issuer_of(der) == authority.certificate.subject.public_bytes()[2:]
    found = {each.oid.dotted_string for each in pair.certificate.extensions}
    assert set(extensions(der)) == found
    rng = random.Random(15)
    for read in (not_after, extensions, issuer_of, revocation_list):
        for size in range(len(der)):
            with contextlib.suppress(Malformed):
                read(der[:size])
        for _ in range(3000):
            flipped = bytearray(der)
            for _ in range(rng.randrange(1, 4)):
                flipped[rng.randrange(len(der))] = rng.randrange(256)
            with contextlib.suppress(Malformed):
                read(bytes(flipped))
    for odd in (b"", b"\x30", b"\x30\x80\0\0", b"\x30\x84\xff\xff\xff\xff", b"\x1f" * 9, b"\x30\0"):
        with pytest.raises(Malformed):
            not_after(odd)


@pytest.mark.parametrize("year", [2049, 2050, 9999])
def test_times_of_either_form(authority: Authority, year: int) -> None:
    end = datetime.datetime(year, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(make_name((NameOID.COMMON_NAME, "x")))
        .issuer_name(authority.certificate.subject)
        .public_key(authority.key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(1950, 1, 1, tzinfo=datetime.timezone.utc))
        .not_valid_after(end)
        .sign(authority.key, hashes.SHA256())
    )
    assert not_after(made.public_bytes(Encoding.DER)) == int(end.timestamp())


def test_doubled_extensions_have_their_own_error(authority: Authority) -> None:
    pair = with_extensions(authority, (PLACE, b"\5\0"), (PLACE, b"\5\0"))
    with pytest.raises(DoubledExtension, match=PLACE):
        extensions(pair.certificate.public_bytes(Encoding.DER))


# Responses


def test_no_flipped_byte_of_a_response_raises_anything_else(authority: Authority) -> None:
    pair = authority.issue("response", "127.0.0.1")
    delegate = authority.issue("delegate", ocsp_signing=True)
    rng = random.Random(16)
    for good in (respond(authority, pair), respond(authority, pair, signer=delegate)):
        for _ in range(1500):
            flipped = bytearray(good)
            for _ in range(rng.randrange(1, 3)):
                flipped[rng.randrange(len(good))] = rng.randrange(256)
            if bytes(flipped) == good:
                continue
            with contextlib.suppress(Unusable):
                answer = read_response(bytes(flipped), pair.certificate, authority.certificate)
                assert answer is None or answer.good


def test_an_old_response_without_an_end_is_refused(authority: Authority) -> None:
    pair = authority.issue("old", "127.0.0.1")
    data = respond(authority, pair, since=datetime.timedelta(days=-8), until=None)
    with pytest.raises(Unusable, match="does not say until when"):
        read_response(data, pair.certificate, authority.certificate)


# Responders


class RawResponder:
    """A responder that does `serve(connection)` to each who comes."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self.ends: list[threading.Event] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            end = threading.Event()
            self.ends.append(end)
            threading.Thread(target=self._one, args=(accepted, end), daemon=True).start()

    def _one(self, accepted: socket.socket, end: threading.Event) -> None:
        try:
            with accepted, contextlib.suppress(OSError):
                accepted.settimeout(FAR)
                # All of it: a close with bytes unread would reset the connection, and the answer
                # with it.
                received = accepted.recv(4096)
                head, _, body = received.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                while length is not None and len(body) < int(length[1]):
                    body += accepted.recv(4096)
                self._serve(accepted)
        finally:
            end.set()

    def __enter__(self) -> RawResponder:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(FAR)


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        connection.sendall(b"0")
        time.sleep(0.05)


def drip_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.05)


def go_on(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"0" * 65536)


def hang(connection: socket.socket) -> None:
    connection.recv(1)


def redirect(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n")


def nonsense(connection: socket.socket) -> None:
    connection.sendall(b"\xff\x00" * 500)


@pytest.mark.parametrize(
    "serve", [drip, drip_headers, go_on, flood, hang, redirect, nonsense], ids=lambda f: f.__name__
)
def test_a_hostile_responder_costs_a_bounded_time_and_no_thread(
    authority: Authority, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocsp_module, "TIMEOUT", timeout_of(500))
    with RawResponder(serve) as responder:
        pair = authority.issue("asked", "127.0.0.1", ocsp_url=responder.url)
        with TLSServer(pair.pem, None, "TLSv1_3") as server:
            started = time.monotonic()
            wrap(make_tls(authority, True), server.port)
            assert time.monotonic() - started < FAR / 2
        deadline = time.monotonic() + FAR
        while any(each.name == "mongokey-ocsp" for each in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Longer than a send may take there: it ends by its own time-out at the latest.
        assert all(end.wait(2 * FAR) for end in responder.ends)


def test_whatever_is_raised_in_a_responder_s_thread_is_no_answer_at_once(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strange(BaseException):
        pass

    def strange(_: bytes) -> None:
        raise Strange

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nx")

    with RawResponder(answer) as responder:
        started = time.monotonic()
        assert (
            tls_responders.ask_responders([responder.url], b"", within(2000 * FAR), strange) is None
        )
        assert time.monotonic() - started < FAR

        def cannot_start(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", cannot_start)
        assert (
            tls_responders.ask_responders([responder.url], b"", within(2000 * FAR), str.upper)
            is None
        )


def test_one_answer_is_enough_and_the_others_are_left(authority: Authority) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nyes")

    with RawResponder(hang) as one, RawResponder(answer) as other:
        found = tls_responders.ask_responders(
            [one.url, other.url], b"?", within(2000 * FAR), bytes.upper
        )
        assert found == b"YES"
        assert one.ends[0].wait(FAR)


def test_who_connects_while_the_others_are_left_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A socket that is not connected yet cannot be shut down: it is looked at once more."""
    connecting, left = threading.Event(), threading.Event()

    class Slow(socket.socket):
        def connect(self, address: Any) -> None:
            connecting.set()
            assert left.wait(FAR)
            super().connect(address)

    with RawResponder(hang) as responder:
        inquiry = tls_responders._Inquiry(b"?", within(2000 * FAR))
        with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
            patch.setattr(socket, "socket", Slow)
            answer = pool.submit(inquiry.post, responder.url)
            assert connecting.wait(FAR)
            inquiry.abandon()
            left.set()
            with pytest.raises(TimeoutError, match="no answer is waited for"):
                answer.result(FAR)


def test_the_collector_may_run_at_any_time_of_a_handshake(authority: Authority) -> None:
    pair = authority.issue("collected", "127.0.0.1", ocsp_url="http://127.0.0.1:9/")
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with TLSServer(pair.pem, None, "TLSv1_3") as server:
            for bindings in (True, False):
                tls = make_tls(authority, bindings)
                for _ in range(3):
                    wrap(tls, server.port)
    finally:
        gc.set_threshold(*before)


def test_what_is_remembered_is_bounded(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocsp_module, "_MOST_QUESTIONS", 3)
    monkeypatch.setattr(ocsp_module, "_MOST_ANSWERS", 3)
    known = Revocation(endpoints=True)
    issuer = authority.certificate.public_bytes(Encoding.DER)
    for number in range(8):
        pair = authority.issue(
            f"many{number}", "127.0.0.1", ocsp_url=f"http://127.0.0.1:9/{number}"
        )
        chain = [pair.certificate.public_bytes(Encoding.DER), issuer]
        assert known.check("peer", chain, None, None, stapling=True) is not None
        known.check("peer", chain, respond(authority, pair), None, stapling=True)
        with pytest.raises(TLSError):
            known.check("peer", chain, respond(authority, pair, REVOKED), None, stapling=True)
    assert max(map(len, (known._questions, known._answers, known._silent))) <= 3
