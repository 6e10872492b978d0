"""Credentials whose secret comes from a provider (`mongokey.credentials`): asked, kept, compared.

Knows when a provider is asked, how long what it gives is good, and what becomes a credential of it.
A secret that did not change is the same `MongoCredential` object. Must not know how a connection is
made, nor where a provider has its secrets from.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.address import format_address
from mongokey._support.awaiting import in_private_loop
from mongokey._support.keyed_digest import keyed_hasher
from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import Secret, keeps_secrets
from mongokey._support.shared_errors import own_copy
from mongokey._support.single_flight import SingleFlight
from mongokey._support.system import monotonic_ns
from mongokey.auth.conversation import OffloadedCall
from mongokey.auth.credential import CredentialState, MechanismProperties, MongoCredential
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ProviderFailed
from mongokey.auth.login_context import LoginContext
from mongokey.auth.registry import DEFAULT, PREFERRED, find_rules
from mongokey.errors import AutoReconnect, ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey._support.awaiting import AwaitResult
    from mongokey._support.deadline import Deadline
    from mongokey._support.single_flight import Flight
    from mongokey.credentials import Request

_AWS, _X509, _OIDC = "MONGODB-AWS", "MONGODB-X509", "MONGODB-OIDC"

NEW, EXPIRED, REFUSED = "new", "expired", "refused"

# A provider that gave the refused secret once more is not asked again about it so soon, however
# many connections are refused.
_UNCHANGED_NS = 1_000_000_000
_LONGEST_REASON = 500
_SECRET = "the secret"  # noqa: S105 - the name of a flight


def provider_name(provider: Any) -> str:
    """What errors call a provider: its `name`, or the function's or class's."""
    name = getattr(provider, "name", None)
    if isinstance(name, str) and name:
        return name
    name = getattr(provider, "__qualname__", None)
    return name if isinstance(name, str) else type(provider).__qualname__


@with_safe_repr
class ProvidedCredential(MongoCredential):
    """What is known of a client's credential without its secret: it stands where the client shows
    and explains what it was told. Logins are made with what `with_secret` returns.

    Raises ConfigurationError where options do not go together with a provider.
    """

    __slots__ = ("provider",)

    provider: Any

    def __init__(
        self,
        provider: Any,
        mechanism: str | None,
        username: str | None,
        database: str | None,
        auth_source: str | None,
        properties: Mapping[str, Any] | None,
    ) -> None:
        if auth_source == "":
            raise ConfigurationError("authSource is empty: name the database that holds the user")
        mechanism = None if mechanism == DEFAULT else mechanism
        rules = find_rules(mechanism)
        _check(mechanism, username, properties or {})
        source, origin = rules.choose_source(auth_source, database)
        secret = frozenset(name for name, rule in rules.properties.items() if rule.secret)
        cleaned = rules.clean_properties(properties or {})
        fill = object.__setattr__
        fill(self, "provider", provider)
        fill(self, "mechanism", mechanism)
        fill(self, "source", source)
        fill(self, "username", username or None)
        fill(self, "_password", None)
        fill(self, "mechanism_properties", MechanismProperties(cleaned, secret))
        fill(self, "source_origin", origin)
        fill(self, "state", CredentialState())

    @property
    def is_certificate(self) -> bool:
        """Whether the secret is the client certificate of TLS."""
        return find_rules(self.mechanism).certificate

    @property
    def provider_name(self) -> str:
        """What errors call the provider."""
        return provider_name(self.provider)

    @keeps_secrets
    def with_secret(self, given: Any) -> MongoCredential:
        """The credential with what the provider gave. Raises `ConfigurationError`."""
        properties = dict(self.mechanism_properties)
        if self.mechanism == _AWS:
            if given.session_token is not None:
                properties["AWS_SESSION_TOKEN"] = given.session_token
            username, password = given.access_key_id, given.secret_access_key
        elif self.mechanism == _X509:
            username, password = given.username, None
        else:
            username, password = given.username, given.password
        if self.username is not None:
            if username is not None and username != self.username:
                raise ConfigurationError(
                    f"it gave the secret of user {username!r}, and the client's user is "
                    f"{self.username!r}: leave the user name out of the URI, or out of the secret"
                )
            username = self.username
        return MongoCredential(
            self.mechanism, self.source, username, password, properties, self.source_origin
        )

    def _compared(self) -> tuple[Any, ...]:
        return (*super()._compared(), id(self.provider))

    def __repr__(self) -> str:
        parts = [f"mechanism={self.mechanism!r}", f"source={self.source!r}"]
        if self.username is not None:
            parts.append(f"username={self.shown_user!r}")
        return f"ProvidedCredential({', '.join(parts)}, credentials={self.provider_name})"


def _check(mechanism: str | None, username: str | None, properties: Mapping[str, Any]) -> None:
    """Refuse what says something else about where the secret is from."""
    if mechanism == _OIDC:
        raise ConfigurationError(
            "credentials does not go with authMechanism=MONGODB-OIDC, whose tokens come from "
            "OIDC_CALLBACK or ENVIRONMENT of authMechanismProperties"
        )
    if mechanism != _AWS:
        return
    names = {str(name).upper() for name in properties}
    for name in ("AWS_CREDENTIAL_PROVIDER", "AWS_SESSION_TOKEN"):
        if name in names:
            raise ConfigurationError(
                f"credentials and the mechanism property {name} cannot be given together: both say "
                "where AWS's keys are from"
            )
    if username:
        raise ConfigurationError(
            "username was given with credentials: for MONGODB-AWS the provider gives the access "
            "key's id too; leave the user name out"
        )


@with_safe_repr
class Held:
    """A secret as the provider gave it: the credential, and for how long it is good.

    `given` is the provider's value, masked; `identity` the same for MONGODB-X509, whose certificate
    the connection's TLS is made with, else None. `expires_ns` is monotonic, None for no end.
    """

    __slots__ = ("credential", "expires_ns", "given", "identity")

    def __init__(self, credential: MongoCredential, given: Any, expires_ns: int | None) -> None:
        self.credential = credential
        self.given = Secret(given)
        self.identity = self.given if credential.mechanism == _X509 else None
        self.expires_ns = expires_ns

    def good(self, now_ns: int) -> bool:
        """Whether a connection that is made now uses it without asking."""
        return self.expires_ns is None or now_ns < self.expires_ns

    def __repr__(self) -> str:
        return f"<Held {self.credential!r}>"


class AskProvider(OffloadedCall):
    """Has the provider asked, or waits for the call that is under way; `held` is what came."""

    def __init__(
        self, secrets: ProvidedSecrets, address: AddressLike, refused: Held | None
    ) -> None:
        self.what = f"asking {secrets.name} for the user's secret"
        self._secrets = secrets
        self._address = address
        self._refused = refused
        self._deadline: Deadline | None = None
        self.held: Held | None = None

    def run(self, deadline: Deadline | None = None) -> None:
        self._deadline = deadline
        super().run(deadline)

    def _work(self) -> None:
        self.held = self._secrets.fetch(
            self._address, self._refused, self._deadline, self.cancelled, self.await_result
        )


class ProvidedSecrets:
    """The secrets of one client's credential, as its provider gives them; thread-safe, and a forked
    child may use it.

    :param on_new: called with each new credential, and for MONGODB-X509 a digest of its certificate
        and key, before it is used

    `calls` counts how often the provider was asked.
    """

    def __init__(
        self,
        template: ProvidedCredential,
        on_new: Callable[[MongoCredential, str | None], object] | None = None,
    ) -> None:
        self.template = template
        self._on_new = on_new
        self.name = template.provider_name
        self.calls = 0
        provider = template.provider
        self._ask: Callable[[Request], Any] = getattr(provider, "fetch", None) or provider
        self._held: Held | None = None
        # The call that gave what is held: one that was given up and comes late is older.
        self._held_by = 0
        self._unchanged: tuple[Held, int] | None = None
        self._flights = SingleFlight(shares_errors=True)

    @property
    def held(self) -> Held | None:
        """What a new connection uses without asking, None where there is nothing that is good."""
        held = self._held
        return held if held is not None and held.good(monotonic_ns()) else None

    def known_unchanged(self, refused: Held) -> bool:
        """Whether the provider gave `refused` once more a moment ago, after a refusal."""
        known = self._unchanged
        return known is not None and known[0] is refused and monotonic_ns() < known[1]

    def note_unchanged(self, refused: Held) -> None:
        """The provider was asked again, and gave `refused` once more."""
        self._unchanged = refused, monotonic_ns() + _UNCHANGED_NS

    def fetch(
        self,
        address: AddressLike,
        refused: Held | None,
        deadline: Deadline | None,
        cancelled: Callable[[], bool] | None = None,
        await_result: AwaitResult = in_private_loop,
    ) -> Held:
        """What the provider gives: to this call, or to one that is under way. `refused` is what a
        server refused, where that is why it is asked.

        Raises `ProviderFailed`, `LoginTimeout` or `ConfigurationError`, each with the provider's
        name.
        """
        inherited = None
        waited = False
        while True:
            held = self._held
            if refused is not None:
                if held is not None and held is not refused:
                    return held  # another connection was here before
            elif held is not None and held.good(monotonic_ns()):
                return held
            flight, mine = self._flights.join(_SECRET, self)
            if mine or flight is inherited:
                reason = EXPIRED if held is not None else NEW
                request = self._request(
                    address, REFUSED if refused is not None else reason, deadline
                )
                self._begin(flight, request, await_result)
                waited = True
            try:
                inherits = flight.wait(deadline, cancelled)
            except TimeoutError:
                self._flights.abandon(_SECRET, self)
                raise self._too_late(address, deadline) from None
            if inherits:
                inherited = flight
                continue
            try:
                found: Held = flight.result()
            except ProviderFailed as error:
                raise self._with_address(error, address) from error.__cause__
            if waited or found is not refused:
                return found
            # That call may have begun before the secret was refused, and before it was changed.

    def _request(self, address: AddressLike, reason: Any, deadline: Deadline | None) -> Request:
        with late_imports:
            from mongokey.credentials import Request

        return Request(
            mechanism=self.template.mechanism,
            username=self.template.username,
            address=(address[0], address[1]),
            reason=reason,
            timeout_s=None if deadline is None else max(0.0, deadline.left_s),
        )

    def _begin(self, flight: Flight, request: Request, await_result: AwaitResult) -> None:
        with late_imports:
            from contextvars import copy_context
            from threading import Thread

        self.calls += 1
        number = self.calls
        flight.hand_over()
        context = copy_context()

        def work() -> None:
            context.run(self._make, flight, number, request, await_result)

        try:
            # A daemon: a process that wants to end does not wait for a provider.
            Thread(target=work, name=f"mongokey: asking {self.name}", daemon=True).start()
        except RuntimeError:
            flight.give_up()
            raise AutoReconnect(f"no thread can be started (asking {self.name})") from None

    def _make(
        self, flight: Flight, number: int, request: Request, await_result: AwaitResult
    ) -> None:
        try:
            held = self._take(self._call(request, await_result), number)
        # Whatever it raises ends the call, and with it the waiting of others.
        except BaseException as error:
            flight.fail(self._failure(error))
        else:
            flight.finish(held)

    def _call(self, request: Request, await_result: AwaitResult) -> Secret[Any]:
        result = self._ask(request)
        if hasattr(result, "__await__"):
            result = await_result(result, request.timeout_s)
        return Secret(result)

    @keeps_secrets
    def _take(self, result: Secret[Any], number: int) -> Held:
        """What is held from now on. The same object where the provider gave the same."""
        given = self._checked(result.reveal())
        now = monotonic_ns()
        seconds = given.expires_in_s
        expires_ns = None if seconds is None else now + round(seconds * 1e9)
        held = self._held
        if held is not None and number < self._held_by:
            return held  # a later call was faster
        self._held_by = number
        if held is not None and held.given.reveal() == given:
            held.expires_ns = expires_ns
            return held
        made = Held(self.template.with_secret(given), given, expires_ns)
        if self._on_new is not None:
            self._on_new(made.credential, None if made.identity is None else _digest(given))
        self._held = made
        return made

    def _checked(self, given: Any) -> Any:
        with late_imports:
            from mongokey import credentials

        mechanism = self.template.mechanism
        if mechanism == _AWS and not isinstance(given, credentials.AwsSecret):
            given = _aws_secret(given)
        wanted: type[Any] = credentials.Secret
        if mechanism in (_AWS, _X509):
            wanted = credentials.AwsSecret if mechanism == _AWS else credentials.X509Secret
        if not isinstance(given, wanted):
            kind = "None" if given is None else f"a {type(given).__name__}"
            raise ConfigurationError(f"it gave {kind}: return a {wanted.__name__}(...)")
        seconds = given.expires_in_s
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0
        ):
            raise ConfigurationError(
                f"its expires_in_s is {seconds!r}: give a number of seconds from 0, or None"
            )
        if isinstance(given, credentials.X509Secret) and not given.certificate:
            raise ConfigurationError("it gave an X509Secret without a certificate")
        return given

    # -- what went wrong --------------------------------------------------------------------------

    def _failure(self, error: BaseException) -> Exception:
        with late_imports:
            from mongokey._support.secret_texts import hide_keys, hide_tokens

        if isinstance(error, ConfigurationError):
            return ConfigurationError(f"credentials ({self.name}): {error}")
        text = hide_keys(hide_tokens(str(error)))[:_LONGEST_REASON]
        raised = f"raised {type(error).__name__}" + (f": {text}" if text else "")
        failed = ProviderFailed(raised)
        failed.__cause__ = error
        return failed

    def _with_address(self, error: ProviderFailed, address: AddressLike) -> AuthenticationFailed:
        return self._described(ProviderFailed, f"{error}", address, error.__cause__)

    def _too_late(self, address: AddressLike, deadline: Deadline | None) -> AuthenticationFailed:
        assert deadline is not None, "without one it is waited for until it comes"
        late = deadline.timed_out("waiting for it")
        return self._described(LoginTimeout, f"gave nothing: {late}", address, None)

    def _described(
        self,
        kind: type[AuthenticationFailed],
        what: str,
        address: AddressLike,
        cause: BaseException | None,
    ) -> AuthenticationFailed:
        with late_imports:
            from mongokey.diagnostics import CERTAIN, Diagnosis

        template = self.template
        who = "" if template.username is None else f" of user {template.shown_user!r}"
        summary = f"{self.name}, which is to give the secret{who}, {what}"
        failed = kind(f"login to {format_address(address)} failed: {summary}")
        failed.login = LoginContext(template, address, template.mechanism or PREFERRED, None)
        failed.diagnoses = (
            Diagnosis(
                "AUTH-PROVIDER-FAILED",
                CERTAIN,
                summary,
                [] if cause is None else [f"it raised {type(cause).__name__}"],
                "call the provider by itself, as the error's __cause__ says what it met",
            ),
        )
        return failed


def with_provider_fact(
    error: AuthenticationFailed, name: str, *, changed: bool, cause: BaseException | None = None
) -> AuthenticationFailed:
    """The refusal `error`, saying also what its secret's provider said when asked again: that it
    was `changed` (and that this is refused too) or not; `cause` is why it could not say."""
    with late_imports:
        from mongokey.diagnostics import CERTAIN, Diagnosis

    if cause is not None:
        fact = f"{name} was asked for another secret, and failed: {cause}"
    elif changed:
        fact = f"{name} was asked again and gave another secret than before, which is refused too"
    else:
        fact = f"{name} was asked again and gave the same secret as before"
    explained = own_copy(error)
    explained.args = (f"{error.args[0]} ({fact})", *error.args[1:])
    explained._message = explained.args[0]
    explained.diagnoses = (
        *error.diagnoses,
        Diagnosis(
            "AUTH-PROVIDER-REFUSED",
            CERTAIN,
            fact,
            [f"the secret was {'changed' if changed else 'unchanged'}"],
            "correct the secret where the provider has it from, or the user on the server",
        ),
    )
    return explained


def _digest(given: Any) -> str:
    """What tells certificates and keys apart, and does not give them away."""
    digest = keyed_hasher()
    for each in (given.certificate, given.key, given.key_password):
        part = each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each or b""
        digest.update(len(part).to_bytes(8, "big") + part)
    found: str = digest.hexdigest()
    return found


def _aws_secret(given: Any) -> Any:
    with late_imports:
        from datetime import datetime, timezone

        from mongokey.auth.aws.custom_provider import read_keys
        from mongokey.auth.aws.keys import REFRESH_BEFORE
        from mongokey.auth.aws.problems import AwsProblem
        from mongokey.credentials import AwsSecret

    try:
        keys = read_keys(given)
    except AwsProblem as problem:
        raise ConfigurationError(str(problem)) from None
    left = None
    if keys.expires is not None:
        until = keys.expires - REFRESH_BEFORE - datetime.now(timezone.utc)
        left = max(0.0, until.total_seconds())
    return AwsSecret(keys.access_key, keys.secret_key, keys.token, left)


__all__ = [
    "AskProvider",
    "Held",
    "ProvidedCredential",
    "ProvidedSecrets",
    "provider_name",
    "with_provider_fact",
]
