"""What is known about one login, for its error and for the command line.

Knows how to say who tried to log in where and how. Must not know causes, nor how a login goes.
"""

from __future__ import annotations

from copy import copy

from mongokey._support.address import AddressLike, format_address
from mongokey._support.portable import portable

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.handshake.reply import HelloReply


class LoginContext:
    """One login: an error has it as `login`.

    `asked` says whether hello asked which mechanisms the user has, as it does where one is to be
    negotiated; `offered` is hello's saslSupportedMechs then, else None;
    `subject` that of the client certificate, None without one; `credential_description` is what the
    conversation adds, `diagnostic_context` what the mechanism's own rules for diagnoses look at
    (`Conversation` has methods of these names).
    """

    __slots__ = (
        "address",
        "asked",
        "credential",
        "credential_description",
        "diagnostic_context",
        "hello",
        "mechanism",
        "offered",
        "subject",
    )

    def __init__(
        self,
        credential: MongoCredential,
        address: AddressLike,
        mechanism: str,
        hello: HelloReply | None,
    ) -> None:
        self.credential = credential
        self.address = address
        self.mechanism = mechanism
        self.hello = hello
        self.asked = credential.mechanism is None
        self.offered: list[Any] | None = None
        self.subject: str | None = None
        self.credential_description: str | None = None
        self.diagnostic_context: Any = None

    def without_secrets(self) -> LoginContext:
        """The same, fit to be pickled: of the credential only what may be shown."""
        same = copy(self)
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "credential":
                value = value.without_secrets()
            setattr(same, name, portable(value))
        return same

    @property
    def user(self) -> str | None:
        """The user name as it may be shown, None when none was given."""
        return self.credential.shown_user

    @property
    def source(self) -> str:
        """The authentication database."""
        return self.credential.source

    @property
    def source_origin(self) -> str:
        """Where the authentication database came from, in words."""
        return self.credential.source_origin

    @property
    def negotiated(self) -> bool:
        """Whether the mechanism was left to negotiation."""
        return self.credential.mechanism is None

    def tried(self) -> str:
        """Who tried to log in where and how, in one clause."""
        return f"login to {format_address(self.address)} failed ({self.describe()})"

    def describe(self) -> str:
        """User, database, mechanism and whether there was a password."""
        credential = self.credential
        user = repr(credential.shown_user) if credential.username is not None else "none given"
        given = "yes" if credential.password is not None else "no"
        how = "given"
        if self.negotiated:
            how = "negotiated: "
            if self.offered is None:
                how += "the server named no mechanism for this user"
            else:
                how += f"the server offers {', '.join(map(str, self.offered[:8])) or 'none'}"
        description = self.credential_description
        return (
            f"user {user}, authentication database {credential.source!r} from "
            f"{credential.source_origin}, mechanism {self.mechanism} ({how}), "
            f"password given: {given}" + (f", {description}" if description is not None else "")
        )
