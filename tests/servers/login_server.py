"""A MongoDB server's side of a login, on documents: hello, saslStart, saslContinue.

Users and their mechanisms are given; answers are what mongod answers. No sockets: a test hands
it commands and gets replies. Switches make it an older or a badly behaved server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.servers.scram_server import ScramError, ScramServer

PREPARED = {"I\u00adX": "IX", "\u2163": "IV"}

HELLO: dict[str, Any] = {
    "helloOk": True,
    "ismaster": True,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "logicalSessionTimeoutMinutes": 30,
    "connectionId": 7,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "ok": 1.0,
}

FAILED = {
    "ok": 0.0,
    "errmsg": "Authentication failed.",
    "code": 18,
    "codeName": "AuthenticationFailed",
}


class LoginServer:
    """Answers commands; `seen` lists the (database, command) pairs that came.

    `users` maps (database, user) to (password, mechanisms). Switches: `long_exchange` ignores
    skipEmptyExchange; `speculates` False ignores speculation; `speculates_for_all` answers it for
    mechanisms the user does not have, as SecantusDB does; `names_mechanisms` False leaves out
    saslSupportedMechs; `hello` overrides fields of the answer to hello.
    """

    def __init__(
        self,
        users: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]],
        *,
        iterations: int = 4096,
        long_exchange: bool = False,
        speculates: bool = True,
        speculates_for_all: bool = False,
        names_mechanisms: bool = True,
        hello: Mapping[str, Any] | None = None,
    ) -> None:
        self.users = dict(users)
        self.iterations = iterations
        self.long_exchange = long_exchange
        self.speculates = speculates
        self.speculates_for_all = speculates_for_all
        self.names_mechanisms = names_mechanisms
        self.hello = {**HELLO, **(hello or {})}
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._stored: dict[tuple[str, str, str], ScramServer] = {}
        self._scram: ScramServer | None = None
        self._verified = False
        self._skip_empty = False

    def answer(self, database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a command."""
        self.seen.append((database, dict(command)))
        name = next(iter(command))
        if name in ("hello", "isMaster"):
            return self._hello(command)
        if name == "saslStart":
            return self._start(database, command) or dict(FAILED)
        if name == "saslContinue":
            return self._continue(command)
        return {"ok": 0.0, "errmsg": f"no such command: '{name}'", "code": 59}

    def _hello(self, command: Mapping[str, Any]) -> dict[str, Any]:
        reply = dict(self.hello)
        asked = command.get("saslSupportedMechs")
        if asked is not None and self.names_mechanisms:
            user = self.users.get(tuple(asked.split(".", 1)))
            if user is not None:
                reply["saslSupportedMechs"] = list(user[1])
        speculative = command.get("speculativeAuthenticate")
        if speculative is not None and self.speculates:
            answer = self._start(speculative["db"], speculative, self.speculates_for_all)
            if answer is not None:
                answer.pop("ok")
                reply["speculativeAuthenticate"] = answer
        return reply

    def _start(
        self, database: str, command: Mapping[str, Any], any_mechanism: bool = False
    ) -> dict[str, Any] | None:
        self._skip_empty = bool(command.get("options", {}).get("skipEmptyExchange"))
        self._verified = False
        mechanism, payload = command["mechanism"], command["payload"]
        name = payload[len(b"n,,n=") :].partition(b",r=")[0].decode()
        name = name.replace("=2C", ",").replace("=3D", "=")
        password, mechanisms = self.users.get((database, name), ("", ()))
        if mechanism not in mechanisms and not any_mechanism:
            return None
        key = (database, name, mechanism)
        if key not in self._stored:
            password = PREPARED.get(password, password)
            self._stored[key] = ScramServer(mechanism, name, password, self.iterations)
        self._scram = self._stored[key]
        payload = self._scram.start(payload)
        return {"conversationId": 1, "done": False, "payload": payload, "ok": 1.0}

    def _continue(self, command: Mapping[str, Any]) -> dict[str, Any]:
        assert command["conversationId"] == 1
        if self._verified:
            return {"conversationId": 1, "done": True, "payload": b"", "ok": 1.0}
        assert self._scram is not None
        try:
            payload = self._scram.finish(command["payload"])
        except ScramError:
            return dict(FAILED)
        self._verified = True
        done = self._skip_empty and not self.long_exchange
        return {"conversationId": 1, "done": done, "payload": payload, "ok": 1.0}
