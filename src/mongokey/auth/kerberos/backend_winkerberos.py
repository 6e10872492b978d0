"""The PyPI package `winkerberos`: SSPI, on Windows.

It has pykerberos's functions, and takes a user with a password besides; without a password
Windows's own credentials of the process's user are used. Written to its documentation
(github.com/mongodb/winkerberos) and tested with a stand-in that holds calls to it.
"""

from __future__ import annotations

from mongokey.auth.kerberos.backend_pykerberos import KerberosModuleContext
from mongokey.auth.kerberos.interface import Context, Library, Service

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.auth.kerberos.tickets import PasswordTickets


class WinkerberosLibrary(Library):
    """See the module."""

    package = "winkerberos"

    def __init__(self) -> None:
        import winkerberos

        self._module: Any = winkerberos

    def open(
        self,
        service: Service,
        username: str,
        password: str | None,
        tickets: PasswordTickets,
        deadline: Deadline | None = None,
    ) -> Context:
        # auth.md, "GSSAPI": a user name without a password is not passed to SSPI.
        options = {} if password is None else {"principal": _principal(username, password)}
        return KerberosModuleContext(
            self._module, self.package, service.principal or service.host_based, **options
        )


def _principal(username: str, password: str) -> bytes:
    """`user@REALM:password` as winkerberos takes it apart again.

    Only what it would misread is percent-encoded, and the rest goes as UTF-8: Windows undoes an
    escape into one character, so escaped UTF-8 would come out as something else.
    """
    return ":".join(
        part.replace("%", "%25").replace(":", "%3A") for part in (username, password)
    ).encode()
