"""The ways a login fails once the server has answered.

All are `OperationFailure`, so that code written for PyMongo catches them. Knows nothing of how
a failure is explained (`diagnosis`).
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.errors import OperationFailure, labels_in

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.login_context import LoginContext

__all__ = ["AuthenticationFailed", "LoginTimeout", "ProviderFailed", "ServerProofError"]


class AuthenticationFailed(OperationFailure):
    """The server, or the client on its behalf, refused a login.

    The message says what was tried and what most likely helps; it is complete, so the server's
    answer is not repeated behind it. `login` says as attributes who tried to log in where and how,
    `diagnoses` what most likely is wrong, the surest first; None and () when a conversation was
    used alone. A pickle takes them along without the credential's secrets.

    `answered_from_memory` is True when no server was asked: it had refused the same secret
    `refused_ago_s` seconds before, and is asked again by a login that begins `retry_in_s` seconds
    later or after that. Both are None where the server refused this very login, or one that this
    one waited for.
    """

    login: LoginContext | None
    answered_from_memory: bool = False
    refused_ago_s: float | None = None
    retry_in_s: float | None = None

    def __init__(
        self,
        error: str,
        code: int | None = None,
        details: Mapping[str, Any] | None = None,
        max_wire_version: int | None = None,
    ) -> None:
        super().__init__(error, code, None, max_wire_version)
        self._answer = details
        self._error_labels.update(labels_in(details))
        self.login = None

    @property
    def details(self) -> Mapping[str, Any] | None:
        """The server's complete answer, or None when it never gave one."""
        return self._answer

    def _attributes(self) -> dict[str, Any]:
        login = self.login
        return {
            **super()._attributes(),
            # The password is not to leave this process.
            "login": None if login is None else login.without_secrets(),
        }


class ServerProofError(AuthenticationFailed):
    """The server did not prove that it knows the user's password, or broke the protocol.

    A server without the proof may be an impostor: nothing was sent to it but a SCRAM proof,
    which does not reveal the password.
    """


class ProviderFailed(AuthenticationFailed):
    """What is to give the secret of a login (``credentials=``) failed; `__cause__` is its error.

    The server had no part in it: connections that are open stay, and so does the client.
    """


class LoginTimeout(AuthenticationFailed):
    """What a login had to wait for besides the server (a callback, a person) took too long.

    Trying at once again would take as long again, so it is no `NetworkTimeout`, which is retried.
    """

    @property
    def timeout(self) -> bool:
        return True
