"""How the scripted server logs its user in with SCRAM, and the ways in which that goes wrong.

Knows the SASL commands and what a server may damage in them; the SCRAM arithmetic itself is
`tests.servers.scram_server`'s. Must not know sockets or other commands.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Login:
    """How the server logs its one user in with SCRAM, and where it goes wrong.

    `supported` is what `saslSupportedMechs` answers: None for the user's own mechanisms, False
    for no such field (a server before 4.0). `speculate` answers a speculative saslStart;
    `speculate_any` does so also for a mechanism that the user does not have, as SecantusDB does.
    `honour_skip` skips the empty exchange when asked. `rewrite` may change each payload: it is
    called with "first" or "final" and the bytes, and returns the bytes to send.
    """

    username: str = "user"
    password: str = "pencil"
    source: str = "admin"
    mechanisms: Sequence[str] = ("SCRAM-SHA-256",)
    iterations: int = 4096
    salt: bytes | None = None
    supported: Sequence[str] | bool | None = None
    speculate: bool = True
    speculate_any: bool = False
    honour_skip: bool = True
    wrong_signature: bool = False
    wrong_nonce: bool = False
    claimed_iterations: int | None = None
    server_error: str | None = None
    rewrite: Callable[[str, bytes], bytes] | None = None

    def damage(self, step: str, payload: bytes) -> bytes:
        """The payload as this login sends it."""
        text = payload.decode()
        if step == "first":
            parts = text.split(",")
            if self.wrong_nonce:
                # Another client's nonce: as long, but it does not begin with ours.
                parts[0] = "r=" + ("A" if parts[0][2] != "A" else "B") + parts[0][3:]
            if self.claimed_iterations is not None:
                parts[2] = f"i={self.claimed_iterations}"
            text = ",".join(parts)
        elif self.server_error is not None:
            text = f"e={self.server_error}"
        elif self.wrong_signature:
            signature = bytearray(base64.b64decode(text[2:]))
            signature[-1] ^= 1
            text = "v=" + base64.b64encode(signature).decode()
        payload = text.encode()
        return payload if self.rewrite is None else self.rewrite(step, payload)


class Refused(Exception):
    """The server refuses a login, or a command for want of one."""

    def __init__(self, code: int, code_name: str, message: str) -> None:
        super().__init__(message)
        self.reply = {"ok": 0.0, "errmsg": message, "code": code, "codeName": code_name}


def authentication_failed() -> Refused:
    return Refused(18, "AuthenticationFailed", "Authentication failed.")


class Conversation:
    """One SCRAM login on one connection, from saslStart to its end."""

    def __init__(self, login: Login, command: Mapping[str, Any], identity: int) -> None:
        from tests.servers.scram_server import ScramServer

        self.login = login
        self.identity = identity
        self.mechanism = command["mechanism"]
        self.skip = login.honour_skip and bool(
            command.get("options", {}).get("skipEmptyExchange", False)
        )
        self.proved = False
        payload = bytes(command["payload"])
        self.known = (
            self.mechanism in login.mechanisms
            and command["$db"] == login.source
            and scram_username(payload) == login.username
        )
        # An unknown user gets a conversation too, with a password nobody has, as mongod does.
        self._scram = ScramServer(
            self.mechanism,
            scram_username(payload),
            login.password if self.known else os.urandom(16).hex(),
            login.iterations,
            salt=login.salt,
        )
        self.first = login.damage("first", self._scram.start(payload))

    def started(self) -> dict[str, Any]:
        return self._reply(self.first, done=False)

    def go_on(self, command: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The reply to a saslContinue, and whether the login is over with it."""
        if command.get("conversationId") != self.identity:
            raise authentication_failed()
        if self.proved:
            return self._reply(b"", done=True), True
        try:
            final = self._scram.finish(bytes(command["payload"]))
        except Exception as error:
            raise authentication_failed() from error
        self.proved = True
        return self._reply(self.login.damage("final", final), done=self.skip), self.skip

    def _reply(self, payload: bytes, *, done: bool) -> dict[str, Any]:
        return {"conversationId": self.identity, "done": done, "payload": payload, "ok": 1.0}


def scram_username(client_first: bytes) -> str:
    """The user that a SCRAM client-first message names, its escapes undone (RFC 5802, 5.1)."""
    for part in client_first.decode().split(","):
        if part.startswith("n="):
            return part[2:].replace("=2C", ",").replace("=3D", "=")
    raise authentication_failed()
