"""Sessions are resumed, counted by the server; MONGODB-X509 in one round trip; renegotiation."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.bindings._rust import _openssl

from mongokey import MongoClient
from mongokey.auth.credential import MongoCredential
from mongokey.client_options import ClientOptions
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import AutoReconnect
from mongokey.transport import connect
from mongokey.transport.tls.context import ClientTLS
from tests.deadlines import within
from tests.servers.certificates import Authority, Pair
from tests.servers.tls_server import TLSServer

FAR = 20.0
VERSIONS = ("TLSv1_2", "TLSv1_3")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("sessions"))


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> tuple[Pair, Pair]:
    return authority.issue("server", "127.0.0.1"), authority.issue("ada", server=False)


@pytest.fixture(params=VERSIONS)
def server(request: Any, authority: Authority, pairs: tuple[Pair, Pair]) -> Iterator[TLSServer]:
    with TLSServer(pairs[0].pem, authority.certificate_file, request.param) as server:
        yield server


def options(authority: Authority, pairs: tuple[Pair, Pair]) -> dict[str, Any]:
    return {
        "tls": True,
        "tlsCAFile": authority.certificate_file,
        "tlsCertificateKeyFile": pairs[1].pem,
    }


def make_settings(
    authority: Authority, pairs: tuple[Pair, Pair], *, bindings: bool = True
) -> ConnectionSettings:
    tls = ClientOptions.build("localhost", **options(authority, pairs)).tls
    credential = MongoCredential("MONGODB-X509", "$external")
    return ConnectionSettings(credential=credential, tls=ClientTLS(tls, bindings=bindings))


def own_context(authority: Authority, pairs: tuple[Pair, Pair]) -> ConnectionSettings:
    """As a user with a context of his own has it."""
    context = ssl.create_default_context(cafile=authority.certificate_file)
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.load_cert_chain(pairs[1].pem)
    tls = ClientOptions.build("localhost", tls=True, ssl_context=context).tls
    credential = MongoCredential("MONGODB-X509", "$external")
    return ConnectionSettings(credential=credential, tls=ClientTLS(tls))


@pytest.mark.parametrize("own", [False, True])
def test_python_s_ssl_resumes_too(
    server: TLSServer, authority: Authority, pairs: tuple[Pair, Pair], own: bool
) -> None:
    settings = (
        own_context(authority, pairs) if own else make_settings(authority, pairs, bindings=False)
    )
    address = ("127.0.0.1", server.port)
    for number in range(5):
        connection, _ = open_connection(address, settings)
        assert connection.stream.resumed == (number > 0)
        connection.close()
    assert (server.counts["handshakes"], server.counts["resumed"]) == (5, 4)
    # Two at once: of TLS 1.3 only one ticket was kept.
    first, second = (open_connection(address, settings)[0] for _ in range(2))
    assert first.stream.resumed
    assert second.stream.resumed
    first.close()
    second.close()


def test_the_last_message_of_a_handshake_goes_with_the_first_bytes(
    server: TLSServer, authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    tls = make_settings(authority, pairs).tls
    deadline = within(FAR * 1000)
    held = tls.wrap(
        connect("127.0.0.1", server.port, timeout=FAR), "127.0.0.1", deadline, hold=True
    )
    # A close says goodbye all the same, and the server has had the whole handshake.
    held.close()
    waited = time.monotonic() + FAR
    while server.counts["handshakes"] < 1:
        assert time.monotonic() < waited
        time.sleep(0.01)


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_key_share_of_the_hybrid_exchange_is_made_only_for_servers_that_may_take_it(
    authority: Authority, pairs: tuple[Pair, Pair], hybrid: bool
) -> None:
    lib, ffi = _openssl.lib, _openssl.ffi
    context = ffi.gc(lib.SSL_CTX_new(lib.TLS_method()), lib.SSL_CTX_free)
    path = pairs[0].pem.encode()
    assert lib.SSL_CTX_use_certificate_chain_file(context, path) == 1
    assert lib.SSL_CTX_use_PrivateKey_file(context, path, lib.SSL_FILETYPE_PEM) == 1
    groups = b"X25519MLKEM768:X25519"
    if lib.SSL_CTX_set1_curves_list(context, groups) != 1:
        lib.ERR_clear_error()
        pytest.skip("this OpenSSL does not have ML-KEM")
    assert lib.SSL_CTX_set1_curves_list(context, groups if hybrid else b"X25519") == 1
    greetings: list[bool] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            accepted, _ = listener.accept()
            # The length of the greeting: a hybrid key share is longer than a kilobyte.
            greetings.append(accepted.recv(5, socket.MSG_PEEK)[3] >= 4)
            conn = lib.SSL_new(context)
            lib.SSL_set_fd(conn, accepted.fileno())
            lib.SSL_set_accept_state(conn)
            buffer = ffi.new("char[]", 100)
            assert lib.SSL_do_handshake(conn) == 1
            lib.SSL_read(conn, buffer, 100)
            lib.ERR_clear_error()
            lib.SSL_free(conn)
            accepted.close()

    serving = threading.Thread(target=serve)
    serving.start()
    tls = make_settings(authority, pairs).tls
    deadline = within(FAR * 1000)
    for _ in range(2):
        stream = tls.wrap(connect(*listener.getsockname(), timeout=FAR), "127.0.0.1", deadline)
        assert stream.group() == ("X25519MLKEM768" if hybrid else "x25519")
        stream.send_all(b"x", deadline)
        stream.close()
    serving.join(FAR)
    listener.close()
    assert greetings == [True, hybrid]


def test_the_second_connection_and_all_after_it_are_resumed(
    server: TLSServer, authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    settings = make_settings(authority, pairs)
    for number in range(10):
        connection, result = open_connection(("127.0.0.1", server.port), settings)
        assert connection.stream.resumed == (number > 0)
        assert (result.mechanism, result.round_trips, result.speculative) == (
            "MONGODB-X509",
            1,
            True,
        )
        connection.close()
    assert server.counts == {"handshakes": 10, "resumed": 9, "isMaster": 10}
    assert settings.tls._context.full_handshakes == 1


def test_two_connections_at_once_have_a_ticket_each(
    authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    settings = make_settings(authority, pairs)
    with TLSServer(pairs[0].pem, authority.certificate_file, "TLSv1_3") as server:
        address = ("127.0.0.1", server.port)
        first, _ = open_connection(address, settings)
        # OpenSSL's servers send two; each is taken and kept.
        assert settings.tls._context.session_count(first.stream.peer) == 2
        opened = [open_connection(address, settings)[0] for _ in range(2)]
        assert server.counts["resumed"] == 2
        for connection in (first, *opened):
            connection.close()


def test_sessions_are_few_however_many_connections_there_are(
    server: TLSServer, authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    settings = make_settings(authority, pairs)
    address = ("127.0.0.1", server.port)
    peer = ""
    for _ in range(8):
        settings.tls._context.forget_sessions()
        connection, _ = open_connection(address, settings)
        peer = connection.stream.peer
        connection.close()
    connections = [open_connection(address, settings)[0] for _ in range(12)]
    assert 1 <= settings.tls._context.session_count(peer) <= 8
    for connection in connections:
        connection.close()


def test_a_server_that_forgot_its_sessions_gets_a_full_handshake(
    authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    settings = make_settings(authority, pairs)
    with TLSServer(pairs[0].pem, authority.certificate_file, "TLSv1_3") as server:
        port = server.port
        open_connection(("127.0.0.1", port), settings)[0].close()
    fresh = TLSServer(pairs[0].pem, authority.certificate_file, "TLSv1_3")
    fresh._listener.close()
    fresh._listener = socket.create_server(("127.0.0.1", port))
    with fresh:
        connection, _ = open_connection(("127.0.0.1", port), settings)
        assert not connection.stream.resumed
        connection.close()
        connection, _ = open_connection(("127.0.0.1", port), settings)
        assert connection.stream.resumed
        connection.close()


def test_a_client_of_many_threads_exchanges_certificates_a_few_times_only(
    server: TLSServer, authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    given = options(authority, pairs)
    uri = f"mongodb://127.0.0.1:{server.port}/?authMechanism=MONGODB-X509"
    with MongoClient(uri, **given) as client:
        barrier = threading.Barrier(16)
        errors: list[Exception] = []

        def work() -> None:
            barrier.wait(FAR)
            try:
                for _ in range(20):
                    client.admin.command("ping")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FAR)
        assert errors == []
        made = client._tls._context
        # maxConnecting is 2: no more than that can start before there is a session.
        assert made.full_handshakes <= 3
        assert made.full_handshakes + made.resumed_handshakes == server.counts["handshakes"]


def test_without_speculation_it_is_one_command_more(
    authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    settings = make_settings(authority, pairs)
    with TLSServer(pairs[0].pem, authority.certificate_file, "TLSv1_3", speculates=False) as server:
        connection, result = open_connection(("127.0.0.1", server.port), settings)
        connection.close()
        assert (result.round_trips, result.speculative) == (2, False)
        assert [next(iter(each)) for each in server.commands] == ["isMaster", "authenticate"]
        hello, authenticate = server.commands
        assert authenticate["$db"] == "$external"
        assert authenticate["mechanism"] == "MONGODB-X509"
        assert "user" not in authenticate
        speculative = hello["speculativeAuthenticate"]
        assert (speculative["authenticate"], speculative["db"]) == (1, "$external")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_use_its_parent_s_tickets(
    authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    settings = make_settings(authority, pairs)
    with TLSServer(pairs[0].pem, authority.certificate_file, "TLSv1_3") as server:
        address = ("127.0.0.1", server.port)
        open_connection(address, settings)[0].close()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                connection, _ = open_connection(address, settings)
                status = 2 if connection.stream.resumed else 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        connection, _ = open_connection(address, settings)
        assert connection.stream.resumed
        connection.close()


def test_renegotiation_is_refused(authority: Authority, pairs: tuple[Pair, Pair]) -> None:
    lib, ffi = _openssl.lib, _openssl.ffi
    context = ffi.gc(lib.SSL_CTX_new(lib.TLS_method()), lib.SSL_CTX_free)
    lib.SSL_CTX_set_max_proto_version(context, 0x0303)
    path = pairs[0].pem.encode()
    assert lib.SSL_CTX_use_certificate_chain_file(context, path) == 1
    assert lib.SSL_CTX_use_PrivateKey_file(context, path, lib.SSL_FILETYPE_PEM) == 1
    outcome: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        accepted, _ = listener.accept()
        conn = lib.SSL_new(context)
        lib.SSL_set_fd(conn, accepted.fileno())
        lib.SSL_set_accept_state(conn)
        buffer = ffi.new("char[]", 100)
        assert lib.SSL_do_handshake(conn) == 1
        lib.SSL_renegotiate(conn)
        lib.SSL_do_handshake(conn)  # sends HelloRequest
        outcome.append(lib.SSL_read(conn, buffer, 100))
        outcome.append(lib.SSL_total_renegotiations(conn))
        lib.ERR_clear_error()
        lib.SSL_free(conn)
        accepted.close()

    serving = threading.Thread(target=serve)
    serving.start()
    tls = make_settings(authority, pairs).tls
    deadline = within(FAR * 1000)
    stream = tls.wrap(connect(*listener.getsockname(), timeout=FAR), "127.0.0.1", deadline)
    # The client answers with the alert no_renegotiation, and the server gives up.
    with pytest.raises(AutoReconnect):
        stream.receive(1, within(2000))
    serving.join(FAR)
    listener.close()
    assert outcome[0] <= 0
