"""A real server for the live tests: SecantusDB in its own process, with authentication on.

This module knows how to start SecantusDB on a free loopback port, which users it has, and how to
stop it; the process ends when its parent does. It must not know the code under test: inside the
server process PyMongo creates the users and drops the databases.

From a shell, `python -m tests.servers.secantus` starts one to play with.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tests.servers.line_server import LineServer

HOST = "127.0.0.1"
SHA_1 = "SCRAM-SHA-1"
SHA_256 = "SCRAM-SHA-256"


@dataclass(frozen=True)
class User:
    """A user of the server: `database` is its authSource, `mechanisms` what it can log in with."""

    name: str
    password: str
    database: str = "admin"
    mechanisms: tuple[str, ...] = (SHA_256,)
    roles: tuple[str, ...] = ("root",)
    #: Another spelling of the password that SASLprep (RFC 4013) maps to the same one.
    equivalent_password: str | None = None


#: By key, the users that every server started here has.
USERS: Mapping[str, User] = {
    "sha256": User("sha256", "pencil-256"),
    "sha1": User("sha1", "pencil-1", mechanisms=(SHA_1,)),
    "both": User("both", "pencil-both", mechanisms=(SHA_1, SHA_256)),
    "elsewhere": User(
        "elsewhere", "pencil-elsewhere", database="accounts", mechanisms=(SHA_1, SHA_256)
    ),
    # Every character that has a meaning in a URI. SecantusDB 0.7 does not undo SCRAM's own
    # escapes (=2C, =3D) in a name, so those two characters are the scripted server's to test.
    "escapes": User("us:er@/?#[]%+& x", "p:a@s/s?w#o[r]d%=,+& x", mechanisms=(SHA_1, SHA_256)),
    # SASLprep drops the soft hyphen, maps the no-break space to a space and U+2168 to "IX".
    "unicode": User(
        "ж\u00fcrgen",
        "pa\u00adss\u00a0\u2168",
        equivalent_password="pass IX",
    ),
    "reader": User("reader", "pencil-reader", database="app", roles=("read",)),
}


class SecantusServer(LineServer):
    """A SecantusDB process, started by `start()` or by `with`, and stopped by its own pid.

    `require_auth=False` serves without logins (the users exist nevertheless);
    `replica_set=None` makes it say that it is a standalone. `tls_*` are paths of PEM files as
    SecantusDB takes them; `certificate_users` are subjects (RFC 2253) that may log in by
    MONGODB-X509; `port` 0 takes a free one. Raises `RuntimeError` with the process's own words
    when it does not come up within a minute.
    """

    name = "SecantusDB"
    module = "tests.servers.secantus"
    answer_timeout = 60.0
    stop_timeout = 15.0
    users: Mapping[str, User] = USERS

    def __init__(
        self,
        *,
        require_auth: bool = True,
        replica_set: str | None = "secantus",
        host: str = HOST,
        tls_cert_file: str | None = None,
        tls_key_file: str | None = None,
        tls_ca_file: str | None = None,
        tls_require_client_cert: bool = False,
        certificate_users: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port
        self.require_auth = require_auth
        self.replica_set = replica_set
        self.tls = tls_cert_file is not None
        arguments = ["--serve", "--host", host, "--replica-set", replica_set or ""]
        if port:
            arguments += ["--port", str(port)]
        if not require_auth:
            arguments.append("--no-auth")
        for option, value in (
            ("--tls-cert-file", tls_cert_file),
            ("--tls-key-file", tls_key_file),
            ("--tls-ca-file", tls_ca_file),
        ):
            if value is not None:
                arguments += [option, value]
        if tls_require_client_cert:
            arguments.append("--tls-require-client-cert")
        for subject in certificate_users:
            arguments += ["--certificate-user", subject]
        super().__init__(arguments)

    def start(self) -> SecantusServer:
        """Start the process and wait until it accepts connections."""
        self.port = self._begin()["port"]
        return self

    def stop(self) -> None:
        """Stop the process and wait for it. Its storage directory goes with it."""
        self._end()

    def restart(self) -> None:
        """Stop, and start a fresh, empty server on another port."""
        self.stop()
        self.start()

    def uri(
        self,
        user: str | User | None = "both",
        *,
        password: str | None = None,
        database: str = "",
        auth_source: str | None = None,
        **options: object,
    ) -> str:
        """The connection string for a user.

        `user` is a key of `users`, a `User`, or None for no login. `password` replaces the
        user's own; `auth_source` names the authSource, by default the user's database (left
        out when that is admin). `options` are URI options, booleans as Python has them.
        """
        if isinstance(user, str):
            user = self.users[user]
        info = ""
        if user is not None:
            secret = user.password if password is None else password
            info = f"{quote(user.name, safe='')}:{quote(secret, safe='')}@"
            if auth_source is None and user.database != "admin":
                auth_source = user.database
        if auth_source is not None:
            options["authSource"] = auth_source
        if self.tls:
            options.setdefault("tls", True)
        texts = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in options.items()
        }
        query = f"?{urlencode(texts, quote_via=quote)}" if texts else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mongodb://{info}{host}:{self.port}/{quote(database, safe='')}{query}"

    def drop_database(self, name: str) -> None:
        """Drop a database (in the server process, not by the code under test)."""
        self._ask({"drop": name})

    def command(self, database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command as the administrator; both ways relaxed extended JSON.

        An error of the server comes back as its document, with `ok` 0.
        """
        return self._ask({"database": database, "command": command})

    def open_connections(self) -> int:
        """How many client connections the server has open now.

        It notices a closed one a moment later: ask again until the number fits, or give up.
        """
        count: int = self._ask({"connections": True})["connections"]
        return count


# --- the server process ------------------------------------------------------------------


def _create_users(uri: str, subjects: Sequence[str] = ()) -> None:
    import pymongo

    client: pymongo.MongoClient[Any]
    with pymongo.MongoClient(uri, directConnection=True) as client:
        for user in USERS.values():
            client[user.database].command(
                "createUser",
                user.name,
                pwd=user.password,
                roles=[{"role": role, "db": user.database} for role in user.roles],
                mechanisms=list(user.mechanisms),
            )
        for subject in subjects:
            client["$external"].command(
                "createUser",
                subject,
                roles=[{"role": "root", "db": "admin"}],
                mechanisms=["MONGODB-X509"],
            )


@contextlib.contextmanager
def _started(server: Any) -> Iterator[Any]:
    server.start()
    try:
        yield server
    finally:
        # stop() closes its listening socket, which does not wake the thread that accepts, and
        # gives that two seconds to end.
        with contextlib.suppress(OSError):
            server._socket.shutdown(socket.SHUT_RDWR)
        server.stop()


@contextlib.contextmanager
def _serving(arguments: argparse.Namespace) -> Iterator[Any]:
    """The server, its users created, with the authentication and TLS asked for."""
    from secantus import SecantusDBServer

    with tempfile.TemporaryDirectory(prefix="mongokey-secantus-") as path:
        # Users are made by a first run that asks for no login: there is nobody to log in as yet.
        with _started(SecantusDBServer(storage_path=path, require_auth=False)) as server:
            _create_users(server.uri, arguments.certificate_user)
        server = SecantusDBServer(
            host=arguments.host,
            port=arguments.port,
            storage_path=path,
            replica_set_name=arguments.replica_set or None,
            require_auth=not arguments.no_auth,
            tls_cert_file=arguments.tls_cert_file,
            tls_key_file=arguments.tls_key_file,
            tls_ca_file=arguments.tls_ca_file,
            tls_require_client_cert=arguments.tls_require_client_cert,
        )
        with _started(server):
            yield server


def _administrator(server: Any) -> Any:
    """A client for one chore. TLS is not verified: it never leaves the process."""
    import pymongo

    options: dict[str, Any] = {"directConnection": True}
    if server.tls_cert_file is not None:
        options.update(tls=True, tlsInsecure=True)
        if server.tls_require_client_cert:
            raise RuntimeError("chores need a server that asks for no client certificate")
    user = USERS["sha256"]
    return pymongo.MongoClient(
        server.host, server.port, username=user.name, password=user.password, **options
    )


def _do_chore(server: Any, question: dict[str, Any]) -> dict[str, Any]:
    from bson import json_util
    from pymongo.errors import OperationFailure

    if "connections" in question:
        return {"connections": len(server.connections)}
    with _administrator(server) as client:
        if "drop" in question:
            client.drop_database(question["drop"])
            return {}
        command = json_util.loads(json.dumps(question["command"]))
        try:
            reply = client[question["database"]].command(command)
        except OperationFailure as error:
            reply = dict(error.details or {"ok": 0, "errmsg": str(error)})
    answer: dict[str, Any] = json.loads(
        json_util.dumps(reply, json_options=json_util.RELAXED_JSON_OPTIONS)
    )
    return answer


def _serve(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends, doing the chores that come in on it, a line each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with _serving(arguments) as server:
        print(json.dumps({"port": server.port}), flush=True)
        for line in sys.stdin:
            try:
                answer = _do_chore(server, json.loads(line))
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


def _play(arguments: argparse.Namespace) -> None:
    with _serving(arguments) as server:
        shown = SecantusServer(require_auth=not arguments.no_auth, host=server.host)
        shown.port, shown.tls = server.port, arguments.tls_cert_file is not None
        print(f"SecantusDB on {server.host}:{server.port}; Ctrl-C ends it\n")
        for key, user in USERS.items():
            print(f"  {key:<10} {', '.join(user.mechanisms):<26} {shown.uri(user)}")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.secantus", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve a parent process over stdin")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--replica-set", default="secantus", help="empty for a standalone")
    parser.add_argument("--no-auth", action="store_true", help="serve without logins")
    parser.add_argument("--tls-cert-file")
    parser.add_argument("--tls-key-file")
    parser.add_argument("--tls-ca-file")
    parser.add_argument("--tls-require-client-cert", action="store_true")
    parser.add_argument("--certificate-user", action="append", default=[], metavar="SUBJECT")
    arguments = parser.parse_args()
    # As an exit of Python's, so that the storage directory is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (_serve if arguments.serve else _play)(arguments)


if __name__ == "__main__":
    main()
