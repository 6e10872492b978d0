"""A program that gevent has patched: a greenlet that waits for a server lets the others run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.needs import missing
from tests.servers.scripted import Delay, Drip, Reply, ScriptedServer, Silence

FAR_S = 60

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import time, gevent
from mongokey import MongoClient
from mongokey.errors import NetworkTimeout

ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
gevent.spawn(tick)
client = MongoClient("{uri}")
{work}
"""


def need_gevent() -> None:
    # Looked for and not imported: it would change this process.
    if importlib.util.find_spec("gevent") is None:
        missing("gevent is not installed: pip install 'mongokey[test]'")


def run(server: ScriptedServer, work: str, **options: object) -> str:
    need_gevent()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(uri=server.uri(**options), work=work)],
        capture_output=True,
        text=True,
        timeout=FAR_S,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_others_run_while_a_greenlet_waits_for_an_answer() -> None:
    work = """
client.admin.command("hello")
before = len(ticks)
client.admin.command("ping")
print(len(ticks) - before)
"""
    with ScriptedServer(on={"ping": Delay(0.5)}) as server:
        assert int(run(server, work)) >= 5


def test_commands_of_several_greenlets_wait_side_by_side() -> None:
    work = """
began = time.monotonic()
jobs = [gevent.spawn(client.admin.command, "ping") for _ in range(10)]
gevent.joinall(jobs, raise_error=True)
print(time.monotonic() - began)
"""
    with ScriptedServer(on={"ping": Delay(1.0)}) as server:
        assert float(run(server, work)) < 8.0


@pytest.mark.parametrize("answer", [Silence(), Drip(Reply(), pause=0.1)])
def test_a_timeout_ends_the_wait(answer: object) -> None:
    work = """
try:
    client.admin.command("ping")
except NetworkTimeout as error:
    print("timed out", len(ticks) > 3)
"""
    with ScriptedServer(on={"ping": answer}) as server:  # type: ignore[dict-item]
        assert run(server, work, socketTimeoutMS=300) == "timed out True\n"


def test_a_greenlet_that_is_killed_leaves_no_half_read_connection() -> None:
    work = """
first = gevent.spawn(client.admin.command, "ping")
gevent.sleep(0.3)
first.kill()
print(client.admin.command("count"))
"""
    on = {"ping": Delay(1.0, Reply({"ok": 1.0, "of": "ping"})), "count": {"ok": 1.0, "n": 3}}
    with ScriptedServer(on=on) as server:  # type: ignore[arg-type]
        assert "'n': 3" in run(server, work)


def test_a_host_name_is_resolved() -> None:
    work = """
from mongokey.transport import connect
connect("localhost", {port}, timeout=10).close()
print("connected")
"""
    with ScriptedServer() as server:
        assert run(server, work.format(port=server.port)) == "connected\n"


def test_importing_the_waits_changes_nothing_and_needs_no_gevent() -> None:
    """Whatever walks the package, as documentation tools do, imports them."""
    program = (
        "import sys\n"
        "import mongokey.transport.gevent_waits\n"
        "from mongokey.transport import connect\n"
        "connect('127.0.0.1', {port}, timeout=10).close()\n"
        "print('gevent' in sys.modules)\n"
    )
    with ScriptedServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", program.format(port=server.port)],
            capture_output=True,
            text=True,
            timeout=FAR_S,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout == "False\n"


def test_a_program_that_is_not_patched_waits_in_c() -> None:
    need_gevent()
    program = (
        "import gevent, gevent.monkey, sys\n"
        "from mongokey.transport import connect\n"
        "connect('127.0.0.1', {port}, timeout=10).close()\n"
        "print('mongokey.transport.gevent_waits' in sys.modules)\n"
    )
    with ScriptedServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", program.format(port=server.port)],
            capture_output=True,
            text=True,
            timeout=FAR_S,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("limits", [{"maxPoolSize": 1}, {"maxConnecting": 1}])
def test_greenlets_of_one_thread_wait_for_each_other_s_connection(limits: dict[str, int]) -> None:
    work = """
client.admin.command("ping")
client._pool().clear()
client._pool().ready()
jobs = [gevent.spawn(client.admin.command, "ping") for _ in range(5)]
gevent.joinall(jobs, raise_error=True)
print([job.value["ok"] for job in jobs])
"""
    with ScriptedServer(on={"ping": Delay(0.1)}) as server:
        assert run(server, work, **limits).strip() == "[1.0, 1.0, 1.0, 1.0, 1.0]"


# Programs that gevent patches when the driver is there already: a warning says so once.

AFTER_IMPORT = """
import mongokey
mongokey.MongoClient
from gevent import monkey
monkey.patch_all()
clients = [mongokey.MongoClient("{uri}", directConnection=True) for _ in range(2)]
print([client.admin.command("ping")["ok"] for client in clients])
"""
AFTER_CLIENT = """
import mongokey
client = mongokey.MongoClient("{uri}", directConnection=True)
from gevent import monkey
monkey.patch_all()
print([client.admin.command("ping")["ok"] for _ in range(2)])
"""
# `import mongokey` alone loads nothing that has a lock.
BEFORE_USE = """
import mongokey
from gevent import monkey
monkey.patch_all()
client = mongokey.MongoClient("{uri}", directConnection=True)
print([client.admin.command("ping")["ok"] for _ in range(2)])
"""


@pytest.mark.parametrize(
    ("program", "warnings"), [(AFTER_IMPORT, 1), (AFTER_CLIENT, 1), (BEFORE_USE, 0)]
)
def test_a_program_is_warned_once_that_gevent_patches_too_late(program: str, warnings: int) -> None:
    need_gevent()
    with ScriptedServer() as server:
        done = subprocess.run(
            [sys.executable, "-W", "always", "-c", program.format(uri=server.uri())],
            capture_output=True,
            text=True,
            timeout=FAR_S,
            cwd=Path(__file__).parents[2],
        )
    assert (done.returncode, done.stdout) == (0, "[1.0, 1.0]\n"), done.stderr
    said = [line for line in done.stderr.splitlines() if "after mongokey was imported" in line]
    assert len(said) == warnings, done.stderr
    # At the program's own line.
    assert all(line.startswith("<string>:") for line in said)
