"""How connections on an asyncio loop come to their server: names, addresses, Unix sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mongokey.connection import step_loop
from mongokey.connection.establish_aio import open_connection
from mongokey.errors import AutoReconnect, ConfigurationError, NetworkTimeout
from mongokey.transport.names import SocketAddress, known_addresses
from tests.loops import each_loop, logging_in, ms, run, settings
from tests.servers.scripted import Login, ScriptedServer

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop"]


def addresses(*hosts: str) -> Callable[[str, int], list[SocketAddress]]:
    """A look-up that finds these addresses, whatever the name."""
    return lambda _, port: [found for host in hosts for found in known_addresses(host, port) or ()]


async def ping(address: Any, **options: Any) -> None:
    connection, _ = await open_connection(address, settings(**options))
    assert (await connection.command("admin", {"ping": 1}))["ok"] == 1
    connection.close()


def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_loop, "look_up", addresses("127.0.0.1", "::1"))
    with ScriptedServer(host="::1") as server:
        run(lambda: ping(("db.example.com", server.port)))


def test_an_address_that_does_not_answer_holds_up_the_next_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as full, ScriptedServer(host="127.0.0.1") as server:
        # The same port of another address, where the queue of connections is full.
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        monkeypatch.setattr(step_loop, "look_up", addresses("127.0.0.2", "127.0.0.1"))
        began = time.monotonic()
        run(lambda: ping(("db.example.com", server.port)))
        assert time.monotonic() - began < 5

        async def alone() -> None:
            with pytest.raises(NetworkTimeout, match=r"timed out after.*connectTimeoutMS=300"):
                await ping(("127.0.0.2", server.port), connect_timeout=ms(300))

        run(alone)
        for each in waiting:
            each.close()


def test_no_address_that_listens_is_an_error_that_names_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_loop, "look_up", addresses("127.0.0.1", "::1"))

    async def main() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with pytest.raises(AutoReconnect, match=rf"127\.0\.0\.1:{port} refused.*::1.*refused"):
                await ping(("db.example.com", port))

    run(main)


def test_a_slow_look_up_holds_up_nobody_and_ends_with_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()

    def slow(host: str, port: int) -> list[SocketAddress]:
        gate.wait(20)
        return []

    monkeypatch.setattr(step_loop, "look_up", slow)

    async def main() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        counting = asyncio.ensure_future(count())
        with pytest.raises(NetworkTimeout, match=r"resolving the host name.*connectTimeoutMS=300"):
            await ping(("db.example.com", 27017), connect_timeout=ms(300))
        counting.cancel()
        assert turns > 5
        cancelled = asyncio.ensure_future(ping(("db.example.com", 27017)))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    try:
        run(main)
    finally:
        gate.set()


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pytest.raises(AutoReconnect, match="cannot be resolved"):
            await ping(("no-such-host.invalid", 27017))

    run(main)


@pytest.mark.parametrize("login", [False, True])
def test_a_unix_socket(tmp_path: Path, login: bool) -> None:
    path = str(tmp_path / "mongodb.sock")

    async def main() -> None:
        made, _ = await open_connection((path, None), logging_in() if login else settings())
        assert (await made.command("admin", {"ping": 1}))["ok"] == 1
        made.close()
        with pytest.raises(AutoReconnect):
            await ping((str(tmp_path / "nobody.sock"), None))

    with ScriptedServer(path=path, login=Login() if login else None) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_a_unix_socket_whose_queue_is_full_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(path)

        async def main() -> None:
            with pytest.raises(NetworkTimeout, match=r"connectTimeoutMS=300"):
                await ping((path, None), connect_timeout=ms(300))

        run(main)
        for each in waiting:
            each.close()


@pytest.mark.parametrize("address", [("", 27017), ("host\0name", 27017), ("localhost", 0)])
def test_what_is_no_address_is_refused(address: Any) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError):
            await ping(address)

    run(main)
