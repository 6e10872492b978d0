"""The PyPI package `gssapi` (python-gssapi): all forms of a login, on Unix.

It gives up Python's lock in every call that may ask the KDC, so other threads go on meanwhile.
Knows its low-level interface, whose errors come at once and with both status codes.
"""

from __future__ import annotations

from mongokey.auth.kerberos.interface import Context, KerberosFailure, Library, Service, Ticket

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.auth.kerberos.tickets import PasswordTickets

# A ticket with less life left than this, in seconds, is not used for another login.
_SHORTEST_LIFE_S = 60


class GssapiLibrary(Library):
    """See the module. Contexts use the credential of the user named, not just the default one."""

    package = "gssapi"

    def __init__(self) -> None:
        import gssapi.raw

        self._raw: Any = gssapi.raw
        # An extension, which old system libraries lack.
        self.passwords = hasattr(gssapi.raw, "acquire_cred_with_password")

    def open(
        self,
        service: Service,
        username: str,
        password: str | None,
        tickets: PasswordTickets,
        deadline: Deadline | None = None,
    ) -> Context:
        raw = self._raw
        try:
            user = raw.import_name(username.encode(), raw.NameType.user)
            if password is not None:
                credential = tickets.get(
                    lambda: self._with_password(user, password), self._lives, deadline
                )
            else:
                credential = self._from_system(user)
            principal = service.principal
            if principal is not None:
                # Taken as it stands. Builds that lack the type take a name without one so too.
                kind = getattr(raw.NameType, "kerberos_principal", None)
                target = raw.import_name(principal.encode(), kind)
            else:
                target = raw.import_name(
                    service.host_based.encode(), raw.NameType.hostbased_service
                )
            return _GssapiContext(raw, target, credential, tickets if password else None)
        except raw.GSSError as error:
            raise failure(raw, error) from None

    def _with_password(self, user: Any, password: str) -> Any:
        raw = self._raw
        try:
            return raw.acquire_cred_with_password(
                user, password.encode(), mechs=[raw.MechType.kerberos], usage="initiate"
            ).creds
        except raw.GSSError as error:
            # Here and not where all threads that wait for it get it: see `failure`.
            raise failure(raw, error) from None

    def _lives(self, credential: Any) -> bool:
        raw = self._raw
        try:
            left = raw.inquire_cred(credential, name=False, usage=False, mechs=False).lifetime
        except raw.GSSError:
            return False  # it expired
        return left is None or left > _SHORTEST_LIFE_S

    def _from_system(self, user: Any) -> Any:
        raw = self._raw
        try:
            return raw.acquire_cred(user, mechs=[raw.MechType.kerberos], usage="initiate").creds
        except raw.GSSError as error:
            failed = failure(raw, error)
            failed.ticket = self.default_ticket()
            raise failed from None

    def default_ticket(self) -> Ticket | None:
        """What the default cache holds; asks nobody."""
        from os import environ

        if "KRB5_CLIENT_KTNAME" in environ:
            return None  # the library would ask the KDC for a ticket by that keytab
        raw = self._raw
        try:
            creds = raw.acquire_cred(None, mechs=[raw.MechType.kerberos], usage="initiate").creds
            found = raw.inquire_cred(creds, usage=False, mechs=False)
        except raw.GSSError:
            return None
        return Ticket(_display(raw, found.name), found.lifetime)


class _GssapiContext(Context):
    def __init__(
        self, raw: Any, target: Any, credential: Any, tickets: PasswordTickets | None
    ) -> None:
        self._raw = raw
        self._target = target
        self._credential = credential
        self._tickets = tickets
        self._context: Any = None

    def step(self, token: bytes) -> bytes:
        raw = self._raw
        try:
            result = raw.init_sec_context(
                self._target,
                self._credential,
                self._context,
                mech=raw.MechType.kerberos,
                flags=[raw.RequirementFlag.mutual_authentication],
                input_token=token or None,
            )
            self._context = result.context
            if not result.more_steps:
                found = raw.inquire_context(self._context, initiator_name=True)
                self.principal = _display(raw, found.initiator_name)
                self.complete = True
        except raw.GSSError as error:
            raise failure(raw, error) from None
        return result.token or b""

    def failed(self) -> None:
        if self._tickets is not None:
            self._tickets.drop(self._credential)

    def unwrap(self, token: bytes) -> bytes:
        try:
            message: bytes = self._raw.unwrap(self._context, token).message
        except self._raw.GSSError as error:
            raise failure(self._raw, error) from None
        return message

    def wrap(self, message: bytes) -> bytes:
        try:
            wrapped: bytes = self._raw.wrap(self._context, message, confidential=False).message
        except self._raw.GSSError as error:
            raise failure(self._raw, error) from None
        return wrapped


def _display(raw: Any, name: Any) -> str:
    text: bytes = raw.display_name(name, name_type=False).name
    return text.decode(errors="replace")


def failure(raw: Any, error: Any) -> KerberosFailure:
    """`error`, a GSSError, in our form. Called in the thread that had it: MIT's library keeps
    the minor status's text there."""
    messages = []
    for code, major in ((error.maj_code, True), (error.min_code, False)):
        if major or code:
            text = "; ".join(error.get_all_statuses(code, major)) or "no message"
            # krb5's codes are negative; gssapi gives them without the sign.
            messages.append((text, code if major or code < 1 << 31 else code - (1 << 32)))
    return KerberosFailure("gssapi", messages)
