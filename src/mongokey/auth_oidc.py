"""What an application's OIDC callback is, gets and gives, under PyMongo's names
(`pymongo.auth_oidc`).

Knows these values and masks their tokens. Must not know how a login uses them (`auth.oidc`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["OIDCCallback", "OIDCCallbackContext", "OIDCCallbackResult", "OIDCIdPInfo"]


@with_safe_repr
@dataclass
class OIDCIdPInfo:
    """What the server says of the identity provider that a person is to log in at.

    :param issuer: the provider's URL; the tokens' `iss`, and where discovery (RFC 8414) starts
    :param clientId: the id this application has with the provider, None where it has none
    :param requestScopes: the scopes to ask the provider for, None where the server names none
    """

    issuer: str
    clientId: str | None = None  # noqa: N815 - PyMongo's name, and the server's
    requestScopes: list[str] | None = None  # noqa: N815


@with_safe_repr
@dataclass
class OIDCCallbackContext:
    """What a callback is called with.

    :param timeout_seconds: how long the callback may take; what comes later is not used
    :param username: the client's user name, "" where none was given
    :param version: version of this interface, 1
    :param refresh_token: what the last call gave as one, for human callbacks
    :param idp_info: which identity provider to use, for human callbacks
    """

    timeout_seconds: float
    username: str
    version: int
    refresh_token: str | None = field(default=None, repr=False)
    idp_info: OIDCIdPInfo | None = None


@dataclass
class OIDCCallbackResult:
    """What a callback returns.

    :param access_token: the access token, a JWT, as the provider gave it
    :param expires_in_seconds: for how long it is valid; zero and less are refused, None is
        not known
    :param refresh_token: what gets a new access token without the person, for human callbacks
    """

    access_token: str = field(repr=False)
    expires_in_seconds: float | None = None
    refresh_token: str | None = field(default=None, repr=False)


class OIDCCallback(ABC):
    """Base class of callbacks: a subclass says how this application gets its access token.

    One call is made at a time per client, in a thread of its own, at least 0.1 s after the last;
    tokens are kept by the client, so `fetch` need not keep them. `fetch` may be ``async def``:
    it then runs in an event loop of its own.
    """

    @abstractmethod
    def fetch(
        self, context: OIDCCallbackContext
    ) -> OIDCCallbackResult | Awaitable[OIDCCallbackResult]:
        """A new access token. What it raises ends the login with `AuthenticationFailed`, whose
        `__cause__` is that error."""
