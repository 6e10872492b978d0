"""An application goes on while its deployment fails again and again (`_storm` says how).

`MONGOKEY_STORM_SECONDS` lets a storm last longer than its 8 seconds, `MONGOKEY_STORM_SEED`
repeats one (a failure names its seed); `_fleet` says which drivers go through it.
"""

from __future__ import annotations

import importlib
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live._fleet import DRIVERS, sockets
from tests.live._storm import Application, Faults
from tests.monitors import thread_count
from tests.servers.certificates import Authority
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = [pytest.mark.live, pytest.mark.slow]

SECONDS = float(os.environ.get("MONGOKEY_STORM_SECONDS", "8"))
#: Every 2 s; in a short storm as often as lets each kind of fault come once.
PERIOD = min(2.0, SECONDS / 7)
#: What lets a silent server be given up in time.
OPTIONS = {
    "replicaSet": "fleet",
    "socketTimeoutMS": 1500,
    "connectTimeoutMS": 1500,
    "heartbeatFrequencyMS": 500,
    "serverSelectionTimeoutMS": 15_000,
}


def weather(driver: str, fleet: Fleet, user: str | None, **options: Any) -> None:
    """The whole storm with one client."""
    module, errors = (importlib.import_module(driver + each) for each in ("", ".errors"))
    seed = int(os.environ.get("MONGOKEY_STORM_SEED", secrets.randbelow(1 << 31)))
    before = thread_count(), sockets()
    client = module.MongoClient(fleet.uri(user), **OPTIONS, **options)
    try:
        database = f"storm_{secrets.token_hex(6)}"
        # PyMongo 4.20 looks at the server anew after it has selected it: a write may go out
        # without txnNumber when its server has just become unknown, and is not sent again.
        forgiven = (errors.AutoReconnect,) if driver == "pymongo" else ()
        application = Application(client, errors, database, forgiven)
        faults = Faults(fleet, application, seed, PERIOD)
        application.start()

        def enough() -> bool:
            replayed = fleet.status()["replayed_writes"]
            return len(faults.done) >= 3 and replayed > 0 and application.busy()

        try:
            faults.run(SECONDS, enough)
        finally:
            application.stop()
        try:
            application.check()
            assert enough()
        except AssertionError as error:
            raise AssertionError(
                f"seed {seed}: {', '.join(faults.done)}; {dict(application.calls)}: {error}"
            ) from error
        print(
            f"{driver}: {dict(application.calls)}, tolerated {dict(application.tolerated)}, "
            f"longest call {application.longest:.2f} s, {', '.join(faults.done)}, seed {seed}"
        )
    finally:
        client.close()
    # By a client of its own: this one may still be about to notice the last fault.
    fleet.backend.drop_database(database)
    deadline = time.monotonic() + 10
    while (thread_count(), sockets()) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (thread_count(), sockets()) <= before
    assert fleet.wait_for(lambda: all(m["connections"] == 0 for m in fleet.status()["members"]))
    assert [fault for each in fleet.status()["members"] for fault in each["faults"]] == []


@DRIVERS
def test_an_application_does_not_notice_a_storm(driver: str, open_secantus: SecantusServer) -> None:
    with Fleet(open_secantus, election_ms=200) as fleet:
        weather(driver, fleet, None)


@DRIVERS
def test_an_application_that_logs_in_does_not_notice_a_storm(
    driver: str, secantus: SecantusServer
) -> None:
    with Fleet(secantus, election_ms=200) as fleet:
        weather(driver, fleet, "both")


@DRIVERS
def test_an_application_with_tls_does_not_notice_a_storm(
    driver: str, secantus: SecantusServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("member", "127.0.0.1")
    with Fleet(secantus, election_ms=200, tls=(pair.certificate_file, pair.key_file)) as fleet:
        weather(driver, fleet, "sha256", tlsCAFile=authority.certificate_file)
