"""What a new connection is made with where that may change: a provider's secret, TLS's files.

It knows that what is current is found out for each new connection, and when one that was refused is
to be made once more with what is new then. Must not know how a connection is made
(`establish_steps`), nor where secrets and files are from.
"""

from __future__ import annotations

from mongokey._support.shared_errors import own_copy
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.provided import AskProvider, with_provider_fact
from mongokey.auth.refusals import refuses_secret
from mongokey.errors import TLSError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.provided import Held, ProvidedSecrets
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.transport.tls.context import ClientTLS

    Steps = Generator[object, Any, Any]


class Current:
    """What one connection is made with: `credential` and `tls`, once `prepare` has been through.

    `refused` is the secret that the attempt before this one was refused with, and `first_error`
    what that ended with; None in the first attempt.
    """

    def __init__(self, settings: ConnectionSettings, address: AddressLike, log_in: bool) -> None:
        self._settings = settings
        self._address = address
        secrets = settings.secrets
        # A monitor does not log in, but has to show a certificate.
        if not log_in and secrets is not None and not secrets.template.is_certificate:
            secrets = None
        self.secrets: ProvidedSecrets | None = secrets
        self.credential: MongoCredential | None = settings.credential
        self.tls: ClientTLS | None = settings.tls
        self.held: Held | None = None
        self.refused: Held | None = None
        self.first_error: Exception | None = None
        self._files_changed = False

    def prepare(self) -> Steps:
        """Find out what is current; asks the provider if need be."""
        settings, secrets = self._settings, self.secrets
        if settings.tls_watch is not None:
            self.tls = settings.tls = settings.tls_watch.current()
        if secrets is None:
            return
        if self.refused is not None:
            held = yield from self._other_secret(secrets, self.refused)
        else:
            held = yield from current_secret(secrets, self._address)
        self.held = held
        self.credential = held.credential
        if held.identity is not None:
            assert settings.tls_watch is not None, "a certificate is for TLS"
            self.tls = settings.tls_watch.with_identity(held.identity.reveal())

    def _other_secret(self, secrets: ProvidedSecrets, refused: Held) -> Steps:
        """The provider's value after a refusal; the first error, saying so, if that is the same."""
        work = AskProvider(secrets, self._address, refused)
        yield work
        if work.error is None and work.held is not refused:
            return work.held
        error = self.first_error
        assert error is not None, "something was refused"
        if work.error is None:
            secrets.note_unchanged(refused)
        if isinstance(error, AuthenticationFailed):
            told = with_provider_fact(error, secrets.name, changed=False, cause=work.error)
            raise told from work.error or error.__cause__
        raise error from work.error or error.__cause__

    def may_try_again(self, error: Exception) -> bool:
        """Whether the attempt that ended with `error` is to be made once more."""
        if self.first_error is not None:
            return False
        secrets, held = self.secrets, self.held
        if isinstance(error, TLSError):
            watch = self._settings.tls_watch
            # Changed within a tick of the file system's clock, or since this connection began.
            self._files_changed = watch is not None and watch.changed_since(self.tls)
            if self._files_changed or held is None or held.identity is None:
                return self._files_changed
        elif not (isinstance(error, AuthenticationFailed) and refuses_secret(error)):
            return False
        return secrets is not None and held is not None and not secrets.known_unchanged(held)

    def again(self, error: Exception) -> None:
        """`prepare` the second attempt: the first ended with `error`."""
        self.first_error = error
        self.refused = None if self._files_changed else self.held

    def forget(self) -> None:
        """The connection is made, or given up: errors are not kept alive."""
        self.first_error = None

    def explain(self, error: Exception) -> Exception:
        """`error` with what the provider said of another secret, where it was asked; and with what
        is wrong with files that were replaced."""
        watch = self._settings.tls_watch
        if isinstance(error, TLSError) and watch is not None and watch.problem is not None:
            told = own_copy(error)
            told.args = (f"{error.args[0]} (its files were replaced since: {watch.problem})",)
            return told
        if self.secrets is None or self.held is None or not isinstance(error, AuthenticationFailed):
            return error
        if not refuses_secret(error):
            return error
        if self.refused is not None and self.held is not self.refused:
            return with_provider_fact(error, self.secrets.name, changed=True)
        if self.refused is None and self.secrets.known_unchanged(self.held):
            return with_provider_fact(error, self.secrets.name, changed=False)
        return error


def current_secret(secrets: ProvidedSecrets, address: AddressLike) -> Steps:
    """The secret (`Held`) that a new connection to `address` uses: the one held, or what the
    provider gives now."""
    held = secrets.held
    if held is not None:
        return held
    work = AskProvider(secrets, address, None)
    yield work
    if work.error is not None:
        raise work.error
    return work.held


__all__ = ["Current", "current_secret"]
