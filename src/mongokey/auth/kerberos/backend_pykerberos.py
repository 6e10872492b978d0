"""The PyPI package `pykerberos` (module `kerberos`): tickets of the default cache, on Unix.

Its `authGSSClientInit` keeps Python's lock while it gets a credential: named a principal that a
keytab serves, it freezes the whole process until the KDC answers. So no principal is named to it,
and the default credential is used, which the first step gets without the lock. It takes no
password.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from mongokey.auth.kerberos.interface import Context, KerberosFailure, Library, Service

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.auth.kerberos.tickets import PasswordTickets


class KerberosModuleLibrary(Library):
    """`pykerberos`, or another module with its functions (`kerberos` on macOS)."""

    package = "pykerberos"
    passwords = False

    def __init__(self) -> None:
        import kerberos

        self._module: Any = kerberos

    def open(
        self,
        service: Service,
        username: str,
        password: str | None,
        tickets: PasswordTickets,
        deadline: Deadline | None = None,
    ) -> Context:
        # A name with a slash is taken for a principal as it stands.
        return KerberosModuleContext(
            self._module, self.package, service.principal or service.host_based
        )


class KerberosModuleContext(Context):
    """A context by the functions that pykerberos and winkerberos share.

    :param module: the module
    :param package: its name, for errors
    :param service: `name@host` or `name/host@REALM`
    :param options: more arguments of `authGSSClientInit`
    """

    def __init__(self, module: Any, package: str, service: str, **options: Any) -> None:
        self._module = module
        self._package = package
        try:
            _, self._context = module.authGSSClientInit(
                service, gssflags=module.GSS_C_MUTUAL_FLAG, **options
            )
        except module.KrbError as error:
            raise failure(package, error) from None

    def step(self, token: bytes) -> bytes:
        answer = self._call("authGSSClientStep", b64encode(token).decode())
        if answer == self._module.AUTH_GSS_COMPLETE:
            try:
                self.principal = self._module.authGSSClientUserName(self._context)
            except self._module.KrbError as error:
                raise failure(self._package, error) from None
            self.complete = True
        return self._response()

    def unwrap(self, token: bytes) -> bytes:
        self._call("authGSSClientUnwrap", b64encode(token).decode())
        return self._response()

    def wrap(self, message: bytes) -> bytes:
        # Not given a user: with one, the message would be pykerberos's own, which answers the
        # server's maximum size instead of 0 and reads past short ones.
        self._call("authGSSClientWrap", b64encode(message).decode())
        return self._response()

    def _call(self, function: str, argument: str) -> int:
        try:
            answer: int = getattr(self._module, function)(self._context, argument)
        except self._module.KrbError as error:
            raise failure(self._package, error) from None
        return answer

    def _response(self) -> bytes:
        response = self._module.authGSSClientResponse(self._context)
        return b64decode(response) if response else b""


def failure(package: str, error: Exception) -> KerberosFailure:
    """An exception of the module in our form: ("major", code), ("minor", code), or a text."""
    messages: list[tuple[str, int | None]] = []
    for part in error.args:
        if isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], int):
            messages.append((str(part[0]), part[1]))
        else:
            messages.append((str(part), None))
    return KerberosFailure(package, messages or [("no message", None)])
