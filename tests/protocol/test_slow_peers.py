"""Peers that drip: one deadline bounds a message, however many pieces it comes or goes in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from mongokey import MongoClient
from mongokey.client_options import ClientOptions
from mongokey.connection.connection import Connection
from mongokey.errors import NetworkTimeout
from mongokey.transport import connect
from mongokey.transport.tls.context import ClientTLS
from tests.deadlines import timeout_of, within
from tests.servers.scripted import Drip, Reply, ScriptedServer

TIMEOUT_MS = 400
# A message takes many times as long from these peers; a busy machine may add this.
SOON_S = 2.5
FAR_S = 20.0
ENGINES = ["plain", "openssl", "ssl"]

Far = Callable[[Any, threading.Event], None]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def client_tls(engine: str, trusted: str) -> ClientTLS:
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=trusted).tls
    client = ClientTLS(options, bindings=engine == "openssl")
    assert client.engine == engine
    return client


@contextlib.contextmanager
def pair(engine: str, authority: trustme.CA, trusted: str, far: Far) -> Iterator[Any]:
    """A stream to a server whose other end is `far`'s, in a thread of its own."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve() -> None:
            other: Any = listener.accept()[0]
            if engine != "plain":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                authority.issue_cert("127.0.0.1").configure_cert(context)
                other = context.wrap_socket(other, server_side=True)
            with other, contextlib.suppress(OSError):
                far(other, ended)

        serving = threading.Thread(target=serve)
        serving.start()
        stream = connect(*listener.getsockname(), timeout=FAR_S)
        try:
            if engine != "plain":
                deadline = within(FAR_S * 1000)
                stream = client_tls(engine, trusted).wrap(stream, "127.0.0.1", deadline)
            stream.set_timeout(timeout_of(TIMEOUT_MS, "socketTimeoutMS"))
            yield stream
        finally:
            stream.close()
            ended.set()
            serving.join(FAR_S)


@contextlib.contextmanager
def times_out() -> Iterator[None]:
    began = time.monotonic()
    with pytest.raises(NetworkTimeout, match=f"socketTimeoutMS={TIMEOUT_MS}") as caught:
        yield
    took = time.monotonic() - began
    assert TIMEOUT_MS / 1000 * 0.9 < took < SOON_S, caught.value


def drip(other: Any, ended: threading.Event) -> None:
    """Answer with a message of 120 bytes, one each 0.1 s."""
    request = other.recv(65536)
    head = struct.pack("<iiii", 120, 1, struct.unpack_from("<i", request, 4)[0], 2013)
    for byte in head + bytes(104):
        other.sendall(bytes([byte]))
        if ended.wait(0.1):
            return


def sip(other: Any, ended: threading.Event) -> None:
    """Take a little at a time, so that the writer goes on and on."""
    while not ended.wait(0.05):
        other.recv(2048)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reply_that_drips_ends_in_time(engine: str, authority: trustme.CA, trusted: str) -> None:
    with pair(engine, authority, trusted, drip) as stream:
        connection = Connection(stream, ("127.0.0.1", 1))
        with times_out():
            connection.command("admin", {"ping": 1})
        assert connection.closed


@pytest.mark.parametrize("engine", ENGINES)
def test_a_write_that_is_taken_drop_by_drop_ends_in_time(
    engine: str, authority: trustme.CA, trusted: str
) -> None:
    with pair(engine, authority, trusted, sip) as stream, times_out():
        stream.send_all(bytes(40_000_000))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_large_reply_that_flows_is_read_within_the_timeout(
    engine: str, authority: trustme.CA, trusted: str
) -> None:
    """Many reads in one message, each of which has what is left."""
    size = 1_000_000

    def flood(other: Any, ended: threading.Event) -> None:
        request = other.recv(65536)
        document = struct.pack("<i", size) + b"\x05x\0" + struct.pack("<iB", size - 13, 0)
        document += bytes(size - len(document))
        head = struct.pack("<iiii", 21 + size, 1, struct.unpack_from("<i", request, 4)[0], 2013)
        other.sendall(head + bytes(5) + document)
        ended.wait(FAR_S)

    with pair(engine, authority, trusted, flood) as stream:
        stream.set_timeout(timeout_of(FAR_S * 1000))
        answer = Connection(stream, ("127.0.0.1", 1)).command("admin", {"ping": 1})
    assert len(answer["x"]) == size - 13


@pytest.mark.parametrize("engine", ["openssl", "ssl"])
def test_a_handshake_that_drips_ends_in_time(engine: str, trusted: str) -> None:
    """Without a deadline of its own the handshake is bounded by the stream's timeout."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            other, _ = listener.accept()
            with other, contextlib.suppress(OSError):
                other.recv(65536)
                for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
                    other.sendall(bytes([byte]))
                    if ended.wait(0.1):
                        return

        serving = threading.Thread(target=serve)
        serving.start()
        stream = connect(*listener.getsockname(), timeout=FAR_S)
        stream.set_timeout(timeout_of(TIMEOUT_MS, "socketTimeoutMS"))
        with times_out():
            client_tls(engine, trusted).wrap(stream, "127.0.0.1", None)
        ended.set()
        serving.join(FAR_S)


@pytest.mark.parametrize("engine", ["openssl", "ssl"])
def test_a_close_does_not_wait_for_a_peer_that_does_not_read(
    engine: str, authority: trustme.CA, trusted: str
) -> None:
    def deaf(other: Any, ended: threading.Event) -> None:
        ended.wait(FAR_S)

    with pair(engine, authority, trusted, deaf) as stream:
        with times_out():
            stream.send_all(bytes(40_000_000))
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < SOON_S


def test_a_command_to_a_server_that_drips_ends_in_time() -> None:
    with (
        ScriptedServer(on={"ping": Drip(Reply(), pause=0.3)}) as server,
        MongoClient(server.uri(socketTimeoutMS=TIMEOUT_MS)) as client,
    ):
        with times_out():
            client.admin.command("ping")
        server.on["ping"] = Reply({"ok": 1.0, "well": True})
        assert client.admin.command("ping")["well"]


def test_a_deadline_of_the_call_bounds_a_message_too(authority: trustme.CA, trusted: str) -> None:
    """connectTimeoutMS, over a login."""
    with pair("plain", authority, trusted, drip) as stream:
        stream.set_timeout(None)
        with times_out():
            Connection(stream, ("127.0.0.1", 1)).command(
                "admin", {"ping": 1}, within(TIMEOUT_MS, "socketTimeoutMS")
            )
