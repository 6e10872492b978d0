"""PLAIN, the server's side: RFC 4616, and a real LDAP simple bind behind it.

Written from RFC 4616, RFC 4513 (simple binds) and RFC 4514 (names), with ldap3. As mongod does, it
tells the client one sentence for every failure; the LDAP server's own answer goes to
`MechanismServer.refusals`. Must not know the code under test.
"""

from __future__ import annotations

import ssl
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping

from tests.servers.mechanism.acceptor import Acceptor, Continue, Done, Exchange, Refused, Session
from tests.servers.needs import need_module

#: LDAP's result code for success (RFC 4511, 4.1.9).
SUCCESS = 0


class Directory(ABC):
    """Knows names and passwords."""

    @abstractmethod
    def check(self, name: str, password: str) -> None:
        """Raise `Refused`, with the cause as its detail, unless the two belong together."""


class KnownUsers(Directory):
    """A directory without LDAP, for tests in which LDAP does not matter."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self.users = users

    def check(self, name: str, password: str) -> None:
        if self.users.get(name) != password:
            raise Refused(detail="name or password wrong")


class LdapDirectory(Directory):
    """Binds at an LDAP server as the user, as mongod does with bindMethod simple.

    `url` is ldap:// or ldaps://; `start_tls` upgrades the former. `base` holds the users as
    uid=<name>. `ca_file` is whom to trust, `host_name` another name that the certificate may be
    for: ldap3 compares no addresses from Python 3.12 on. `timeout` (seconds) holds for connecting
    and for each answer.
    """

    def __init__(
        self,
        url: str,
        base: str,
        *,
        ca_file: str | None = None,
        host_name: str | None = None,
        start_tls: bool = False,
        timeout: int = 10,
    ) -> None:
        self.url = url
        self.base = base
        self.start_tls = start_tls
        self.timeout = timeout
        with warnings.catch_warnings():
            # ldap3 takes old names of pyasn1.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._ldap3 = need_module("ldap3", extra="test")
        self._tls = None
        if ca_file is not None:
            # By default ldap3 takes Python's own context, which from 3.13 on refuses authorities
            # without an Authority Key Identifier. It compares the host name by itself.
            self._tls = self._ldap3.Tls(
                validate=ssl.CERT_REQUIRED,
                version=ssl.PROTOCOL_TLS_CLIENT,
                ca_certs_file=ca_file,
                valid_names=None if host_name is None else [host_name],
            )

    def dn_of(self, name: str) -> str:
        """The distinguished name of a user."""
        return f"uid={escape(name)},{self.base}"

    def check(self, name: str, password: str) -> None:
        if not password:
            # RFC 4513, 5.1.2: LDAP would take it for an anonymous bind, and say success.
            raise Refused(detail="the password is empty")
        ldap3 = self._ldap3
        try:
            server = ldap3.Server(
                self.url, tls=self._tls, get_info=ldap3.NONE, connect_timeout=self.timeout
            )
            connection = ldap3.Connection(
                server,
                self.dn_of(name),
                password,
                check_names=False,
                receive_timeout=self.timeout,
            )
            try:
                if self.start_tls:
                    connection.start_tls()
                connection.bind()
                result = connection.result
            finally:
                connection.unbind()
                if connection.socket is not None:
                    connection.socket.close()  # ldap3 leaves it open when it cannot connect
        except ldap3.core.exceptions.LDAPException as error:
            raise Refused(detail=f"LDAP {self.url}: {type(error).__name__}: {error}") from error
        if result["result"] != SUCCESS:
            raise Refused(
                detail=f"LDAP {self.url}: {result['result']} {result['description']} "
                f"{result['message']}".rstrip()
            )


def escape(value: str) -> str:
    """An attribute value as RFC 4514, section 2.4, writes it in a distinguished name."""
    escaped = "".join(f"\\{c}" if c in '"+,;<>\\=' else c for c in value).replace("\0", "\\00")
    if escaped.startswith((" ", "#")):
        escaped = f"\\{escaped}"
    if escaped.endswith(" ") and len(value) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return escaped


class PlainAcceptor(Acceptor):
    """Logs in whom `directory` knows; the identity is the user name as it was given."""

    mechanism = "PLAIN"

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def begin(self, session: Session) -> Exchange:
        return _Exchange(self.directory)


class _Exchange(Exchange):
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def step(self, payload: bytes) -> Continue | Done:
        parts = payload.split(b"\0")
        if len(parts) != 3:
            raise Refused(detail=f"the PLAIN message has {len(parts) - 1} NULs, not 2")
        try:
            authorization, name, password = (part.decode() for part in parts)
        except UnicodeDecodeError as error:
            raise Refused(detail="the PLAIN message is not UTF-8") from error
        if not name:
            raise Refused(detail="the user name is empty")
        if authorization not in ("", name):
            # RFC 4616, section 2: to act for somebody else takes a right that nobody has here.
            raise Refused(detail=f"{name!r} may not act for {authorization!r}")
        self._directory.check(name, password)
        return Done(name)
