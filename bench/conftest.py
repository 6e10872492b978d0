"""Fixtures of the pytest-benchmark cases: the canned server, and each driver in turn.

Run by `pytest bench`. Process and server share a core, as in `compare`; the tables are grouped
by question, so that the figure in parentheses is how many times slower than the faster driver.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bench.case import APIS, Api
from bench.server import CannedServer


@pytest.fixture(scope="session")
def canned_server() -> Iterator[CannedServer]:
    cores = os.sched_getaffinity(0)
    core = min(cores)
    with CannedServer(core=core) as server:
        os.sched_setaffinity(0, {core})
        yield server
        os.sched_setaffinity(0, cores)


@pytest.fixture(params=["mongokey", "pymongo"])
def api(request: pytest.FixtureRequest) -> Api:
    return APIS[request.param]
