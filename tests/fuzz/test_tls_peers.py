"""A TLS peer that breaks off, or says something else, at any byte: always an error, and soon.

A relay between the client and a sound server cuts or spoils what the server says. Whatever it does,
the client raises an error of mongokey's and closes; it never hangs, crashes, or takes data that
the server did not send.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey.client_options import ClientOptions
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import MongoError
from mongokey.transport.tls.context import ClientTLS
from tests.deadlines import timeout_of
from tests.servers.certificates import Authority
from tests.servers.tls_server import TLSServer

FAR = 20.0
LIMIT_S = 1.0
TRIALS = 40 * int(os.environ.get("MONGOKEY_FUZZ", "1"))

Spoil = Callable[[bytes, int], bytes]


class Relay:
    """Passes one connection on to `port`; `spoil(data, offset)` changes what the server says, and
    ends the connection by leaving some of it out."""

    def __init__(self, port: int, spoil: Spoil) -> None:
        self._port = port
        self._spoil = spoil
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            near, _ = self._listener.accept()
            with near, socket.create_connection(("127.0.0.1", self._port)) as far:
                self._pass_on(near, far)

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        offset = 0
        waits = selectors.DefaultSelector()
        waits.register(near, selectors.EVENT_READ)
        waits.register(far, selectors.EVENT_READ)
        with waits:
            while events := waits.select(FAR):
                for key, _ in events:
                    data: bytes = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is near:
                        far.sendall(data)
                        continue
                    spoilt = self._spoil(data, offset)
                    offset += len(data)
                    near.sendall(spoilt)
                    if len(spoilt) < len(data):
                        return

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(FAR)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("peers"))


@pytest.fixture(scope="module", params=["TLSv1_2", "TLSv1_3"])
def server(request: Any, authority: Authority) -> Iterator[TLSServer]:
    pair = authority.issue("server", "127.0.0.1")
    with TLSServer(pair.pem, None, request.param) as server:
        yield server


@pytest.fixture(params=["openssl", "ssl"])
def settings(request: Any, authority: Authority) -> ConnectionSettings:
    options = ClientOptions.build("h", tls=True, tlsCAFile=authority.certificate_file).tls
    tls = ClientTLS(options, bindings=request.param == "openssl")
    assert tls.engine == request.param
    return ConnectionSettings(
        connect_timeout=timeout_of(LIMIT_S * 1000, "connectTimeoutMS"), tls=tls
    )


def attempt(server: TLSServer, settings: ConnectionSettings, spoil: Spoil) -> MongoError | None:
    """What came of one connection: its error, or None. It ends within its time, well or badly."""
    relay = Relay(server.port, spoil)
    started = time.monotonic()
    try:
        open_connection(("127.0.0.1", relay.port), settings)[0].close()
    except MongoError as error:
        return error
    finally:
        assert time.monotonic() - started < LIMIT_S + 5
        relay.close()
    return None


def whole(server: TLSServer, settings: ConnectionSettings) -> int:
    """How many bytes a server says in a full handshake and its first answer."""
    said = []

    def count(data: bytes, offset: int) -> bytes:
        said.append(offset + len(data))
        return data

    assert attempt(server, settings, count) is None
    return said[-1]


def places(size: int) -> list[int]:
    """The first bytes all, and some of the rest."""
    chosen = random.Random(size)
    return sorted({*range(12), *(chosen.randrange(size) for _ in range(TRIALS))})


def test_a_peer_that_breaks_off_at_any_byte(
    server: TLSServer, settings: ConnectionSettings
) -> None:
    # An ECDSA signature's length varies by a few bytes, and with it where the last byte is.
    size = whole(server, settings) - 16
    for at in places(size):

        def cut(data: bytes, offset: int, at: int = at) -> bytes:
            return data[: max(0, at - offset)]

        assert attempt(server, settings, cut) is not None, at


def test_a_peer_that_says_something_else_at_any_byte(
    server: TLSServer, settings: ConnectionSettings
) -> None:
    size = whole(server, settings)
    for at in places(size):

        def flip(data: bytes, offset: int, at: int = at) -> bytes:
            if not offset <= at < offset + len(data):
                return data
            spoilt = bytearray(data)
            spoilt[at - offset] ^= 0x55
            return bytes(spoilt)

        # A byte that no check covers (a record's old version number) may pass.
        error = attempt(server, settings, flip)
        assert error is None or str(error)


@pytest.mark.parametrize("at", [0, 1, 5, 60, 700])
def test_a_peer_that_goes_on_in_garbage(
    server: TLSServer, settings: ConnectionSettings, at: int
) -> None:
    chosen = random.Random(at)
    for _ in range(4):

        def garbage(data: bytes, offset: int) -> bytes:
            keep = max(0, min(len(data), at - offset))
            return data[:keep] + chosen.randbytes(len(data) - keep)

        assert attempt(server, settings, garbage) is not None
