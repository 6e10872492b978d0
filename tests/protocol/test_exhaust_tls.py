"""Exhaust cursors over TLS, by both engines: batches that come unasked for, in records that hold
several of them or a part of one, what is left of a stream, and a server that dies in one."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mongokey import MongoClient
from mongokey.cursor import CursorType
from mongokey.errors import AutoReconnect, NetworkTimeout
from mongokey.transport.tls import openssl_context
from tests.protocol.test_exhaust import FIRST, MORE_TO_COME, batch, connections, stream
from tests.servers.scripted import (
    Close,
    Raw,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    primary,
)

EXHAUST = {"cursor_type": CursorType.EXHAUST}


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """One for each test: clients of the same material may share a context."""
    path = str(tmp_path / "ca.pem")
    made = trustme.CA()
    made.cert_pem.write_to_path(path)
    return made, path


@pytest.fixture
def context(authority: tuple[trustme.CA, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(params=["openssl", "ssl"])
def options(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    authority: tuple[trustme.CA, str],
) -> dict[str, Any]:
    """The options of a client whose TLS goes by that engine."""
    if request.param == "ssl":
        # As where the bindings do not fit.
        monkeypatch.setattr(openssl_context, "make_openssl_context", lambda *_, **__: None)
    return {"tls": True, "tlsCAFile": authority[1]}


@pytest.fixture
def serve(context: ssl.SSLContext) -> Iterator[Any]:
    servers: list[ScriptedServer] = []

    def start(getmore: Any) -> ScriptedServer:
        made = ScriptedServer(hello=primary(), on={"find": FIRST, "getMore": getmore}, tls=context)
        servers.append(made.__enter__())
        return made

    yield start
    for each in servers:
        each.__exit__(None, None, None)


def large(request: Request) -> Any:
    """Six batches of 300 kB, each of many records; their last bytes come with the next one."""
    messages = b""
    for number in range(1, 7):
        document = batch(number, 0 if number == 6 else 7)
        document["cursor"]["nextBatch"][0]["text"] = "x" * 300_000
        flags = 0 if number == 6 else MORE_TO_COME
        response_to = None if number == 1 else 999 + number
        reply = Reply(document, flags=flags, response_to=response_to)
        messages += reply.to_bytes(request, 1000 + number)
    size = 77_777
    return [Raw(messages[at : at + size]) for at in range(0, len(messages), size)]


def small(request: Request) -> Any:
    """Nine batches in one record."""
    return Raw(b"".join(each.data for each in stream(9)(request)))


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        pytest.param(stream(5), 6, id="a record for each"),
        pytest.param(small, 10, id="one record for all"),
        pytest.param(large, 7, id="many records for each"),
    ],
)
def test_several_batches(serve: Any, options: dict[str, Any], answer: Any, count: int) -> None:
    server = serve(answer)
    with MongoClient(server.uri(), **options) as client:
        for _ in range(2):
            found = client.x.y.find(**EXHAUST).to_list()
            assert [each["_id"] for each in found] == list(range(count))
        assert server.count("getMore") == 2
        # The connection is as good as before: nothing of the stream is left in it.
        assert client.admin.command("ping") == {"ok": 1.0}
        assert connections(server, "ping") == connections(server, "getMore")


def test_another_command_has_a_connection_of_its_own(serve: Any, options: dict[str, Any]) -> None:
    server = serve(stream(50))
    with MongoClient(server.uri(), **options) as client:
        cursor = client.x.y.find(**EXHAUST)
        assert [cursor.next()["_id"] for _ in range(3)] == [0, 1, 2]
        assert client.admin.command("ping") == {"ok": 1.0}
        assert connections(server, "ping").isdisjoint(connections(server, "getMore"))
        assert [each["_id"] for each in cursor] == list(range(3, 51))


@pytest.mark.parametrize("answer", [stream(3, ends=False), large])
def test_an_early_close(serve: Any, options: dict[str, Any], answer: Any) -> None:
    server = serve(answer)
    with MongoClient(server.uri(), **options) as client:
        cursor = client.x.y.find(**EXHAUST)
        assert [cursor.next()["_id"], cursor.next()["_id"]] == [0, 1]
        before = connections(server, "getMore")
        cursor.close()
        assert not cursor.alive
        assert client.admin.command("ping") == {"ok": 1.0}
        assert server.wait_for(lambda: not before & set(server._connections), timeout=20)
        assert connections(server, "ping").isdisjoint(before)
        assert server.count("killCursors") == 0


@pytest.mark.parametrize("in_a_message", [False, True])
def test_a_server_that_dies_in_a_stream(
    serve: Any, options: dict[str, Any], in_a_message: bool
) -> None:
    def answer(request: Request) -> Any:
        messages = stream(2, ends=False)(request)
        if in_a_message:
            whole = Reply(batch(3), flags=MORE_TO_COME, response_to=1002)
            messages.append(Raw(whole.to_bytes(request, 1003)[:40]))
        return [*messages, Close()]

    server = serve(answer)
    with MongoClient(server.uri(), **options) as client:
        cursor = client.x.y.find(**EXHAUST)
        assert [cursor.next()["_id"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(AutoReconnect):
            cursor.next()
        assert not cursor.alive
        cursor.close()
        assert client.admin.command("ping") == {"ok": 1.0}


def test_a_server_that_falls_silent_in_a_stream(serve: Any, options: dict[str, Any]) -> None:
    def answer(request: Request) -> Any:
        return [*stream(2, ends=False)(request), Silence()]

    server = serve(answer)
    with MongoClient(server.uri(), **options) as client:
        cursor = client.x.y.find(timeout_ms=400, timeout_mode="iteration", **EXHAUST)
        assert [cursor.next()["_id"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(NetworkTimeout, match="timeoutMS=400") as caught:
            cursor.next()
        assert caught.value.timeout
        cursor.close()
        assert client.admin.command("ping") == {"ok": 1.0}
