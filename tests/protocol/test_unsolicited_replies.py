"""Replies that nobody asked for: a ProtocolError, a closed connection, and never a wrong answer."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient, wire
from mongokey.errors import ProtocolError
from mongokey.wire import encode_message
from tests.servers.scripted import Reply, Request, ScriptedServer, in_turn

MORE_TO_COME = 1 << 1
RIGHT = {"ok": 1.0, "right": True}
SMUGGLED = {"ok": 1.0, "smuggled": True}


def then_fails(answer: Any, message: str) -> None:
    """The command that is answered so fails, its connection is closed, and the next one has its
    own answer, on another connection."""
    with (
        ScriptedServer(on={"ping": in_turn(answer, Reply(RIGHT))}) as server,
        MongoClient(server.uri()) as client,
    ):
        with pytest.raises(ProtocolError, match=message):
            client.admin.command("ping")
        assert client.admin.command("ping") == RIGHT
        pings = [each.connection for each in server.requests if each.name == "ping"]
        assert len(set(pings)) == 2


def test_more_to_come_that_nobody_asked_for() -> None:
    then_fails(Reply(SMUGGLED, flags=MORE_TO_COME), "moreToCome")


def test_more_to_come_with_the_next_reply_behind_it() -> None:
    """The reply to the request that would come next, as far as the server can guess its number."""

    def both(request: Request) -> Reply:
        following = encode_message(SMUGGLED, request_id=8, response_to=request.request_id + 1)
        return Reply(RIGHT, flags=MORE_TO_COME, append=following)

    then_fails(both, "moreToCome")


def test_bytes_after_a_reply() -> None:
    def both(request: Request) -> Reply:
        following = encode_message(SMUGGLED, request_id=8, response_to=request.request_id + 1)
        return Reply(RIGHT, append=following)

    then_fails(both, "bytes after its reply")


@pytest.mark.parametrize("distance", [-1, 1, 2, 1000])
def test_an_answer_to_another_request(distance: int) -> None:
    def wrong(request: Request) -> Reply:
        return Reply(SMUGGLED, response_to=(request.request_id + distance) & 0x7FFFFFFF)

    then_fails(wrong, "answers request")


@pytest.mark.parametrize("opcode", [0, 2, 2001, 2004, 2010, 2011, 2014, -1])
def test_another_opcode(opcode: int) -> None:
    then_fails(Reply(SMUGGLED, opcode=opcode), "unexpected opcode|invalid wire message")


def test_a_compressed_reply() -> None:
    body = struct.pack("<iiB", 2013, 5, 0) + bytes(5)
    then_fails(Reply(body=body, opcode=2012), "OP_COMPRESSED")


@pytest.mark.parametrize("flags", [0, 8, 2])
def test_the_reply_of_old_to_a_message_of_today(flags: int) -> None:
    """OP_REPLY answers OP_QUERY only; its flags mean other things than OP_MSG's."""

    def old(request: Request) -> Reply:
        document = encode_message(SMUGGLED)[21:]
        return Reply(opcode=1, body=struct.pack("<iqii", flags, 0, 0, 1) + document)

    then_fails(old, "opcode 1")


@pytest.mark.parametrize("bit", [2, 5, 15])
def test_a_required_flag_that_is_not_known(bit: int) -> None:
    then_fails(Reply(SMUGGLED, flags=1 << bit), "unknown required flag bits")


def test_a_wrong_checksum() -> None:
    then_fails(Reply(SMUGGLED, checksum=False), "CRC-32C")


@pytest.mark.parametrize("bit", [16, 17, 31])
def test_optional_flags_are_ignored(bit: int) -> None:
    with (
        ScriptedServer(on={"ping": Reply(RIGHT, flags=1 << bit, checksum=True)}) as server,
        MongoClient(server.uri()) as client,
    ):
        assert client.admin.command("ping") == RIGHT
        assert client.admin.command("ping") == RIGHT
        assert server.used == 1


class Interloper:
    """A server that sends a reply more, a moment after the right one: while the connection lies
    idle in the pool. `number` says which request that one answers."""

    def __init__(self, number: Callable[[int], int]) -> None:
        self.number = number
        self.sent = threading.Event()
        self.pinged = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Interloper:
        self.start(self.accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.threads:
            each.join(10)

    def start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self.threads.append(thread)
        thread.start()

    def accept(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.start(self.serve, one)

    def serve(self, one: socket.socket) -> None:
        hello = {"ok": 1.0, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21}
        pinged = False
        with one, contextlib.suppress(ConnectionError):
            while data := one.recv(65536):
                number = struct.unpack_from("<i", data, 4)[0]
                is_hello = b"isMaster" in data
                if b"ping" in data and not pinged:
                    pinged = True
                    self.pinged += 1
                answer = hello if is_hello else RIGHT
                one.sendall(encode_message(answer, request_id=1, response_to=number))
                if b"ping" in data and not self.sent.is_set():
                    time.sleep(0.05)
                    one.sendall(
                        encode_message(SMUGGLED, request_id=2, response_to=self.number(number))
                    )
                    time.sleep(0.05)
                    self.sent.set()


@pytest.mark.parametrize("idle_s", [0.0, 1.2])
def test_what_came_while_the_connection_was_idle_answers_nothing(idle_s: float, face: str) -> None:
    """Soon the reply is found to answer another request; later its bytes are seen beforehand, as
    an event loop sees them at once."""
    with (
        Interloper(lambda number: 0x12345678) as server,
        MongoClient("127.0.0.1", server.listener.getsockname()[1]) as client,
    ):
        assert client.admin.command("ping") == RIGHT
        assert server.sent.wait(10)
        time.sleep(idle_s)
        if idle_s == 0.0 and face == "blocking":
            with pytest.raises(ProtocolError, match="answers request 305419896"):
                client.admin.command("ping")
        answer = client.admin.command("ping")
        assert answer == RIGHT
        assert server.pinged == 2  # so many connections


STARTS = """
import sys, os
from mongokey import wire
print(wire.next_request_id(), wire.next_request_id())
sys.stdout.flush()
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        print(wire.next_request_id())
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_request_ids_begin_at_random_in_each_process() -> None:
    firsts, children = set(), set()
    for _ in range(4):
        run = subprocess.run(
            [sys.executable, "-c", STARTS],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        lines = run.stdout.splitlines()
        first, second = map(int, lines[0].split())
        assert 0 < first <= 0x7FFFFFFF
        assert second in (first + 1, 1)
        firsts.add(first)
        if hasattr(os, "fork"):
            assert int(lines[1]) != second + 1
            children.add(int(lines[1]))
    assert len(firsts) == 4
    assert max(firsts) > 1_000_000
    assert len(children) in (0, 4)


def test_request_ids_are_positive_and_differ() -> None:
    ids = [wire.next_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(0 < each <= 0x7FFFFFFF for each in ids)
