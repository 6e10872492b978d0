"""What a login sent is not left in the connection's buffer, which lives as long as it does.

The Python objects that a password passes through cannot be wiped; the buffer can. A process looks
for the message in its own memory, which Linux shows it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
from tests.servers.scripted import Silence

PASSWORD = "pencil-5ecret"

PROGRAM = r"""
import re, sys, mongokey
from mongokey.connection import establish

uri, size, kept = sys.argv[1], int(sys.argv[2]), []
password = "pencil-5ecret" + "x" * size

# Connections stay referred to, also those whose login fails.
def remembered(*arguments, real=establish.Connection):
    kept.append(real(*arguments))
    return kept[-1]

establish.Connection = remembered
client = mongokey.MongoClient(
    uri, username="ann", password=password, authMechanism="PLAIN",
    serverSelectionTimeoutMS=3000, connectTimeoutMS=500,
)
try:
    client.admin.command("ping")
    outcome = "logged in"
except mongokey.errors.MongoError as error:
    outcome = type(error).__name__
if "control" in sys.argv:
    kept.append(bytearray(b"payload\x00") + b"\x01\x00\x00\x00\x00" + b"\x00ann\x00pencil-5ecret")

# The element `payload` of a message: no Python object has these bytes in a row.
wanted = re.compile(rb"payload\x00.{4}\x00\x00ann\x00pencil-", re.S)
found = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, rights = line.split()[:2]
        if not rights.startswith("rw"):
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        try:
            memory.seek(start)
            content = memory.read(end - start)
        except OSError:
            continue
        found += len(wanted.findall(content))
        del content
assert kept
print(outcome, found)
"""


def look(uri: str, size: int, *more: str) -> tuple[str, int]:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, uri, str(size), *more],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stderr[-2000:]
    outcome, _, found = run.stdout.strip().rpartition(" ")
    return outcome, int(found)


needs_linux = pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="only Linux shows a process its memory"
)


@needs_linux
@pytest.mark.parametrize("size", [0, 3000, 100_000])
def test_after_a_login(size: int) -> None:
    known = KnownUsers({"ann": PASSWORD + "x" * size})
    with MechanismServer(PlainAcceptor(known), backend=None) as server:
        outcome, found = look(server.uri(), size)
        assert "saslStart" in server.names()
    assert outcome == "logged in"
    assert found == 0


@needs_linux
def test_after_a_login_that_was_refused() -> None:
    with MechanismServer(PlainAcceptor(KnownUsers({"ann": "other"})), backend=None) as server:
        outcome, found = look(server.uri(), 0)
    assert outcome == "AuthenticationFailed"
    assert found == 0


@needs_linux
def test_after_a_login_that_nobody_answered() -> None:
    with MechanismServer(PlainAcceptor(KnownUsers({})), backend=None) as server:
        server.on["saslStart"] = Silence()
        _, found = look(server.uri(), 0)
        assert "saslStart" in server.names()
    assert found == 0


@needs_linux
def test_the_search_finds_what_is_there() -> None:
    with MechanismServer(PlainAcceptor(KnownUsers({"ann": PASSWORD})), backend=None) as server:
        _, found = look(server.uri(), 0, "control")
    assert found > 0
