"""Client CPU of a warm MONGODB-AWS login on a new connection, beside PyMongo's.

Each way of giving credentials is measured once both drivers have logged in by it: what is left is
the connection, hello, three round trips, the signature, and whatever a driver does at each login
to have its credentials. Rounds are paired, and the ratio of a round is what counts, as the
machine's speed changes. Knows both drivers by PyMongo's names, and the server of the tests;
decides nothing.

    python -m bench.aws [--rounds 9] [--connections 30]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.child import end

ROOT = Path(__file__).resolve().parents[1]
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
USER_KEY, TEMPORARY_KEY = "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"
# As long as those that STS gives.
TOKEN = "IQoJb3JpZ2luX2VjEA0aCXVzLWVhc3QtMSJHMEUCIQ" * 16

#: Sets up the environment for one way, below a folder of its own, and gives the client's options.
Way = Callable[[Path], Mapping[str, Any]]


def keywords(folder: Path) -> Mapping[str, Any]:
    """An access key as username and password."""
    return {"username": USER_KEY, "password": SECRET_KEY}


def environment(folder: Path) -> Mapping[str, Any]:
    """The variables, which both drivers read at each login."""
    os.environ.update(AWS_ACCESS_KEY_ID=USER_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
    return {}


def profile(folder: Path) -> Mapping[str, Any]:
    """A profile of the shared credentials file."""
    path = folder / "credentials"
    path.write_text(
        f"[default]\naws_access_key_id = {USER_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(path)
    return {}


def temporary(folder: Path) -> Mapping[str, Any]:
    """Temporary credentials, which both drivers keep: here from a credential process."""
    document = {
        "Version": 1,
        "AccessKeyId": TEMPORARY_KEY,
        "SecretAccessKey": SECRET_KEY,
        "SessionToken": TOKEN,
        "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600)),
    }
    script = folder / "process.py"
    script.write_text(f"print({json.dumps(document)!r})\n")
    command = f"{shlex.quote(sys.executable)} -I {shlex.quote(str(script))}"
    path = folder / "config"
    path.write_text(f"[default]\ncredential_process = {command}\n")
    os.environ["AWS_CONFIG_FILE"] = str(path)
    return {}


WAYS: dict[str, tuple[Way, str, str | None]] = {
    "keywords": (keywords, USER_KEY, None),
    "temporary": (temporary, TEMPORARY_KEY, TOKEN),
    "environment": (environment, USER_KEY, None),
    "profile": (profile, USER_KEY, None),
}


class Server:
    """The tests' MONGODB-AWS server in a process of its own, on another core where there is one."""

    def __init__(self, access_key: str, token: str | None) -> None:
        command = [sys.executable, "-m", "tests.servers.mechanism.aws"]
        command += ["--access-key", access_key, "--secret-key", SECRET_KEY]
        if token is not None:
            command += ["--session-token", token]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        cores = range(os.cpu_count() or 1)
        os.sched_setaffinity(self._process.pid, {cores[-1]})
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())["port"]

    def close(self) -> None:
        end(self._process)


def clean_environment(folder: Path) -> None:
    """Nothing of the machine's own AWS set-up, and no metadata service."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["HOME"] = str(folder)


def ping(module: Any, port: int, options: Mapping[str, Any]) -> Any:
    """A client whose connections are closed for being idle, as either driver does it by itself."""
    return module.MongoClient(
        "127.0.0.1",
        port,
        authMechanism="MONGODB-AWS",
        maxIdleTimeMS=1,
        directConnection=True,
        heartbeatFrequencyMS=600_000,
        **options,
    )


def cpu(once: Callable[[str], object], connections: int) -> float:
    """Microseconds of this process's CPU, each; the pause between lets connections grow idle."""
    spent = 0
    for _ in range(connections):
        time.sleep(0.002)
        started = time.process_time_ns()
        once("ping")
        spent += time.process_time_ns() - started
    return spent / connections / 1000


def measure(name: str, rounds: int, connections: int) -> None:
    import pymongo
    from pymongo_auth_aws.auth import set_cached_credentials

    import mongokey

    set_cached_credentials(None)  # PyMongo's are the process's
    way, access_key, token = WAYS[name]
    with tempfile.TemporaryDirectory() as folder:
        clean_environment(Path(folder))
        options = way(Path(folder))
        server = Server(access_key, token)
        try:
            clients = [ping(each, server.port, options) for each in (mongokey, pymongo)]
            for client in clients:
                cpu(client.admin.command, 5)
            figures = [
                [cpu(client.admin.command, connections) for client in clients]
                for _ in range(rounds)
            ]
            for client in clients:
                client.close()
        finally:
            server.close()
    ours, theirs = (statistics.median(column) for column in zip(*figures, strict=True))
    ratio = statistics.median(one / other for one, other in figures)
    print(f"{name}: mongokey {ours:.0f} us, PyMongo {theirs:.0f} us, ratio {ratio:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.aws", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--connections", type=int, default=30)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in arguments.ways:
        measure(name, arguments.rounds, arguments.connections)


if __name__ == "__main__":
    main()
