"""What a handshake proved ends: sessions are not resumed beyond it, on either way to speak TLS."""

from __future__ import annotations

import datetime
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mongokey.client_options import ClientOptions
from mongokey.errors import TLSError
from mongokey.transport import connect
from mongokey.transport.tls import trust as tls_trust
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.trust import RESUMABLE_S, Trust
from tests.deadlines import within
from tests.protocol.test_ocsp import FAR, HOUR, REVOKED, Responder, StaplingServer, respond
from tests.servers.certificates import Authority, Pair, utc_now
from tests.servers.tls_server import TLSServer

VERSIONS = ("TLSv1_2", "TLSv1_3")
WAYS = ("openssl", "ssl", "own")
SECOND = datetime.timedelta(seconds=1)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def responder() -> Iterator[Responder]:
    made = Responder()
    yield made
    made.close()


class Clock:
    """`time.time`, moved by `by` seconds; the monotonic clock cannot be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by = 0.0
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def make_tls(authority: Authority, way: str, **options: Any) -> ClientTLS:
    if way == "own":
        context = ssl.create_default_context(cafile=authority.certificate_file)
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        given = ClientOptions.build("localhost", tls=True, ssl_context=context, **options).tls
        return ClientTLS(given)
    given = ClientOptions.build(
        "localhost", tls=True, tlsCAFile=authority.certificate_file, **options
    ).tls
    return ClientTLS(given, bindings=way == "openssl")


def greet(tls: ClientTLS, server: Any) -> bool:
    """Connect, exchange a word so that tickets come, close; returns whether it was resumed."""
    deadline = within(FAR * 1000)
    plain = connect("127.0.0.1", server.port, deadline=deadline)
    stream = tls.wrap(plain, "127.0.0.1", deadline)
    stream.send_all(b"word", deadline)
    assert stream.receive(100, deadline) == b"word"
    stream.close()
    resumed: bool = stream.resumed
    return resumed


class EchoServer(TLSServer):
    """A TLS server that echoes."""

    def _serve(self, accepted: Any) -> None:
        try:
            with accepted, self._context.wrap_socket(accepted, server_side=True) as stream:
                while part := stream.recv(100):
                    stream.sendall(part)
        except OSError:
            return


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_without_an_end_lets_nothing_be_resumed(
    authority: Authority, responder: Responder, way: str, version: str
) -> None:
    pair = authority.issue("endless", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair, until=None)
    tls = make_tls(authority, way)
    with EchoServer(pair.pem, None, version) as server:
        assert [greet(tls, server) for _ in range(3)] == [False] * 3
        assert len(responder.requests) == 3
        # The next connection knows that it is revoked by now.
        responder.answer = lambda: respond(authority, pair, REVOKED, until=None)
        for _ in range(4):
            with pytest.raises(TLSError) as caught:
                greet(tls, server)
            assert caught.value.reason == "TLS-CERTIFICATE-REVOKED"


def test_a_staple_without_an_end_lets_nothing_be_resumed(authority: Authority) -> None:
    pair = authority.issue("endless-staple", "127.0.0.1")
    with StaplingServer(pair, respond(authority, pair, until=None)) as server:
        tls = make_tls(authority, "openssl")
        assert [greet(tls, server) for _ in range(3)] == [False] * 3
        assert server.asked == 3


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_a_chain_of_resumptions_ends_with_the_revocation_answer(
    authority: Authority, responder: Responder, clock: Clock, way: str, version: str
) -> None:
    pair = authority.issue("answered", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair, until=600 * SECOND)
    tls = make_tls(authority, way)
    with EchoServer(pair.pem, None, version) as server:
        assert [greet(tls, server) for _ in range(3)] == [False, True, True]
        clock.by = 300
        assert greet(tls, server)
        # Later than the answer, sooner than any other bound; 5 minutes are TLS 1.2's own limit.
        clock.by = 601
        assert not greet(tls, server)
        assert len(responder.requests) == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("revocation", [True, False])
def test_an_expired_certificate_is_not_resumed_however_long_the_chain_of_resumptions(
    authority: Authority, clock: Clock, way: str, version: str, revocation: bool
) -> None:
    pair = authority.issue("brief", "127.0.0.1", until=120 * SECOND)
    tls = make_tls(authority, way, tlsDisableCertificateRevocationCheck=not revocation)
    with EchoServer(pair.pem, None, version) as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        clock.by = 60
        assert [greet(tls, server) for _ in range(2)] == [True, True]
        clock.by = 121
        assert not greet(tls, server)


@pytest.mark.parametrize("way", WAYS)
def test_an_intermediate_authority_that_expires_ends_it_too(
    authority: Authority, clock: Clock, way: str
) -> None:
    between = authority.issue("between", until=120 * SECOND)
    key, now = between.key, utc_now()
    middle = (
        x509.CertificateBuilder()
        .subject_name(between.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 120 * SECOND)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    signer = Authority.__new__(Authority)
    Pair.__init__(signer, middle, key, authority.folder, "between")
    signer.kind = "ec"
    leaf = signer.issue("below", "127.0.0.1")
    chain = leaf.file(".chain.pem", Path(leaf.pem).read_bytes() + middle.public_bytes(Encoding.PEM))
    tls = make_tls(authority, way)
    with EchoServer(chain, None, "TLSv1_3") as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        clock.by = 121
        assert not greet(tls, server)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_there_is_a_fixed_bound_by_either_clock(
    authority: Authority, clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str, version: str
) -> None:
    pair = authority.issue("lasting", "127.0.0.1", until=365 * DAY)
    tls = make_tls(authority, way)
    with EchoServer(pair.pem, None, version) as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        clock.by = RESUMABLE_S + 1
        assert not greet(tls, server)
        assert greet(tls, server)


@pytest.mark.parametrize("way", ["openssl", "ssl"])
def test_a_clock_that_is_set_back_does_not_move_the_bound(
    authority: Authority, clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from mongokey.transport.tls import openssl_engine as _openssl
    from mongokey.transport.tls import ssl_engine as _tls

    pair = authority.issue("set-back", "127.0.0.1")
    for module in (_openssl, _tls):
        monkeypatch.setattr(module, "RESUMABLE_S", 1)
    tls = make_tls(authority, way)
    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        assert not greet(tls, server)
        clock.by = -365 * 86400
        time.sleep(1.05)
        assert not greet(tls, server)


@pytest.mark.parametrize("way", ["openssl", "ssl"])
def test_unchecked_certificates_have_the_fixed_bound_alone(
    authority: Authority, clock: Clock, way: str
) -> None:
    pair = authority.issue("unchecked", "127.0.0.1", until=120 * SECOND)
    with pytest.warns(UserWarning, match="does not check"):
        tls = make_tls(authority, way, tlsAllowInvalidCertificates=True)
    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        clock.by = 121
        assert greet(tls, server)
        clock.by = RESUMABLE_S + 1
        assert not greet(tls, server)


def lists(authority: Authority, until: datetime.timedelta, name: str = "lists") -> str:
    signed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(utc_now() - DAY)
        .next_update(utc_now() + until)
        .sign(authority.key, hashes.SHA256())
    )
    return authority.file(f".{name}.crl", signed.public_bytes(Encoding.PEM))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ["openssl", "ssl"])
def test_a_revocation_list_s_next_update_counts(
    authority: Authority, clock: Clock, way: str, version: str
) -> None:
    pair = authority.issue("listed", "127.0.0.1")
    tls = make_tls(authority, way, tlsCRLFile=lists(authority, 120 * SECOND))
    with EchoServer(pair.pem, None, version) as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        clock.by = 121
        assert not greet(tls, server)


def test_lists_of_a_context_of_one_s_own_are_asked_anew_each_time(authority: Authority) -> None:
    pair = authority.issue("own-lists", "127.0.0.1")
    context = ssl.create_default_context(cafile=authority.certificate_file)
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.load_verify_locations(lists(authority, HOUR))
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    tls = ClientTLS(ClientOptions.build("localhost", tls=True, ssl_context=context).tls)
    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        assert [greet(tls, server) for _ in range(2)] == [False, False]


@pytest.mark.parametrize("way", ["openssl", "ssl"])
def test_after_a_rotation_the_old_certificate_s_end_counts_for_its_sessions(
    authority: Authority, clock: Clock, way: str
) -> None:
    old = authority.issue("rotated", "127.0.0.1", until=120 * SECOND)
    new = authority.issue("rotated-anew", "127.0.0.1")
    tls = make_tls(authority, way)
    with EchoServer(old.pem, None, "TLSv1_3") as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        # The ticket keys stay, so old sessions are taken still.
        server._context.load_cert_chain(new.pem)
        assert greet(tls, server)
        clock.by = 121
        assert not greet(tls, server)
        assert greet(tls, server)


def test_a_silent_responder_holds_no_longer_than_its_pause(
    authority: Authority, clock: Clock
) -> None:
    pair = authority.issue("silent", "127.0.0.1", ocsp_url="http://127.0.0.1:9/")
    tls = make_tls(authority, "openssl")
    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        assert [greet(tls, server) for _ in range(2)] == [False, True]
        clock.by = 31
        assert not greet(tls, server)


def test_a_far_end_does_not_make_an_answer_last(
    authority: Authority, responder: Responder, clock: Clock
) -> None:
    pair = authority.issue("far", "127.0.0.1", ocsp_url=responder.url, until=4000 * DAY)
    responder.answer = lambda: respond(authority, pair, until=3000 * DAY)
    tls = make_tls(authority, "openssl")
    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        greet(tls, server)
        clock.by = 2 * 86400
        greet(tls, server)
        assert len(responder.requests) == 1
        clock.by = 8 * 86400
        greet(tls, server)
        assert len(responder.requests) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("way", ["openssl", "ssl"])
def test_a_child_of_a_fork_starts_with_a_full_handshake_and_its_own_bound(
    authority: Authority, way: str
) -> None:
    pair = authority.issue("forked", "127.0.0.1")
    tls = make_tls(authority, way)
    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        greet(tls, server)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if [greet(tls, server) for _ in range(2)] == [False, True] else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert greet(tls, server)


def test_many_threads_resume_and_none_beyond_the_end(authority: Authority, clock: Clock) -> None:
    pair = authority.issue("threads", "127.0.0.1", until=120 * SECOND)
    tls = make_tls(authority, "openssl")
    results: list[bool] = []

    def work() -> None:
        for _ in range(5):
            results.append(greet(tls, server))

    with EchoServer(pair.pem, None, "TLSv1_3") as server:
        greet(tls, server)
        for expected in (True, False):
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(FAR)
            assert len(results) == 40
            assert any(results) == expected
            results.clear()
            clock.by = 121


# The bounds alone


def test_bounds(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = authority.issue("bounds", until=DAY)
    der = pair.certificate.public_bytes(Encoding.DER)
    root = authority.certificate.public_bytes(Encoding.DER)
    issuer = authority.certificate.subject.public_bytes()
    now = int(time.time())
    content = issuer[2:] if issuer[1] < 0x80 else issuer[3:]
    bound = pytest.approx(now + RESUMABLE_S, abs=5)
    assert Trust(verifies=True).until([der, root], None) == bound
    assert Trust(verifies=True).until([der, root], now + 10) == now + 10
    assert Trust(verifies=True).until([der, root], now + 10**6) == bound
    assert Trust(verifies=True).until([], None) == 0
    assert Trust(verifies=True).until([b"0\x03nonsense"], None) == 0
    assert Trust(verifies=False).until([], None) == bound
    assert Trust(verifies=True, unknown_lists=True).until([der, root], None) == 0
    for known, expected in (
        ([(content, now + 20)], now + 20),
        ([(content, None)], bound),
        ([(content, now + 20), (content, now + 40)], now + 40),
        ([(content, now - 20)], 0),
        ([(content, None), (b"other", now + 10)], bound),
        ([(b"other", now + 10)], now + 10),
        ([(b"other", None)], 0),
    ):
        assert Trust(verifies=True, lists=known).until([der, root], None) == expected
    monkeypatch.setattr(tls_trust, "RESUMABLE_S", 10**6)
    assert Trust(verifies=True).until([der, root], None) == int(
        pair.certificate.not_valid_after_utc.timestamp()
    )
