"""`mongokey demo` for real: the whole command, and the life of its server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

from mongokey import MongoClient
from mongokey.cli.demo import CERTIFICATE_WAY, WAYS, make_users, run
from mongokey.cli.demo_server import DemoServer, ServerFailed
from mongokey.errors import OperationFailure

pytestmark = pytest.mark.live

TIMEOUT = 120


def mongokey(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mongokey.cli", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        timeout=TIMEOUT,
    )


def wait_until_refused(port: int) -> None:
    """Return when nobody listens on the port; fail when that does not come within 20 s."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail(f"somebody still listens on port {port}")


def test_demo_shows_each_login_and_ends_well() -> None:
    done = mongokey("demo")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    for way in (*WAYS, CERTIFICATE_WAY):
        shown = [line for line in lines if line.startswith(f"  {way.title} ") and " ms" in line]
        assert [("cold" in line, way.mechanism in line) for line in shown] == [
            (True, True),
            (False, True),
        ]
    assert any("AuthenticationFailed (code 18): login to 127.0.0.1:" in line for line in lines)
    assert lines[-1] == (
        "All was right: 10 logins in 5 ways, and a wrong password was refused. "
        "The server is stopped."
    )


def test_demo_tells_machines_the_same() -> None:
    done = mongokey("demo", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["problems"] == []
    assert [
        (login["auth_mechanism"], login["warm"], login["mechanism"], login["round_trips"])
        for login in report["logins"]
    ] == [
        ("SCRAM-SHA-256", False, "SCRAM-SHA-256", 2),
        ("SCRAM-SHA-256", True, "SCRAM-SHA-256", 2),
        ("SCRAM-SHA-1", False, "SCRAM-SHA-1", 2),
        ("SCRAM-SHA-1", True, "SCRAM-SHA-1", 2),
        (None, False, "SCRAM-SHA-256", 2),
        (None, True, "SCRAM-SHA-256", 2),
        (None, False, "SCRAM-SHA-1", 3),
        (None, True, "SCRAM-SHA-1", 2),
        ("MONGODB-X509", False, "MONGODB-X509", 2),
        ("MONGODB-X509", True, "MONGODB-X509", 2),
    ]
    assert all(login["milliseconds"] > 0 for login in report["logins"])
    assert {(each["inserted"], each["read"]) for each in report["documents"]} == {(4, 4)}
    assert [(each["error"], each["code"]) for each in report["refusals"]] == [
        ("AuthenticationFailed", 18)
    ]
    wait_until_refused(report["server"]["port"])


def test_server_asks_for_a_login_and_is_gone_afterwards() -> None:
    with DemoServer(make_users()) as server:
        host, port = server.address
        with MongoClient(host, port) as client, pytest.raises(OperationFailure) as caught:
            client["app"]["people"].find_one()
        assert caught.value.code == 13
        assert server.pid is not None

    assert server.pid is None
    wait_until_refused(server.port)


def test_server_is_stopped_when_the_demo_is_left_by_an_exception() -> None:
    users = make_users()
    server = DemoServer(users)

    def leave_early() -> None:
        with server, closing(run(server.address, users)) as steps:
            next(steps)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave_early()

    wait_until_refused(server.port)


def test_server_ends_when_its_demo_is_killed() -> None:
    code = (
        "from mongokey.cli.demo_server import DemoServer\n"
        "with DemoServer(()) as server:\n"
        "    print(server.port, flush=True)\n"
        "    input()\n"
    )
    demo = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert demo.stdout is not None
        port = int(demo.stdout.readline())
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    finally:
        demo.kill()
        demo.communicate(timeout=20)

    wait_until_refused(port)


def test_server_that_cannot_make_its_users_says_why_and_is_gone() -> None:
    users = make_users()
    server = DemoServer((*users, users[0]))

    with pytest.raises(ServerFailed, match="did not start") as caught:
        server.__enter__()

    assert server.pid is None
    assert "OperationFailure" in str(caught.value)
    for user in users:
        assert user.password not in str(caught.value)
