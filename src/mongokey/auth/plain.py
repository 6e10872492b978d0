"""PLAIN (RFC 4616): user name and password as they are, for LDAP behind the server.

Knows one message, its end, and what an LDAP login's failures can mean. The password crosses the
connection readable; whether the connection is encrypted is for the connection to know and to warn
about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mongokey._support.lazy import late_imports
from mongokey._support.secrets import keeps_secrets
from mongokey._support.server_codes import BAD_VALUE, LOGIN_REFUSED_CODES
from mongokey.auth import sasl
from mongokey.auth.conversation import Conversation, Step
from mongokey.auth.credential import MongoCredential
from mongokey.auth.errors import ServerProofError
from mongokey.auth.mechanism import EXTERNAL, REQUIRED, Mechanism
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.login_context import LoginContext
    from mongokey.diagnostics import Diagnosis


class PlainConversation(Conversation):
    """`NUL user NUL password` in one saslStart; the server's answer must be done."""

    mechanism = "PLAIN"

    def __init__(self, credential: MongoCredential, address: AddressLike) -> None:
        self.source = credential.source
        self._credential = credential

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        return sasl.start("PLAIN", _message(self._credential))

    def _next(self, reply: Mapping[str, Any]) -> Step:
        if not sasl.read(reply, "PLAIN").done:
            raise ServerProofError("PLAIN: the server wants to go on, but PLAIN is one message")
        return None


@keeps_secrets
def _message(credential: MongoCredential) -> bytes:
    return f"\0{credential.username}\0{credential.password}".encode()


def _check(username: str | None, password: str | None, properties: Mapping[str, Any]) -> None:
    for option, value in (("username", username), ("password", password)):
        # RFC 4616: NUL separates the parts, so it can stand in neither.
        if "\0" in (value or ""):
            raise ConfigurationError(f"{option} contains a NUL character, which PLAIN cannot send")
        if any("\ud800" <= c <= "\udfff" for c in value or ""):
            raise ConfigurationError(f"{option} contains a lone surrogate, which has no UTF-8 form")


def find_hints(code: Any, context: LoginContext) -> Iterator[Diagnosis]:
    """The causes that only PLAIN has (`registry.HINTS`)."""
    with late_imports:
        from mongokey.diagnostics import CERTAIN, LIKELY, Diagnosis

    credential = context.credential
    source = credential.source
    if source != EXTERNAL and (code == BAD_VALUE or code in LOGIN_REFUSED_CODES):
        yield Diagnosis(
            "LDAP-SOURCE",
            CERTAIN if code == BAD_VALUE else LIKELY,
            f"users of LDAP log in at {EXTERNAL}, and this login went to {source!r} (from "
            f"{credential.source_origin})",
            fix=f"set authSource={EXTERNAL}",
        )
    elif code in LOGIN_REFUSED_CODES:
        yield Diagnosis(
            "LDAP-REFUSED",
            LIKELY,
            "the server has LDAP check the password and tells nobody what LDAP answered: an "
            "unknown user, a wrong password, a locked or expired account, an LDAP server that is "
            f"down, and a user that {EXTERNAL} does not know all look like this",
            fix="the server's log says which; ldapwhoami -x -W -D <the user's DN> asks LDAP "
            "directly",
        )


PLAIN = Mechanism(
    "PLAIN",
    username=REQUIRED,
    password=REQUIRED,
    check=_check,
    conversation=PlainConversation,
    shown_in_plaintext="the password",
)
