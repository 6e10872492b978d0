"""`from_keyring`: the secret is in the keyring of the machine, by the library `keyring`.

Knows that library's two questions. Must not know back ends.
"""

from __future__ import annotations

from mongokey._support.lazy import import_late
from mongokey._support.reprs import with_safe_repr
from mongokey.credentials import Request, Secret
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


@with_safe_repr
class from_keyring:  # noqa: N801 - it is used as a function
    """A provider (`CredentialProvider`) of the password that a keyring has (macOS's Keychain,
    Secret Service, Windows's Credential Locker): ``pip install mongokey[keyring]``.

    :param service: what the password is filed under (`keyring set SERVICE USER`)
    :param username: the user, None for the client's; where that is None too, the one that the
        keyring has for the service
    :param keyring: a back end of that library's; None for the machine's

    It is asked when a first connection is made, and after a refused login. It raises LookupError
    where there is no such password, ConfigurationError where the library is missing, and what the
    keyring raises.
    """

    def __init__(self, service: str, username: str | None = None, *, keyring: Any = None) -> None:
        self.service = service
        self.username = username
        self.name = f"from_keyring({service!r})"
        self._keyring = keyring

    def __call__(self, request: Request) -> Secret:
        keyring = self._keyring
        if keyring is None:
            try:
                keyring = import_late("keyring")
            except ImportError:
                raise ConfigurationError(
                    f"{self.name} needs the library keyring: pip install 'mongokey[keyring]'"
                ) from None
        username = self.username if self.username is not None else request.username
        if username is None:
            found = keyring.get_credential(self.service, None)
            if found is None:
                raise LookupError(f"the keyring has nothing for {self.service!r}")
            return Secret(found.username, found.password)
        password = keyring.get_password(self.service, username)
        if password is None:
            raise LookupError(f"the keyring has no password of {username!r} for {self.service!r}")
        return Secret(username, password)

    def __repr__(self) -> str:
        return self.name


__all__ = ["from_keyring"]
