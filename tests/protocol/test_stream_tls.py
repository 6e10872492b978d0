"""Streams over TLS: the same bytes, deadlines, ends and errors as plain ones."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
import trustme

from mongokey.client_options import ClientOptions
from mongokey.errors import AutoReconnect, NetworkTimeout, TLSError
from mongokey.transport import SocketStream, SSLStream, connect, wrap_tls
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.openssl_stream import OpenSSLStream
from tests.deadlines import timeout_of, within
from tests.servers.certificates import Authority

MS = 1_000_000
FAR = 20.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> str:
    """A PEM file with a key, its certificate for localhost and 127.0.0.1, and the authority's."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    return str(path)


@pytest.fixture(params=["ssl", "openssl"])
def engine(request) -> str:
    """Which of the two ways the client's TLS goes."""
    return request.param


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def contexts(request, certificate, engine):
    """A client's ClientTLS and a server's context, which speaks one version."""
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=certificate).tls
    client = ClientTLS(options, bindings=engine == "openssl")
    assert client.engine == engine
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.minimum_version = server.maximum_version = ssl.TLSVersion[request.param]
    return client, server


def make_tls_pair(contexts, hostname="127.0.0.1", deadline=None):
    client, server = contexts
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = connect(*listener.getsockname(), timeout=FAR)
        accepted, _ = listener.accept()
    accepted.settimeout(FAR)
    far = []

    def serve():
        try:
            far.append(server.wrap_socket(accepted, server_side=True))
        except OSError:
            # The client's side of the test says what went wrong.
            accepted.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        stream = client.wrap(plain, hostname, deadline)
    finally:
        serving.join(FAR)
    assert plain.closed
    return stream, far[0]


@contextlib.contextmanager
def tls_pair(contexts, deadline=None):
    stream, far = make_tls_pair(contexts, deadline=deadline)
    with far:
        yield stream, far
    stream.close()


def receive_exactly(sock, size, pause=0.0):
    chunks = []
    while size:
        chunk = sock.recv(min(size, 1 << 16))
        assert chunk
        chunks.append(chunk)
        size -= len(chunk)
        time.sleep(pause)
    return b"".join(chunks)


def test_bytes_go_both_ways(contexts):
    with tls_pair(contexts, deadline=within(10_000)) as (stream, far):
        assert isinstance(stream, SSLStream if contexts[0].engine == "ssl" else OpenSSLStream)
        assert stream.peer.startswith("127.0.0.1:")
        version = (stream.ssl_object if contexts[0].engine == "ssl" else stream).version()
        assert version == contexts[1].maximum_version.name.replace("_", ".")
        stream.send_all(b"question")
        assert far.recv(100) == b"question"
        far.sendall(b"answer")
        assert stream.receive(100) == b"answer"
        far.sendall(b"answer")
        assert stream.receive(4, within(10_000)) == b"answ"
        assert stream.receive(4) == b"er"


def test_a_big_write_reaches_a_slow_reader_whole(contexts):
    data = os.urandom(1 << 20) * 10
    received = []
    with tls_pair(contexts) as (stream, far):
        reader = threading.Thread(
            target=lambda: received.append(receive_exactly(far, len(data), 0.0005))
        )
        reader.start()
        stream.send_all(data)
        reader.join(FAR)
    assert received == [data]


@pytest.mark.parametrize("own", [True, False])
def test_a_silent_server_ends_in_a_timeout(contexts, own):
    with tls_pair(contexts) as (stream, _):
        if own:
            stream.set_timeout(timeout_of(150, "socketTimeoutMS"))
        text = "socketTimeoutMS" if own else "connectTimeoutMS"
        started = time.monotonic()
        with pytest.raises(NetworkTimeout, match=rf"server's answer \({text}=150\)"):
            stream.receive(10, None if own else within(150, "connectTimeoutMS"))
        assert 0.14 <= time.monotonic() - started < FAR / 2
        assert stream.closed


def test_a_timeout_says_how_long_the_whole_operation_waited(contexts):
    with tls_pair(contexts) as (stream, far):
        deadline = within(400)
        sending = threading.Timer(0.2, far.sendall, [b"."])
        sending.start()
        assert stream.receive(10, deadline) == b"."
        with pytest.raises(NetworkTimeout) as caught:
            stream.receive(10, deadline)
        sending.join(FAR)
    waited = float(str(caught.value).partition("timed out after ")[2].partition(" s")[0])
    # Since the first wait, not since the byte that came 0.2 s later.
    assert 0.3 <= waited < FAR


def test_a_server_that_drips_does_not_outlive_the_deadline(contexts):
    over = threading.Event()
    with tls_pair(contexts) as (stream, far):

        def drip():
            while not over.wait(0.01):
                try:
                    far.sendall(b".")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        started = time.monotonic()
        deadline = within(300)

        def read_on():
            while True:
                stream.receive(1, deadline)

        with pytest.raises(NetworkTimeout):
            read_on()
        elapsed = time.monotonic() - started
        over.set()
        dripping.join(FAR)
        assert 0.29 <= elapsed < FAR / 2


def test_a_server_that_takes_no_data_ends_in_a_timeout(contexts):
    with tls_pair(contexts) as (stream, _):
        with pytest.raises(NetworkTimeout, match="waiting for the server to take data"):
            stream.send_all(bytes(30 << 20), within(150))
        assert stream.closed


@pytest.mark.parametrize("orderly", [True, False])
def test_an_end_of_the_stream_raises_at_once(contexts, orderly):
    with tls_pair(contexts) as (stream, far):
        if orderly:
            far.setblocking(False)
            # Sends the closing alert, and does not wait for the client's.
            with contextlib.suppress(ssl.SSLWantReadError):
                far.unwrap()
        else:
            far.shutdown(socket.SHUT_RDWR)
        with pytest.raises(AutoReconnect, match="closed by the server"):
            stream.receive(10)
        assert stream.closed


def test_a_silent_server_in_the_handshake_ends_in_the_deadline(contexts):
    near, far = socket.socketpair()
    with far:
        stream = SocketStream(near.detach(), "server:27017")
        started = time.monotonic()
        expected = r"^server:27017: .*\(connectTimeoutMS=150\)"
        with pytest.raises(NetworkTimeout, match=expected) as caught:
            contexts[0].wrap(stream, "localhost", within(150, "connectTimeoutMS"))
        assert "likely this port does not speak TLS; remove tls=true" in str(caught.value)
        assert 0.14 <= time.monotonic() - started < FAR / 2
        assert stream.closed


def test_a_server_that_speaks_no_tls_is_told(contexts):
    near, far = socket.socketpair()
    with far:
        far.sendall(b"I am a MongoDB server without TLS.")
        stream = SocketStream(near.detach(), "server:27017")
        with pytest.raises(TLSError, match=r"^server:27017: TLS handshake failed: ") as caught:
            contexts[0].wrap(stream, "localhost", within(10_000))
        assert (caught.value.reason, caught.value.permanent) == ("TLS-NOT-SPOKEN", True)


def test_a_server_that_is_gone_before_the_handshake_is_told(contexts):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = connect(*listener.getsockname(), timeout=FAR)
        listener.accept()[0].close()
    with pytest.raises(AutoReconnect):
        contexts[0].wrap(stream, "localhost", within(10_000))


def test_a_wrong_host_name_is_told(contexts):
    with pytest.raises(TLSError, match=r"TLS handshake failed: .*'example\.com'") as caught:
        make_tls_pair(contexts, hostname="example.com")
    assert (caught.value.reason, caught.value.permanent) == ("TLS-HOST-NAME", True)


def test_an_authority_that_only_has_a_trusted_one_s_name_is_told(engine, tmp_path):
    """As after a rotation: the keys differ, the names do not."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=one.certificate_file).tls
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(two.issue("server", "127.0.0.1").pem)
    with pytest.raises(TLSError, match="certificate signature failure") as caught:
        make_tls_pair((ClientTLS(options, bindings=engine == "openssl"), server))
    assert (caught.value.reason, caught.value.permanent) == ("TLS-CERTIFICATE", True)


def test_a_context_that_wants_a_host_name_says_so_and_leaks_nothing():
    near, far = socket.socketpair()
    far.settimeout(FAR)
    with far:
        with pytest.raises(ValueError, match="server_hostname"):
            wrap_tls(
                SocketStream(near.detach(), "server:27017"), ssl.create_default_context(), None
            )
        assert far.recv(1) == b""


def test_session_tickets_do_not_make_a_stream_stale_but_data_and_ends_do(contexts):
    with tls_pair(contexts) as (stream, far):
        # With TLS 1.3 two tickets lie unread in the socket now.
        assert not stream.stale()
        assert not stream.stale()
        far.sendall(b"?")
        time.sleep(0.05)
        assert stream.stale()
    with tls_pair(contexts) as (stream, far):
        far.shutdown(socket.SHUT_RDWR)
        assert stream.stale()
    assert stream.stale()


@pytest.mark.parametrize("what", ["read", "write"])
def test_a_close_by_another_thread_ends_a_wait(contexts, what):
    with tls_pair(contexts) as (stream, _):
        number = stream.fileno()
        closer = threading.Timer(0.1, stream.close)
        closer.start()
        act, argument = (
            (stream.receive, 1) if what == "read" else (stream.send_all, bytes(30 << 20))
        )
        with pytest.raises(AutoReconnect):
            act(argument)
        closer.join(FAR)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_close_in_a_forked_child_leaves_the_parents_connection_alone(certificate, engine):
    script = f"""
import os, socket, ssl, threading, warnings
from mongokey.client_options import ClientOptions
from mongokey.transport import connect
from mongokey.transport.tls.context import ClientTLS
options = ClientOptions.build("localhost", tls=True, tlsCAFile={certificate!r}).tls
client = ClientTLS(options, bindings={engine == "openssl"})
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain({certificate!r})
with socket.create_server(("127.0.0.1", 0)) as listener:
    plain = connect(*listener.getsockname(), timeout=10)
    accepted, _ = listener.accept()
far = []
t = threading.Thread(target=lambda: far.append(server.wrap_socket(accepted, server_side=True)))
t.start()
stream = client.wrap(plain, "localhost", None)
t.join()
warnings.simplefilter("ignore", DeprecationWarning)
pid = os.fork()
if pid == 0:
    stream.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
stream.send_all(b"ping")
assert far[0].recv(10) == b"ping"
far[0].sendall(b"pong")
assert stream.receive(10) == b"pong"
print("intact")
far[0].close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=FAR,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert (done.stdout, done.stderr) == ("intact\n", "")


def test_a_stream_that_is_forgotten_closes_without_a_warning(contexts):
    stream, far = make_tls_pair(contexts)
    number = stream.fileno()
    del stream
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    far.close()


def test_tls_streams_are_only_made_by_their_functions():
    for kind, function in ((SSLStream, "wrap_tls"), (OpenSSLStream, "wrap_openssl")):
        with pytest.raises(TypeError, match="positional arguments"):
            kind()
        near, far = socket.socketpair()
        with far:
            with pytest.raises(TypeError, match=function):
                kind(near.detach(), "server:27017")


def test_a_close_is_said_to_the_server(contexts):
    stream, far = make_tls_pair(contexts)
    stream.close()
    # An end without close_notify would raise here.
    far.suppress_ragged_eofs = False
    with far:
        assert far.recv(10) == b""


def test_a_half_closed_connection_is_stale(contexts):
    with tls_pair(contexts) as (stream, far):
        far.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            far.unwrap()
        deadline = time.monotonic() + FAR
        while not stream.stale():
            assert time.monotonic() < deadline


def test_a_signal_handler_that_raises_ends_the_wait(contexts):
    class Interrupted(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with tls_pair(contexts) as (stream, _):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interrupted):
                stream.receive(1)
            assert stream.closed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
