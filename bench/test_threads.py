"""What many threads on one client cost beside the commands themselves: switches, which can be
counted whatever else the machine does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.server import CannedServer

#: One for the answer that is waited for, and some for meeting at the GIL; it was four to six.
MOST_SWITCHES = 2.5
PINGS = 3200

PROGRAM = """
import os, resource, sys, threading
from mongokey import MongoClient

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
count, pings = int(sys.argv[2]), int(sys.argv[3])
with MongoClient(sys.argv[1]) as client:
    command = client.admin.command
    begin, end = threading.Barrier(count + 1), threading.Barrier(count + 1)

    def work():
        command("ping")
        begin.wait()
        for _ in range(pings // count):
            command("ping")
        end.wait()

    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
    begin.wait()
    before = resource.getrusage(resource.RUSAGE_SELF)
    end.wait()
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(after.ru_nvcsw - before.ru_nvcsw + after.ru_nivcsw - before.ru_nivcsw)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="cores can be chosen on Linux only")
@pytest.mark.parametrize("threads", [16, 64])
def test_a_command_of_many_threads_takes_few_switches(
    canned_server: CannedServer, threads: int
) -> None:
    canned_server.require_login(False)
    # The fixture has this process on one core; the server is to have another one.
    canned_server.pin((os.cpu_count() or 1) - 1)
    arguments = [canned_server.uri(login=False), str(threads), str(PINGS)]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    canned_server.pin(min(os.sched_getaffinity(0)))
    assert int(result.stdout) / PINGS < MOST_SWITCHES
