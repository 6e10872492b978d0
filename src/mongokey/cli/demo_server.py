"""The server of `mongokey demo`: SecantusDB in a process of its own, with authentication on.

Knows how to start it on a free loopback port, make its users and end it; the process ends when
its standard input does, so it never outlives the demo. Must not import SecantusDB in the demo's
own process: it is licensed under the GPL, and would share the clock with what is measured.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import IO, Any, NamedTuple

from mongokey._support.address import Address
from mongokey._support.secrets import HIDDEN
from mongokey.cli.demo_certificates import CertificateFiles, make_certificates
from mongokey.errors import MongoError

HOST = "127.0.0.1"
# Seconds. The server imports a good deal, which takes a while on a cold disk.
START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
# The extra `demo` leaves SecantusDB out from this version of Python on; see pyproject.toml.
NO_SERVER_YET = (3, 14)
_LONGEST_LOG = 2000


class User(NamedTuple):
    """A user of the demo's server; `mechanisms` is what it can log in with."""

    name: str
    password: str
    mechanisms: tuple[str, ...]

    def __repr__(self) -> str:
        return f"User({self.name!r}, password={HIDDEN}, mechanisms={self.mechanisms!r})"


class ServerMissing(MongoError):
    """SecantusDB is not installed."""


class ServerFailed(MongoError):
    """The server's process did not come up; the message has its own words."""


class DemoServer:
    """A SecantusDB process with `users`, who are kept in `admin` and may do everything.

    A second server in it, at `tls_address`, demands TLS and a client certificate; `certificates`
    are the files for that. A context manager: `with` starts the process and stops it whatever
    happens. Raises ServerMissing when SecantusDB is not installed, ServerFailed when it does not
    come up within a minute.
    """

    def __init__(self, users: Sequence[User]) -> None:
        self.users = tuple(users)
        self.port = 0
        self.tls_port = 0
        self.certificates: CertificateFiles | None = None
        self.version = ""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    @property
    def address(self) -> Address:
        """(host, port) of the server."""
        return Address((HOST, self.port))

    @property
    def tls_address(self) -> Address:
        """(host, port) of the server that demands TLS and a client certificate."""
        return Address((HOST, self.tls_port))

    @property
    def pid(self) -> int | None:
        """The process's id, None when it is not running."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> DemoServer:
        if find_spec("secantus") is None:
            raise ServerMissing(_how_to_install())
        self._folder = tempfile.TemporaryDirectory(prefix="mongokey-demo-")
        self.certificates = make_certificates(self._folder.name, HOST)
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mongokey.cli.demo_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            ready = self._greet(self._process)
        except BaseException:
            self.stop()
            raise
        self.port, self.tls_port = ready["port"], ready["tls_port"]
        self.version = ready["version"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and wait for it; its files go with it. May be called again."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT)
            except BaseException as interruption:
                process.kill()
                process.wait(STOP_TIMEOUT)
                if not isinstance(interruption, subprocess.TimeoutExpired):
                    raise
            finally:
                process.stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _greet(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Hand over the users (not as arguments, which every process may read); get the port."""
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(START_TIMEOUT, process.kill)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([self.users, self.certificates]) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            process.wait(STOP_TIMEOUT)
            assert self._log is not None
            self._log.seek(0)
            raise ServerFailed(
                f"SecantusDB did not start (status {process.returncode}, at most "
                f"{START_TIMEOUT:g} s are given): {self._log.read()[-_LONGEST_LOG:].strip()}"
            )
        ready: dict[str, Any] = json.loads(line)
        return ready


def _how_to_install() -> str:
    text = "the demo's server, SecantusDB, is not installed: pip install 'mongokey[demo]'"
    if sys.version_info >= NO_SERVER_YET:
        python = ".".join(map(str, sys.version_info[:2]))
        text += f" with an older Python (there was no SecantusDB for {python} yet)"
    return text


# --- the server's process ------------------------------------------------------------------


def _create_users(port: int, users: Sequence[User]) -> None:
    from mongokey import MongoClient

    client: MongoClient[dict[str, Any]]
    with MongoClient(HOST, port, directConnection=True) as client:
        for user in users:
            client["admin"].command(
                "createUser",
                user.name,
                pwd=user.password,
                roles=[{"role": "root", "db": "admin"}],
                mechanisms=list(user.mechanisms),
            )


def _create_certificate_user(port: int, subject: str) -> None:
    from mongokey import MongoClient

    client: MongoClient[dict[str, Any]]
    with MongoClient(HOST, port, directConnection=True) as client:
        client["$external"].command(
            "createUser",
            subject,
            roles=[{"role": "root", "db": "admin"}],
            mechanisms=["MONGODB-X509"],
        )


@contextlib.contextmanager
def _serving(create_users: Callable[[int], None], **tls: Any) -> Iterator[Any]:
    """A server with authentication on, its users made in a first run without: there is nobody
    to log in as yet."""
    secantus = import_module("secantus")
    with tempfile.TemporaryDirectory(prefix="mongokey-demo-") as path:
        server = secantus.SecantusDBServer(host=HOST, port=0, storage_path=path, require_auth=False)
        server.start()
        try:
            create_users(server.port)
        finally:
            server.stop()
        server = secantus.SecantusDBServer(
            host=HOST, port=0, storage_path=path, require_auth=True, **tls
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()


def serve() -> None:
    """Serve until standard input ends; its first line has users and certificates, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the demo's to handle
    given, paths = json.loads(input())
    users = [User(name, password, tuple(has)) for name, password, has in given]
    files = CertificateFiles(*paths)
    with (
        _serving(lambda port: _create_users(port, users)) as server,
        _serving(
            lambda port: _create_certificate_user(port, files.subject),
            tls_cert_file=files.server_certificate,
            tls_key_file=files.server_key,
            tls_ca_file=files.authority,
            tls_require_client_cert=True,
        ) as tls_server,
    ):
        ready = {
            "port": server.port,
            "tls_port": tls_server.port,
            "version": import_module("secantus").__version__,
        }
        print(json.dumps(ready), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve()
