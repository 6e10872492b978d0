"""What the tests with a fleet share: clients of either driver, and messages by hand."""

from __future__ import annotations

import importlib
import itertools
import os
import socket
import stat
import struct
from typing import Any

import bson
import pytest

from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

OP_MSG = 2013
MORE_TO_COME = 2
EXHAUST_ALLOWED = 1 << 16

#: The drivers that are tested against a fleet. PyMongo is the measure for the tests themselves:
#: `MONGOKEY_FLEET_DRIVERS=pymongo,mongokey` lets both go through them.
DRIVERS = pytest.mark.parametrize(
    "driver", os.environ.get("MONGOKEY_FLEET_DRIVERS", "mongokey").split(",")
)
_numbers = itertools.count(1000)


class RawClient:
    """A connection that sends exactly what a test says; a context manager."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        #: Of the last reply: its flags, its own id, and the id that it answers.
        self.flags = self.reply_id = self.response_to = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, document: dict[str, Any], flags: int = 0) -> int:
        """Send a command; gives its request id."""
        number = next(_numbers)
        # The command's name has to come first.
        document = {**document, "$db": document.get("$db", "admin")}
        body = struct.pack("<IB", flags, 0) + bson.encode(document)
        self.sock.sendall(struct.pack("<iiii", 16 + len(body), number, 0, OP_MSG) + body)
        return number

    def receive(self) -> dict[str, Any]:
        """The next reply. Raises ConnectionError at the end of the connection."""
        length, self.reply_id, self.response_to, _ = struct.unpack("<iiii", self._exactly(16))
        body = self._exactly(length - 16)
        (self.flags,) = struct.unpack_from("<I", body)
        return bson.decode(body[5:])

    def ask(self, document: dict[str, Any], flags: int = 0) -> dict[str, Any]:
        """Send a command and take its reply."""
        self.send(document, flags)
        return self.receive()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise ConnectionError("the server closed the connection")
            data += part
        return data


def ask(fleet: Fleet, member: int, document: dict[str, Any]) -> dict[str, Any]:
    """A member's reply to one command."""
    with RawClient(fleet.ports[member]) as client:
        return client.ask(document)


class Deployment:
    """A fleet and clients of one driver, closed at the end."""

    def __init__(self, driver: str, backend: SecantusServer) -> None:
        self.backend = backend
        self.module = importlib.import_module(driver)
        self.errors = importlib.import_module(f"{driver}.errors")
        self.preferences = importlib.import_module(f"{driver}.read_preferences")
        self.opened: list[Any] = []

    def fleet(self, *members: Any, **options: Any) -> Fleet:
        fleet = Fleet(self.backend, members or 3, **options)
        self.opened.append(fleet)
        return fleet.start()

    def connect(self, fleet: Fleet, uri: str | None = None, **options: Any) -> Any:
        """A client with heartbeats so slow that what it knows in time it was told."""
        if fleet.primary is not None:
            options = {"replicaSet": fleet.set_name, **options}
        options = {"heartbeatFrequencyMS": 60_000, "serverSelectionTimeoutMS": 10_000, **options}
        client = self.module.MongoClient(uri or fleet.uri(), **options)
        self.opened.append(client)
        return client

    def close(self) -> None:
        for each in reversed(self.opened):
            (each.stop if isinstance(each, Fleet) else each.close)()


def addresses(fleet: Fleet, *members: int) -> set[tuple[str, int]]:
    return {("127.0.0.1", fleet.ports[member]) for member in members}


def discovered(fleet: Fleet, client: Any, primary: int, *secondaries: int) -> None:
    """Wait until a client knows all of these."""
    client.admin.command("ping")
    wanted = addresses(fleet, *secondaries)
    assert fleet.wait_for(lambda: client.secondaries == wanted), (client.secondaries, wanted)
    assert client.primary == ("127.0.0.1", fleet.ports[primary])


def counts(fleet: Fleet, name: str = "find") -> list[int]:
    """How often each member has got a command."""
    return [each["commands"].get(name, 0) for each in fleet.status()["members"]]


def sockets() -> int:
    """How many sockets this process has."""
    count = 0
    for each in os.listdir("/dev/fd"):
        try:
            count += stat.S_ISSOCK(os.fstat(int(each)).st_mode)
        except OSError:  # the one that lists the folder
            continue
    return count
