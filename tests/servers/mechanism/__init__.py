"""A MongoDB server's face for the mechanisms that no free server has.

It speaks hello (with speculativeAuthenticate and saslSupportedMechs) and SASL, refuses commands
before a login with code 13, and forwards all others to a SecantusDB that it fronts. What a
payload says is checked by one `Acceptor` per mechanism against the real thing: a KDC's tickets, an
LDAP server's answer, a signature of AWS, a token's signature and claims. Written from
source/auth/auth.md and source/auth/tests; must not know the code under test.

    with MechanismServer(PlainAcceptor(directory), backend=secantus) as server:
        client = MongoClient(server.uri(authMechanism="PLAIN"), username=..., password=...)

It is a `ScriptedServer`, so a test can also give answers of its own (`server.on`) and look at
everything received (`server.requests`, `server.names()`, `server.commands(name)`).
"""

from __future__ import annotations

from tests.servers.mechanism.acceptor import (
    Acceptor,
    Continue,
    Done,
    Exchange,
    Refused,
    Session,
)
from tests.servers.mechanism.server import LoginRecord, MechanismServer, Refusal, serve

__all__ = [
    "Acceptor",
    "Continue",
    "Done",
    "Exchange",
    "LoginRecord",
    "MechanismServer",
    "Refusal",
    "Refused",
    "Session",
    "serve",
]
