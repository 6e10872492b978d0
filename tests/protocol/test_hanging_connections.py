"""A new connection that hangs, in TCP, in the middle of a TLS handshake, of hello, or of a login:
an operation that waits for it ends in its time, however that was given."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trustme

import mongokey
from mongokey import MongoClient
from mongokey.errors import MongoError, NetworkTimeout, ServerSelectionTimeoutError
from tests.pools import drop_connections
from tests.servers.scripted import Login, ScriptedServer, primary

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
LIMIT_S = 0.4
#: So much later than its time may an operation end on a machine that has much to do.
LATE_S = 20.0


class Gate:
    """Passes everything on to `port`, until it is told to have new connections hang.

    `cut`: of what the server says on a new connection, only so many bytes come through; None: all.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._listener.getsockname()[1]
        self.cut: int | None = None
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(20)

    def stop_answering(self) -> None:
        """From now on nobody answers who asks to connect: the queue is full, and stays so. Linux
        drops what does not fit, as a dead route does."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        full = socket.socket()
        self._sockets.append(full)
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind(("127.0.0.1", self.port))
        full.listen(0)
        for _ in range(8):
            filler = socket.socket()
            self._sockets.append(filler)
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            for source, sink, cut in ((near, far, None), (far, near, self.cut)):
                thread = threading.Thread(target=self._pass, args=(source, sink, cut), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, cut: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if cut is not None:
                    data = data[:cut]
                    cut -= len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    """The authority's file, and the server's context."""
    path = str(tmp_path_factory.mktemp("tls") / "ca.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return path, context


@contextmanager
def deployment(
    pem: tuple[str, ssl.SSLContext], tls: bool, **options: Any
) -> Iterator[tuple[Gate, MongoClient]]:
    """A server with logins behind a gate, and a client that has been there once."""
    path, context = pem
    with ExitStack() as stack:
        server = stack.enter_context(
            ScriptedServer(
                hello=primary(), login=Login(), on={"find": FOUND}, tls=context if tls else None
            )
        )
        gate = stack.enter_context(Gate(server.port))
        if tls:
            options |= {"tls": True, "tlsCAFile": path}
        uri = server.uri().replace(f":{server.port}", f":{gate.port}")
        client = stack.enter_context(MongoClient(uri, directConnection=True, **options))
        with mongokey.timeout(60):
            client["x"]["y"].find_one()
        yield gate, client


#: How the time is given: the client's options, and the call.
WAYS: dict[str, tuple[dict[str, Any], Any]] = {
    "client": ({"timeoutMS": LIMIT_S * 1000}, lambda things: things.find_one()),
    "call": ({}, lambda things: things.find_one({}, timeout_ms=LIMIT_S * 1000)),
    "block": ({}, lambda things: in_block(things)),
}


def in_block(things: Any) -> Any:
    with mongokey.timeout(LIMIT_S):
        return things.find_one()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("tls", "cut"),
    [
        pytest.param(True, 0, id="TLS, from the beginning"),
        pytest.param(True, 60, id="TLS, in the middle of the handshake"),
        pytest.param(False, 0, id="hello"),
        pytest.param(False, 30, id="in the middle of the reply to hello"),
    ],
)
def test_who_is_silent_is_left_in_time(
    pem: tuple[str, ssl.SSLContext], way: str, tls: bool, cut: int
) -> None:
    options, call = WAYS[way]
    with deployment(pem, tls, **options) as (gate, client):
        drop_connections(client)
        gate.cut = cut
        began = time.monotonic()
        with pytest.raises(NetworkTimeout, match="timeoutMS=400") as caught:
            call(client["x"]["y"])
        assert LIMIT_S / 2 < time.monotonic() - began < LIMIT_S + LATE_S
        assert caught.value.timeout
        # Nothing is held against the server.
        gate.cut = None
        with mongokey.timeout(60):
            assert client["x"]["y"].find_one() == {"_id": 1}


@pytest.mark.parametrize("tls", [False, True])
def test_in_the_middle_of_a_login(pem: tuple[str, ssl.SSLContext], tls: bool) -> None:
    with deployment(pem, tls) as (gate, client):
        # Every place of what the server says until the connection is there, by and by.
        for cut in (200, 500, 1200, 1500):
            drop_connections(client)
            gate.cut = cut
            with contextlib.suppress(MongoError), mongokey.timeout(LIMIT_S):
                began = time.monotonic()
                client["x"]["y"].find_one()
            assert time.monotonic() - began < LIMIT_S + LATE_S
            gate.cut = None
            with mongokey.timeout(60):
                assert client["x"]["y"].find_one() == {"_id": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog hangs only on Linux")
@pytest.mark.parametrize("way", WAYS)
def test_a_connect_that_hangs_is_left_in_time(pem: tuple[str, ssl.SSLContext], way: str) -> None:
    options, call = WAYS[way]
    with deployment(pem, False, **options) as (gate, client):
        drop_connections(client)
        gate.stop_answering()
        began = time.monotonic()
        with pytest.raises(NetworkTimeout, match="timeoutMS=400") as caught:
            call(client["x"]["y"])
        assert LIMIT_S / 2 < time.monotonic() - began < LIMIT_S + LATE_S
        assert caught.value.timeout


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog hangs only on Linux")
@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_was_never_reached(way: str) -> None:
    options, call = WAYS[way]
    with ScriptedServer(hello=primary()) as server, Gate(server.port) as gate:
        gate.stop_answering()
        with MongoClient("127.0.0.1", gate.port, **options) as client:
            began = time.monotonic()
            with pytest.raises(ServerSelectionTimeoutError, match="timeoutMS=400") as caught:
                call(client["x"]["y"])
            assert LIMIT_S / 2 < time.monotonic() - began < LIMIT_S + LATE_S
            assert caught.value.timeout
