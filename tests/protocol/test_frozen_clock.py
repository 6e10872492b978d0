"""Programs that freeze Python's clocks, as freezegun does: every wait still ends.

freezegun replaces the functions of `time` and every reference to them in the modules that are
loaded; the program below does the same, before or after the driver is imported.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

FREEZE = """
import sys, time
real = {name: getattr(time, name) for name in
        ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")}
# freezegun leaves the library's own waits alone: what asks from these modules gets the time.
LEFT_ALONE = {"threading", "queue", "selectors", "subprocess"}
def freeze():
    fakes = {}
    for name, function in real.items():
        stands_at = function()
        def fake(stands_at=stands_at):
            return stands_at
        fakes[id(function)] = fake
        setattr(time, name, fake)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "") in LEFT_ALONE:
            continue
        for name, value in list(vars(module).items()):
            if id(value) in fakes and module is not sys.modules["__main__"]:
                try:
                    setattr(module, name, fakes[id(value)])
                except (AttributeError, TypeError):
                    pass
"""

IMPORT = """
import mongokey
import mongokey.auth.oidc.metadata, mongokey.auth.oidc.tokens
import mongokey.connection.establish, mongokey.dns.resolver, mongokey.dns.exchange
import mongokey.transport.tls.ocsp, mongokey.topology.topology
"""

ATTEMPTS = {
    "selection": """
client = mongokey.MongoClient("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300")
client.admin.command("ping")
""",
    "connect": """
client = mongokey.MongoClient(
    "mongodb://127.0.0.1:{silent}/?serverSelectionTimeoutMS=300&connectTimeoutMS=200")
client.admin.command("ping")
""",
    "two seeds": """
client = mongokey.MongoClient("mongodb://127.0.0.1:{silent},127.0.0.1:1/"
    "?serverSelectionTimeoutMS=300&connectTimeoutMS=200&replicaSet=rs")
client.admin.command("ping")
""",
    "metadata": """
from mongokey._support.deadline import Timeout
from mongokey.auth.oidc import metadata
metadata.get(("127.0.0.1", {silent}), "/", {{}}, Timeout(300_000_000).start(), "start it")
""",
    "name server": """
from dns.message import make_query
from mongokey._support.deadline import Timeout
from mongokey.dns.exchange import Server
within = Timeout(300_000_000).start()
attempts, question = [], make_query("x.test", "SRV")
assert Server("127.0.0.1", {deaf}).ask(question, "x", within, attempts.append) is None
raise TimeoutError(attempts)
""",
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ATTEMPTS)
def test_a_wait_ends(what: str, when: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf,
    ):
        deaf.bind(("127.0.0.1", 0))
        attempt = ATTEMPTS[what].format(silent=silent.getsockname()[1], deaf=deaf.getsockname()[1])
        order = ("freeze()", IMPORT) if when == "before" else (IMPORT, "freeze()")
        program = (
            *(FREEZE, *order, "try:", indent(attempt, "    ")),
            "except Exception as error:\n    print(type(error).__name__)",
        )
        run = subprocess.run(
            [sys.executable, "-c", "\n".join(program)],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=Path(__file__).parents[2],
        )
    assert "Timeout" in run.stdout or "SourceError" in run.stdout, run.stdout + run.stderr
