"""PLAIN (RFC 4616): user name and password as they are, for LDAP behind the server.

Knows one message and its end. The password crosses the connection readable; whether the
connection is encrypted is for the connection to know and to warn about.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.auth import sasl
from mongokey.auth.conversation import Conversation, Step
from mongokey.auth.credential import MongoCredential
from mongokey.auth.errors import ServerProofError
from mongokey.auth.mechanism import REQUIRED, Mechanism
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


class PlainConversation(Conversation):
    """`NUL user NUL password` in one saslStart; the server's answer must be done."""

    mechanism = "PLAIN"

    def __init__(self, credential: MongoCredential, address: tuple[str, int | None]) -> None:
        self.source = credential.source
        self._credential = credential

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        user, password = self._credential.username, self._credential.password
        return sasl.start("PLAIN", f"\0{user}\0{password}".encode())

    def _next(self, reply: Mapping[str, Any]) -> Step:
        if not sasl.read(reply, "PLAIN").done:
            raise ServerProofError("PLAIN: the server wants to go on, but PLAIN is one message")
        return None


def _check(username: str | None, password: str | None, properties: Mapping[str, Any]) -> None:
    # RFC 4616: NUL separates the parts, so it can stand in neither.
    for option, value in (("username", username), ("password", password)):
        if value is not None and "\0" in value:
            raise ConfigurationError(f"{option} contains a NUL character, which PLAIN cannot send")


PLAIN = Mechanism(
    "PLAIN", username=REQUIRED, password=REQUIRED, check=_check, conversation=PlainConversation
)
