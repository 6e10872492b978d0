"""What gives a client its tokens: the application's callback or a built-in environment, called
and checked the same way.

Knows time limits, ALLOWED_HOSTS and what a callback may return (auth.md, "OIDC Callback"). Must
not know the wire, nor when a token is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

from mongokey._support.awaiting import in_private_loop
from mongokey._support.deadline import Timeout
from mongokey._support.hostnames import host_problem
from mongokey._support.lazy import late_imports
from mongokey._support.portable import Portable
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secret_texts import hide_tokens
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout
from mongokey.auth.oidc.tokens import Failure
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.awaiting import AwaitResult
    from mongokey._support.deadline import Deadline
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth_oidc import OIDCCallbackContext, OIDCCallbackResult, OIDCIdPInfo

# auth.md, "OIDC Callback": the version of what callbacks get and give.
VERSION = 1
# auth.md: one minute where timeoutMS does not say otherwise; five for a person, always.
MACHINE_TIMEOUT = Timeout(60_000_000_000)
HUMAN_TIMEOUT = Timeout(300_000_000_000)

# auth.md, "ALLOWED_HOSTS".
DEFAULT_ALLOWED_HOSTS = (
    "*.mongodb.net",
    "*.mongodb-qa.net",
    "*.mongodb-dev.net",
    "*.mongodbgov.net",
    "localhost",
    "127.0.0.1",
    "::1",
    "*.mongo.com",
)

_LONGEST_REASON = 500


@with_safe_repr
class Provider:
    """Where a client's tokens come from; `human` says that a person may be asked."""

    __slots__ = ("allowed_hosts", "human", "name", "source", "username")

    def __init__(self, credential: MongoCredential) -> None:
        properties = credential.mechanism_properties
        self.username = credential.username
        self.human = "OIDC_HUMAN_CALLBACK" in properties
        environment = properties.get("ENVIRONMENT")
        if environment is not None:
            with late_imports:
                from mongokey.auth.oidc.environments import SOURCES

            self.source: Any = SOURCES[environment](properties.get("TOKEN_RESOURCE"))
            self.name = f"ENVIRONMENT:{environment}"
        else:
            option = "OIDC_HUMAN_CALLBACK" if self.human else "OIDC_CALLBACK"
            self.source = properties[option]
            self.name = f"{option} ({type(self.source).__qualname__})"
        self.allowed_hosts: Sequence[str] = properties.get("ALLOWED_HOSTS", DEFAULT_ALLOWED_HOSTS)

    def deadline(self, login: Deadline | None) -> Deadline:
        """By when a call that begins now has to be done; `login` is the deadline of a login that
        timeoutMS bounds, None without one."""
        if self.human:
            return HUMAN_TIMEOUT.start()
        return MACHINE_TIMEOUT.start() if login is None else login

    def check_host(self, host: str) -> None:
        """Raise ConfigurationError if a person's token must not go to `host`."""
        if self.human and not is_allowed(host, self.allowed_hosts):
            raise ConfigurationError(
                f"MONGODB-OIDC with OIDC_HUMAN_CALLBACK does not log in to {host}: it is not among "
                f"ALLOWED_HOSTS ({', '.join(self.allowed_hosts) or 'an empty list'}). If this "
                "server may have the tokens of your users, add its name to ALLOWED_HOSTS in "
                "authMechanismProperties"
            )

    def context(
        self, timeout_s: float, refresh_token: Any, idp_info: OIDCIdPInfo | None
    ) -> OIDCCallbackContext:
        """What a call is made with."""
        with late_imports:
            from mongokey.auth_oidc import OIDCCallbackContext

        return OIDCCallbackContext(
            timeout_seconds=timeout_s,
            username=self.username or "",
            version=VERSION,
            refresh_token=refresh_token,
            idp_info=idp_info,
        )

    def ask(
        self, context: OIDCCallbackContext, await_result: AwaitResult = in_private_loop
    ) -> OIDCCallbackResult | Failure:
        """Call the source, blocking, and check what it gives. Never raises. `await_result` awaits
        what a coroutine function returned.

        A callback's error keeps this frame, so nothing secret may be in a variable of it.
        """
        try:
            return _checked(self._fetch(context, await_result), self.name)
        except _Wrong as wrong:
            return wrong.failure
        # Whatever it raises ends the call, and with it the waiting of others.
        except BaseException as error:
            return self._failed(error, context.timeout_seconds)

    def _fetch(self, context: OIDCCallbackContext, await_result: AwaitResult) -> Any:
        result = self.source.fetch(context)
        if hasattr(result, "__await__"):
            result = await_result(result, context.timeout_seconds)
        return result

    def _failed(self, error: BaseException, timeout_s: float) -> Failure:
        with late_imports:
            from mongokey.auth.oidc.metadata import SourceError

        if isinstance(error, SourceError):
            return Failure(error.kind, error.message, error.__cause__, error.hint)
        text = hide_tokens(str(error))[:_LONGEST_REASON]
        raised = f"{self.name} raised {type(error).__name__}" + (f": {text}" if text else "")
        if isinstance(error, TimeoutError):
            return Failure(LoginTimeout, f"{raised} (it had {timeout_s:.1f} s)", error)
        return Failure(AuthenticationFailed, raised, error)

    def too_late(self, deadline: Deadline) -> Failure:
        """What to say of a call that was waited for in vain until then."""
        waited_s = (deadline.at_ns - deadline.began_ns) / 1e9
        option = "" if deadline.timeout.option is None else f" ({deadline.timeout})"
        return Failure(
            LoginTimeout, f"{self.name} gave no access token within {waited_s:.1f} s{option}"
        )

    def __repr__(self) -> str:
        return f"<Provider {self.name}>"


def provider_of(credential: MongoCredential) -> Provider:
    """The provider of the client that has `credential`."""
    return credential.state.cache("MONGODB-OIDC provider", lambda: Provider(credential))


def is_allowed(host: str, patterns: Sequence[str]) -> bool:
    """Whether `host` is one of `patterns`: names, or ``*.`` and the end of names below it.

    A Unix socket's path is allowed only by itself: ``*.mongodb.net`` is about host names, and
    ``/tmp/x.mongodb.net`` is none.
    """
    if host_problem(host) is not None:
        return host in patterns
    host = host.lower().removesuffix(".")
    for pattern in patterns:
        pattern = pattern.lower()
        if host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:])):
            return True
    return False


class _Wrong(Portable, Exception):
    """What was returned cannot be used."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def _checked(result: Any, name: str) -> OIDCCallbackResult:
    """`result` if it is usable; PyMongo's own OIDCCallbackResult is."""
    wanted = "return an OIDCCallbackResult(access_token=...)"
    if not hasattr(result, "access_token"):
        kind = "None" if result is None else f"a {type(result).__name__}"
        raise _wrong(ConfigurationError, f"{name} returned {kind}: {wanted}")
    token = result.access_token
    if not isinstance(token, str):
        kind = type(token).__name__
        raise _wrong(
            ConfigurationError, f"{name}: access_token is {kind}, expected a str: {wanted}"
        )
    if not token.strip():
        raise _wrong(AuthenticationFailed, f"{name} returned an empty access token")
    if any("\ud800" <= letter <= "\udfff" for letter in token):
        raise _wrong(ConfigurationError, f"{name}: access_token has a lone surrogate: {wanted}")
    expires = getattr(result, "expires_in_seconds", None)
    if expires is not None:
        if isinstance(expires, bool) or not isinstance(expires, int | float):
            kind = type(expires).__name__
            raise _wrong(
                ConfigurationError,
                f"{name}: expires_in_seconds is {kind}, expected a number of seconds or None",
            )
        if not expires > 0:  # NaN too
            raise _wrong(
                AuthenticationFailed,
                f"{name} returned an access token that has expired already: "
                f"expires_in_seconds={expires}",
            )
    return result  # type: ignore[no-any-return]


def _wrong(kind: type[AuthenticationFailed | ConfigurationError], message: str) -> _Wrong:
    return _Wrong(Failure(kind, message))
