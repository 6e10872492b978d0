"""Closing a client ends what its threads wait for, and what connections share is made once."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest

from mongokey import MongoClient
from mongokey._support.deadline import Timeout
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.connection import settings as connection_settings
from mongokey.dns import Resolver
from mongokey.errors import InvalidOperation
from mongokey.transport.tls import context as tls_context
from mongokey.transport.tls import ocsp
from tests.pools import drop_connections
from tests.protocol.test_ocsp import Responder, respond
from tests.servers.certificates import Authority
from tests.servers.scripted import Login, ScriptedServer, Silence, primary, secondary
from tests.threads import in_threads

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
#: "Promptly": the polls of a wait come four times a second, and the machine may be busy.
SOON_S = 10.0


def closed_while(client: MongoClient, ready: Callable[[], bool], threads: int = 1) -> None:
    """All threads get InvalidOperation soon after the client is closed."""
    errors: list[Any] = []

    def operate() -> None:
        try:
            errors.append(client["x"]["y"].find_one())
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=operate) for _ in range(threads)]
    for thread in running:
        thread.start()
    ends = time.monotonic() + 30
    while not ready() and time.monotonic() < ends:
        time.sleep(0.01)
    assert ready()
    time.sleep(0.05)
    assert errors == []
    began = time.monotonic()
    client.close()
    for thread in running:
        thread.join(60)
        assert not thread.is_alive()
    assert time.monotonic() - began < SOON_S
    assert [type(each) for each in errors] == [InvalidOperation] * threads
    assert all("after close" in str(each) for each in errors)


@pytest.mark.parametrize("step", ["hello", "hello with login", "saslContinue"])
@pytest.mark.parametrize("threads", [1, 10])
def test_a_server_that_is_silent_in_the_login(step: str, threads: int) -> None:
    """To the monitor, for which all wait, or to a connection of the pool."""
    name = step.split()[0]
    with ScriptedServer(hello=primary(), login=Login(), on={step: Silence()}) as server:
        client = MongoClient(server.uri(connectTimeoutMS=35_000))
        used = step != "hello"
        closed_while(client, lambda: server.count(name, used=used) > 0, threads)
        assert server.wait_for(lambda: server.open == 0, 20)


def test_a_login_that_the_pool_makes_and_those_who_wait_for_it() -> None:
    with ScriptedServer(hello=primary(), login=Login(), on={"find": FOUND}) as server:
        client = MongoClient(server.uri(maxConnecting=2))
        client["x"]["y"].find_one()
        drop_connections(client)
        server.on["saslContinue"] = Silence()
        before = server.count("saslContinue")
        closed_while(client, lambda: server.count("saslContinue") > before, 10)


def test_a_selection_that_finds_nobody() -> None:
    with ScriptedServer(hello=secondary()) as server:
        closed_while(MongoClient(server.uri()), lambda: server.count("hello") > 0, 5)


@pytest.fixture
def full() -> Iterator[tuple[str, int]]:
    """An address at which a connection is neither made nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()
        for each in fill:
            each.close()


def test_a_host_that_does_not_answer(full: tuple[str, int]) -> None:
    closed_while(MongoClient(*full), lambda: True)


@pytest.mark.parametrize("bindings", [True, False])
def test_a_server_that_is_silent_in_the_tls_handshake(
    tmp_path: Any, bindings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either engine."""
    whole = partial(tls_context.ClientTLS, bindings=bindings)
    monkeypatch.setattr(tls_context, "ClientTLS", whole)
    authority = Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        client = MongoClient(*address, tls=True, tlsCAFile=authority.certificate_file)
        assert client._tls.engine == ("openssl" if bindings else "ssl")
        accepted: list[socket.socket] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        thread.start()
        closed_while(client, lambda: bool(accepted))
        thread.join(20)
        accepted[0].close()


@pytest.mark.parametrize("bindings", [True, False])
def test_a_server_that_is_silent_in_the_tls_handshake_of_the_pool(
    tmp_path: Any, bindings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor has found it in order before: who waits less long than a connection may take has
    it do so."""
    whole = partial(tls_context.ClientTLS, bindings=bindings)
    monkeypatch.setattr(tls_context, "ClientTLS", whole)
    authority = Authority(tmp_path)
    right = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    right.load_cert_chain(authority.issue("server", "127.0.0.1").pem)
    handshakes: list[Any] = []

    class SilentLater:
        """The first handshake is done, the others never are."""

        def wrap_socket(self, accepted: socket.socket, server_side: bool) -> Any:
            handshakes.append(accepted)
            if len(handshakes) == 1:
                return right.wrap_socket(accepted, server_side=server_side)
            server.stopping.wait(60)
            raise ConnectionError("it never came")

    server = ScriptedServer(hello=primary(), tls=cast("ssl.SSLContext", SilentLater()))
    with server:
        uri = server.uri(
            tls=True, tlsCAFile=authority.certificate_file, serverSelectionTimeoutMS=15_000
        )
        closed_while(MongoClient(uri), lambda: len(handshakes) > 1, 3)
        assert server.count("hello") == 1


class Forever(OIDCCallback):
    def __init__(self) -> None:
        self.called = threading.Event()
        self.go = threading.Event()

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        self.called.set()
        self.go.wait(30)
        return OIDCCallbackResult("token")


@pytest.mark.parametrize("threads", [1, 5])
def test_a_person_who_does_not_log_in(threads: int) -> None:
    person = Forever()
    with ScriptedServer(hello=primary()) as server:
        client = MongoClient(
            server.uri(),
            authMechanism="MONGODB-OIDC",
            authMechanismProperties={"OIDC_CALLBACK": person},
        )
        closed_while(client, person.called.is_set, threads)
    person.go.set()


def test_a_name_server_that_does_not_answer() -> None:
    """Neither the thread that asks, nor those that wait for what it is told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(30)
        resolver = Resolver(name_servers=["127.0.0.1"], port=silent.getsockname()[1])
        client = MongoClient("mongodb+srv://db.example.test", srv_resolver=resolver, connect=False)
        closed_while(client, lambda: bool(silent.recv(512)), 5)


@pytest.mark.parametrize("bindings", [True, False])
def test_an_ocsp_responder_that_does_not_answer(
    tmp_path: Any, bindings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has answered the monitor, and is asked again for each connection of the pool."""
    whole = partial(tls_context.ClientTLS, bindings=bindings)
    monkeypatch.setattr(tls_context, "ClientTLS", whole)
    # Each is asked for as long as that.
    monkeypatch.setattr(ocsp, "TIMEOUT", Timeout.from_seconds(60.0))
    authority = Authority(tmp_path)
    responder = Responder()
    pair = authority.issue("server", "127.0.0.1", ocsp_url=responder.url)
    go = threading.Event()

    def answer() -> bytes | None:
        if len(responder.requests) > 1:
            go.wait(60)
        return respond(authority, pair, until=None)

    responder.answer = answer
    right = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    right.load_cert_chain(pair.pem)
    right.num_tickets = 0
    right.options |= ssl.OP_NO_TICKET
    with ScriptedServer(hello=primary(), tls=right) as server:
        uri = server.uri(tls=True, tlsCAFile=authority.certificate_file)
        client = MongoClient(uri, connectTimeoutMS=0)
        closed_while(client, lambda: len(responder.requests) > 1, 3)
        go.set()
    responder.close()


def test_a_client_that_is_closed_opens_nothing() -> None:
    with ScriptedServer(hello=primary()) as server:
        client = MongoClient(server.uri())
        client.close()
        with pytest.raises(InvalidOperation):
            client["x"]["y"].find_one()
        assert server.accepted == 0


def test_what_connections_share_is_made_once_by_a_hundred_threads(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    made: list[str] = []

    def counted(module: Any, name: str) -> None:
        original = getattr(module, name)

        def make(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            time.sleep(0.02)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, make)

    counted(tls_context, "ClientTLS")
    counted(connection_settings, "ConnectionSettings")
    client = MongoClient("localhost", tls=True, tlsCAFile=authority.certificate_file)
    shared = in_threads(100, lambda: client._tls)
    assert len({id(each) for each in shared}) == 1
    assert sorted(made) == ["ClientTLS", "ConnectionSettings"]
    client.close()
    gc.collect()
