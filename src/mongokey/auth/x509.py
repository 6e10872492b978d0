"""MONGODB-X509: the client certificate of the TLS connection is the credential.

Knows the one `authenticate` command; the certificate itself is the stream's business. The
server was proved by TLS before the first byte of this.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.auth.conversation import Conversation, Document, Step
from mongokey.auth.credential import MongoCredential
from mongokey.auth.mechanism import FORBIDDEN, OPTIONAL, WHOLE_LOGIN, Mechanism

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike


class X509Conversation(Conversation):
    """One command; with speculation none at all, as the hello's answer holds the result."""

    mechanism = "MONGODB-X509"

    def __init__(self, credential: MongoCredential, address: AddressLike) -> None:
        self.source = credential.source
        self._user = credential.username

    def _command(self) -> Document:
        command: Document = {"authenticate": 1, "mechanism": "MONGODB-X509"}
        if self._user is not None:
            command["user"] = self._user
        return command

    def speculative(self) -> Document | None:
        command = self._command()
        command["db"] = self.source
        return command

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        return None if speculative_reply is not None else self._command()

    def _next(self, reply: Mapping[str, Any]) -> Step:
        return None


X509 = Mechanism(
    "MONGODB-X509",
    username=OPTIONAL,
    password=FORBIDDEN,
    external=True,
    certificate=True,
    conversation=X509Conversation,
    speculates=WHOLE_LOGIN,
)
