"""A server's side of MONGODB-OIDC logins on documents, a callback, and a driver of logins, for the
unit tests. No sockets: it answers a command with a reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mongokey.auth import MongoCredential, build_credential
from mongokey.auth.whole_login import login, reauthenticate
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.bson import decode, encode
from tests.logins import drive
from tests.servers.login_server import FAILED, HELLO

ADDRESS = ("localhost", 27017)
IDP = {"issuer": "https://idp.example", "clientId": "app", "requestScopes": ["db"]}


class Server:
    """Takes the tokens in `good`. `said` lists what logins sent: ("hello", jwt or None),
    ("jwt", token), ("n", principal or None). `fail` maps the n-th saslStart or saslContinue
    (from 1) to an error code."""

    def __init__(self, *good: str, idp: Mapping[str, Any] = IDP, speculates: bool = True) -> None:
        self.good = set(good)
        self.idp = idp
        self.speculates = speculates
        self.said: list[tuple[str, Any]] = []
        self.fail: dict[int, int] = {}
        self._commands = 0

    def answer(self, database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name not in ("saslStart", "saslContinue"):
            return self._hello(command)
        assert database == "$external"
        payload = decode(command["payload"])
        self.said.append(("jwt", payload["jwt"]) if "jwt" in payload else ("n", payload.get("n")))
        self._commands += 1
        code = self.fail.get(self._commands)
        if code is not None:
            return {**FAILED, "code": code, "codeName": "Scripted"}
        if "jwt" not in payload:
            return {"ok": 1, "conversationId": 1, "done": False, "payload": encode(self.idp)}
        return self._judge(payload["jwt"])

    def _hello(self, command: Mapping[str, Any]) -> dict[str, Any]:
        question = command.get("speculativeAuthenticate")
        jwt = None
        reply = dict(HELLO)
        if question is not None:
            assert question["db"] == "$external"
            jwt = decode(question["payload"])["jwt"]
            if self.speculates and jwt in self.good:
                reply["speculativeAuthenticate"] = self._judge(jwt)
        self.said.append(("hello", jwt))
        return reply

    def _judge(self, jwt: str) -> dict[str, Any]:
        if jwt not in self.good:
            return dict(FAILED)
        return {"ok": 1, "conversationId": 1, "done": True, "payload": b""}


class Callback(OIDCCallback):
    """Gives `results` in turn, the last one again and again; an exception is raised, a function
    called with the context. `contexts` lists what it was called with."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.contexts: list[OIDCCallbackContext] = []

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        self.contexts.append(context)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if callable(result):
            result = result(context)
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, str):
            return OIDCCallbackResult(result)
        return result  # type: ignore[no-any-return]


def machine(callback: Any, username: str | None = None) -> MongoCredential:
    return _credential(username, {"OIDC_CALLBACK": callback})


def human(callback: Any, username: str | None = None, **properties: Any) -> MongoCredential:
    return _credential(username, {"OIDC_HUMAN_CALLBACK": callback, **properties})


def _credential(username: str | None, properties: Mapping[str, Any]) -> MongoCredential:
    made = build_credential("MONGODB-OIDC", username, None, properties=properties)
    assert made is not None
    return made


def log_in(credential: MongoCredential, server: Server, address: Any = ADDRESS) -> Any:
    return drive(login(credential, None, address), server.answer)


def log_in_again(credential: MongoCredential, server: Server, memory: Any) -> Any:
    return drive(reauthenticate(credential, ADDRESS, None, memory), server.answer)
