"""Connections on an asyncio loop over TLS, by both engines: the same errors as blocking ones."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from mongokey.client_options import ClientOptions
from mongokey.connection.establish_aio import open_connection
from mongokey.errors import AutoReconnect, MongoError, NetworkTimeout, ProtocolError, TLSError
from mongokey.transport.tls.context import ClientTLS
from tests.loops import each_loop, logging_in, ms, registered, run, settings
from tests.servers.scripted import Close, Drip, Login, Reply, ScriptedServer, Silence

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PEM files: the authority's certificate, a server's, one of another host, a client's."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    made = {"ca": str(directory / "ca.pem")}
    authority.cert_pem.write_to_path(made["ca"])
    for name, host in (("server", "127.0.0.1"), ("other", "other.example.com")):
        made[name] = str(directory / f"{name}.pem")
        pem = authority.issue_cert(host).private_key_and_cert_chain_pem
        Path(made[name]).write_bytes(pem.bytes())
    return made


@pytest.fixture(params=["openssl", "ssl"])
def tls(request: pytest.FixtureRequest, files: dict[str, str]) -> ClientTLS:
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=files["ca"]).tls
    assert options is not None
    made = ClientTLS(options, bindings=request.param == "openssl")
    assert made.engine == request.param
    return made


def server_context(certificate: str, version: str = "TLSv1_3") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


async def connect(server: ScriptedServer, what: Any) -> Any:
    connection, _ = await open_connection(("127.0.0.1", server.port), what)
    return connection


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_connections_log_in_exchange_and_are_resumed(
    tls: ClientTLS, files: dict[str, str], version: str
) -> None:
    async def main() -> None:
        for number in range(4):
            connection = await connect(server, logging_in(tls=tls))
            for _ in range(3):
                assert (await connection.command("x", {"find": "y"}))["ok"] == 1
            assert connection.stream.engine.resumed == (number > 0)
            assert not connection.stream.stale()
            connection.close()

    context = server_context(files["server"], version)
    with ScriptedServer(tls=context, login=Login(), on={"find": {"ok": 1}}) as server:
        run(main)
        assert server.logins == 4
        assert server.wait_for(lambda: server.open == 0)


def test_messages_of_megabytes_go_both_ways(tls: ClientTLS, files: dict[str, str]) -> None:
    big = b"x" * 9_000_000

    async def main() -> None:
        connection = await connect(server, settings(tls=tls))
        for _ in range(2):
            reply = await connection.command("x", {"echo": big}, ms(60_000).start())
            assert reply["back"] == big
        connection.close()

    context = server_context(files["server"])
    with ScriptedServer(tls=context, on={"echo": Reply({"ok": 1, "back": big})}) as server:
        run(main)
        assert len(server.commands("echo")[-1]["echo"]) == len(big)


def test_a_reply_in_records_of_a_byte_is_put_together(
    tls: ClientTLS, files: dict[str, str]
) -> None:
    async def main() -> None:
        connection = await connect(server, settings(tls=tls))
        assert (await connection.command("x", {"slow": 1}))["a"] == 1
        connection.close()

    on = {"slow": Drip(Reply({"ok": 1, "a": 1}))}
    with ScriptedServer(tls=server_context(files["server"]), on=on) as server:
        run(main)


def test_the_wrong_host_is_refused(tls: ClientTLS, files: dict[str, str]) -> None:
    async def main() -> None:
        with pytest.raises(TLSError, match=r"127\.0\.0\.1"):
            await connect(server, settings(tls=tls))

    with ScriptedServer(tls=server_context(files["other"])) as server:
        run(main)
        assert server.count("hello") == 0


def test_a_server_without_tls_is_an_error_that_says_so(tls: ClientTLS) -> None:
    async def main() -> None:
        with pytest.raises(TLSError):
            await connect(server, settings(tls=tls, connect_timeout=ms(5000)))

    with ScriptedServer() as server:
        server.cut_after = 0
        run(main)


def test_a_client_without_tls_is_told_that_the_server_wants_it(files: dict[str, str]) -> None:
    async def main() -> None:
        with pytest.raises((TLSError, ProtocolError), match="TLS"):
            await connect(server, settings())

    with ScriptedServer(tls=server_context(files["server"])) as server:
        run(main)


def test_one_deadline_bounds_the_handshake_too(tls: ClientTLS) -> None:
    async def main() -> None:
        silent = socket.socket()
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with silent, pytest.raises(NetworkTimeout, match=r"connectTimeoutMS=300"):
            await open_connection(silent.getsockname(), settings(tls=tls, connect_timeout=ms(300)))

    run(main)


def test_a_cancelled_handshake_closes_the_socket(tls: ClientTLS) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def swallow(reader: Any, writer: Any) -> None:
            while await reader.read(1000):
                pass
            closed.set()
            writer.close()

        listener = await asyncio.start_server(swallow, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        task = asyncio.create_task(open_connection(("127.0.0.1", port), settings(tls=tls)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 10)
        listener.close()
        await asyncio.sleep(0.05)

    run(main)


@pytest.mark.parametrize("answer", [Close(), Close(reset=True), Silence()])
def test_the_end_of_a_connection_in_use(tls: ClientTLS, files: dict[str, str], answer: Any) -> None:
    async def main() -> None:
        connection = await connect(server, settings(tls=tls))
        with pytest.raises((AutoReconnect, NetworkTimeout)) as caught:
            await connection.command("x", {"odd": 1}, ms(300).start())
        assert isinstance(caught.value, MongoError)
        assert connection.closed
        assert registered() == []

    with ScriptedServer(tls=server_context(files["server"]), on={"odd": answer}) as server:
        run(main)


def test_a_server_that_closes_an_idle_connection_is_noticed(
    tls: ClientTLS, files: dict[str, str]
) -> None:
    async def main() -> None:
        connection = await connect(server, settings(tls=tls))
        await connection.command("x", {"ping": 1})
        server.close_connections()
        for _ in range(100):
            if connection.closed:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("nobody noticed")

    with ScriptedServer(tls=server_context(files["server"])) as server:
        run(main)
