"""What a Kerberos library is to a login: it opens security contexts towards a service.

Knows the few calls that a GSSAPI login needs (RFC 4752, section 3.1). Must not know a library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from mongokey._support.portable import Portable
from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mongokey._support.deadline import Deadline
    from mongokey.auth.kerberos.tickets import PasswordTickets


@with_safe_repr
class Service:
    """The service that a ticket is asked for.

    :param name: SERVICE_NAME ("mongodb")
    :param host: the host name, as it goes into the principal
    :param realm: SERVICE_REALM, or None to leave the realm to the library's configuration
    :param origin: words for where the host name came from
    """

    __slots__ = ("host", "name", "origin", "realm")

    def __init__(self, name: str, host: str, realm: str | None, origin: str) -> None:
        self.name = name
        self.host = host
        self.realm = realm
        self.origin = origin

    @property
    def host_based(self) -> str:
        """`name@host`: the library finds the realm, and canonicalises the host as configured."""
        return f"{self.name}@{self.host}"

    @property
    def principal(self) -> str | None:
        """`name/host@REALM`, which is asked for as it stands; None without a realm."""
        return f"{self.name}/{self.host}@{self.realm}" if self.realm is not None else None

    def __str__(self) -> str:
        return self.principal or self.host_based


class Ticket:
    """A ticket that is there: its principal, and how many seconds it still lives if known."""

    __slots__ = ("lifetime_s", "principal")

    def __init__(self, principal: str, lifetime_s: int | None) -> None:
        self.principal = principal
        self.lifetime_s = lifetime_s


@with_safe_repr
class KerberosFailure(Portable, Exception):
    """A call of a library failed.

    `messages` are the library's own, from the general (the GSS major status) to the specific
    (the mechanism's minor status), each with its code or None. `ticket` is what the default
    cache holds instead, if that was found out.
    """

    def __init__(self, library: str, messages: Sequence[tuple[str, int | None]]) -> None:
        super().__init__(library, messages)
        self.library = library
        self.messages = list(messages)
        self.ticket: Ticket | None = None

    def __str__(self) -> str:
        said = [
            f"{text.strip().rstrip('.')} ({code})" if code is not None else text.strip()
            for text, code in self.messages
        ]
        return f"{self.library}: {'; '.join(said)}"


class Context(ABC):
    """One security context, the initiator's side; used by one thread at a time.

    All calls raise `KerberosFailure`.
    """

    complete: bool = False
    #: Who the ticket is for, known once the context is complete.
    principal: str | None = None

    @abstractmethod
    def step(self, token: bytes) -> bytes:
        """Take the acceptor's token (first: b"") and give the next one, b"" for none."""

    def failed(self) -> None:  # noqa: B027 - most contexts share nothing
        """Told when the login failed: what this context shares with others may be why."""

    @abstractmethod
    def unwrap(self, token: bytes) -> bytes:
        """What is in a message that the acceptor protected."""

    @abstractmethod
    def wrap(self, message: bytes) -> bytes:
        """`message` signed, and not encrypted."""


class Library(ABC):
    """A Python package that speaks Kerberos. Its module is loaded when it is first made.

    `package` is its name on PyPI; `passwords` says whether it can log in with a password.
    Raises ImportError (or OSError, when the system's own library is missing) when it is not there.
    """

    package: str
    passwords: bool = True

    def default_ticket(self) -> Ticket | None:
        """What the default cache holds, without asking anybody; None where that is not known."""
        return None

    @abstractmethod
    def open(
        self,
        service: Service,
        username: str,
        password: str | None,
        tickets: PasswordTickets,
        deadline: Deadline | None = None,
    ) -> Context:
        """A new context for `username` towards `service`; may wait for the KDC.

        Without a password, the ticket comes from where the system keeps tickets. `tickets` are
        those that passwords got before, for libraries that can keep them; `deadline` bounds the
        wait for one that another login is getting. Raises `KerberosFailure`, `NetworkTimeout`.
        """
