"""A process that forks while another thread imports what a first connection needs: the child must
be able to connect, though the thread that held the modules' locks is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from mongokey._support.lazy import LateImports, late_imports
from tests.servers.scripted import Login, ScriptedServer, primary
from tests.threads import in_threads

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")

# The thread's import of `module` is stopped in its middle; the fork comes then.
PROGRAM = r"""
import os, sys, threading, time, mongokey

uri, module = sys.argv[1:]
importing, go_on = threading.Event(), threading.Event()


class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == module and not importing.is_set():
            importing.set()
            go_on.wait(1.0)
        return None


def login():
    with mongokey.MongoClient(uri) as client:
        client.admin.command("ping")


sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=login)
thread.start()
assert importing.wait(20), "the module is imported late"
child = os.fork()
if child == 0:
    try:
        login()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)
go_on.set()
ends = time.monotonic() + 20
while True:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    if time.monotonic() > ends:
        os.kill(child, 9)
        os.waitpid(child, 0)
        sys.exit("the child hangs")
    time.sleep(0.01)
thread.join(20)
sys.exit(status)
"""


@pytest.mark.parametrize(
    "module",
    [
        "mongokey.mongo_client",
        "mongokey.connection.establish",
        "mongokey.connection.settings",
        "mongokey.auth.login",
        "mongokey.auth.scram",
        "mongokey.auth.scram_steps",
        "mongokey.handshake.metadata",
        "mongokey.transport.connecting",
    ],
)
def test_the_child_connects(module: str) -> None:
    with ScriptedServer(hello=primary(), login=Login()) as server:
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, server.uri(), module]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


def in_child(work: object) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()  # type: ignore[operator]
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_thread_that_imports_may_fork_itself() -> None:
    with late_imports:
        with late_imports:
            assert in_child(lambda: in_threads(2, late_imports.__enter__)) == 0
        assert late_imports._inside == {threading.get_ident(): 1}
    assert late_imports._inside == {}


def test_threads_import_side_by_side() -> None:
    """They do not wait for each other: one may hold the lock of a module that another imports."""
    both = threading.Barrier(2)

    def work() -> None:
        with late_imports:
            both.wait(20)

    in_threads(2, work)
    assert late_imports._inside == {}


def test_a_fork_waits_for_a_thread_that_never_ends_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mongokey._support.lazy._LONGEST_WAIT_S", 0.05)
    own = LateImports()
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with own:
            inside.set()
            go_on.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(20)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            with own:  # whoever was inside is not there
                ended = 0 if list(own._inside) == [threading.get_ident()] else 2
        finally:
            os._exit(ended)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go_on.set()
    thread.join(20)
    assert own._inside == {}
    with own:
        pass
