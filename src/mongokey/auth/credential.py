"""Who logs in: a user's credential, checked once when the client is made, never shown.

Knows how user, database and options become a credential and keeps the state that the client's
connections share (SCRAM keys, the negotiated mechanism). Must not know how a mechanism
converses, nor do any I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import HIDDEN, Secret, keeps_secrets
from mongokey.auth.mechanism import FROM_DEFAULT
from mongokey.auth.registry import DEFAULT, find_rules
from mongokey.auth.shared_login import SharedLogin
from mongokey.auth.turns import NO_BACKOFF
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar

    from mongokey.auth.turns import LoginTurns

    _T = TypeVar("_T")


@with_safe_repr
class MechanismProperties(Mapping[str, "Any"]):
    """Immutable mechanism properties; `repr` masks the secret ones."""

    __slots__ = ("_secret", "_values")

    def __init__(self, values: Mapping[str, Any], secret: frozenset[str] = frozenset()) -> None:
        self._values = dict(values)
        self._secret = secret

    def __getitem__(self, name: str) -> Any:
        return self._values[name.upper()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name!r}: {HIDDEN if name in self._secret else repr(value)}"
            for name, value in self._values.items()
        )
        return f"{{{shown}}}"


@with_safe_repr
class CredentialState:
    """What the connections of one client share about their credential; thread-safe.

    `shared` is what all clients of the process with the same secret at the same deployment have in
    common; nobody else has it until `LoginScope.share` says who those are. `backoff` is for how
    long this client is answered from memory once the secret was refused; `reauthentications` counts
    the logins that servers asked for on connections that were logged in before (error 391).
    """

    __slots__ = ("_caches", "backoff", "reauthentications", "shared")

    shared: SharedLogin

    def __init__(self) -> None:
        self.backoff = NO_BACKOFF
        self.reauthentications = 0
        self._caches: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        # Where `LoginScope.share` has not said yet who else has it: a client's always has.
        if name != "shared":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.shared = found = self.cache(name, SharedLogin)
        return found

    @property
    def mechanism(self) -> str | None:
        """What the last negotiation ended with, None before it and after a failed login."""
        return self.shared.mechanism

    @property
    def logged_in(self) -> bool:
        """Whether this secret was ever accepted."""
        return self.shared.logged_in

    @property
    def turns(self) -> LoginTurns:
        """Whose login may go on."""
        return self.shared.turns

    def cache(self, name: str, make: Callable[[], _T]) -> _T:
        """The mechanism's cache called `name` of this client alone, made at its first use."""
        found: _T | None = self._caches.get(name)
        if found is None:
            # Of two threads that get here, both end up with the same one.
            found = self._caches.setdefault(name, make())
        return found

    def __repr__(self) -> str:
        return f"<CredentialState mechanism={self.mechanism!r} logged_in={self.logged_in}>"


@with_safe_repr
class MongoCredential:
    """A user's credential, immutable and already valid for its mechanism.

    :param mechanism: name of the mechanism, or None to negotiate a SCRAM mechanism with the server
    :param source: the database that knows the user (`$external` for users kept elsewhere)
    :param username: user name, or None where the mechanism allows it
    :param password: password, or None where the mechanism allows it
    :param mechanism_properties: the mechanism's own options; names are case-insensitive
    :param source_origin: words for where `source` came from, printed in login errors

    Raises ConfigurationError, naming the option, when the mechanism's rules are not met
    (auth.md, "MongoCredential Properties"). Two credentials are equal when all of these are,
    `source_origin` and the shared `state` apart.
    """

    __slots__ = (
        "_password",
        "mechanism",
        "mechanism_properties",
        "source",
        "source_origin",
        "state",
        "username",
    )

    mechanism: str | None
    source: str
    username: str | None
    _password: Secret[str] | None
    mechanism_properties: MechanismProperties
    source_origin: str
    state: CredentialState

    @keeps_secrets
    def __init__(
        self,
        mechanism: str | None,
        source: str,
        username: str | None = None,
        password: str | None = None,
        mechanism_properties: Mapping[str, Any] | None = None,
        source_origin: str = FROM_DEFAULT,
    ) -> None:
        mechanism = _real_name(mechanism)
        rules = find_rules(mechanism)
        properties = rules.clean_properties(mechanism_properties or {})
        rules.check_user(username, password, properties)
        rules.choose_source(source, None)
        secret = frozenset(name for name, rule in rules.properties.items() if rule.secret)
        fill = object.__setattr__
        fill(self, "mechanism", mechanism)
        fill(self, "source", source)
        fill(self, "username", username)
        fill(self, "_password", None if password is None else Secret(password))
        fill(self, "mechanism_properties", MechanismProperties(properties, secret))
        fill(self, "source_origin", source_origin)
        fill(self, "state", CredentialState())

    def _with_own_state(self) -> MongoCredential:
        """The same credential, of which another client's connections share their state."""
        made = object.__new__(type(self))
        fill = object.__setattr__
        fill(made, "mechanism", self.mechanism)
        fill(made, "source", self.source)
        fill(made, "username", self.username)
        fill(made, "_password", self._password)
        fill(made, "mechanism_properties", self.mechanism_properties)
        fill(made, "source_origin", self.source_origin)
        fill(made, "state", CredentialState())
        return made

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"MongoCredential is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"MongoCredential is immutable: {name} cannot be deleted")

    @property
    def password(self) -> str | None:
        """The password, or None."""
        return None if self._password is None else self._password.reveal()

    @property
    def shown_user(self) -> str | None:
        """The user name as messages may show it (`Mechanism.mask_user`)."""
        if self.username is None:
            return None
        mask = find_rules(self.mechanism).mask_user
        return self.username if mask is None else mask(self.username)

    def without_secrets(self) -> ShownCredential:
        """What of it may leave the process, such as in a pickled error."""
        return ShownCredential(self)

    def _compared(self) -> tuple[Any, ...]:
        properties = tuple(
            sorted((name, _hashable(v)) for name, v in self.mechanism_properties.items())
        )
        return (self.mechanism, self.source, self.username, self._password, properties)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MongoCredential):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a MongoCredential holds a secret and cannot be pickled or copied")

    def __repr__(self) -> str:
        parts = [f"mechanism={self.mechanism!r}", f"source={self.source!r}"]
        if self.username is not None:
            parts.append(f"username={self.shown_user!r}")
        if self._password is not None:
            parts.append(f"password={HIDDEN}")
        if self.mechanism_properties:
            parts.append(f"mechanism_properties={self.mechanism_properties!r}")
        return f"MongoCredential({', '.join(parts)})"


class ShownCredential:
    """What of a credential may leave the process: the attributes of `MongoCredential`, with
    "<hidden>" for a password that was given and without the properties that are secret."""

    __slots__ = (
        "mechanism",
        "mechanism_properties",
        "password",
        "shown_user",
        "source",
        "source_origin",
        "username",
    )

    def __init__(self, credential: MongoCredential) -> None:
        self.mechanism = credential.mechanism
        self.source = credential.source
        self.source_origin = credential.source_origin
        self.username = self.shown_user = credential.shown_user
        self.password = None if credential.password is None else HIDDEN
        rules = find_rules(self.mechanism).properties
        self.mechanism_properties = {
            name: value
            for name, value in credential.mechanism_properties.items()
            if not (name in rules and rules[name].secret)
        }

    def without_secrets(self) -> ShownCredential:
        """Itself."""
        return self


@keeps_secrets
def build_credential(
    mechanism: str | None,
    username: str | None,
    password: str | None,
    database: str | None = None,
    auth_source: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> MongoCredential | None:
    """The credential that a client's options mean, or None when they ask for no login.

    :param mechanism: the authMechanism option; None or "DEFAULT" negotiates
    :param username: user name, unescaped; "" with no password, or an empty one, is none where no
        mechanism is named (as in PyMongo), and else counts as given (auth.md, "Credential
        delimiter")
    :param password: password, unescaped
    :param database: the database of the URI's path, the default authSource of some mechanisms
    :param auth_source: the authSource option
    :param properties: the authMechanismProperties option, as a mapping

    Neither a path database nor authSource alone asks for a login. Raises ConfigurationError,
    naming the option, when the values do not fit the mechanism or one another.
    """
    if auth_source == "":
        raise ConfigurationError("authSource is empty: name the database that holds the user")
    mechanism = _real_name(mechanism)
    if mechanism is None and not username and not password:
        return None
    if mechanism is None and username is None:
        raise ConfigurationError("password was given without a username")
    source, origin = find_rules(mechanism).choose_source(auth_source, database)
    return MongoCredential(mechanism, source, username, password, properties, origin)


def _real_name(mechanism: str | None) -> str | None:
    if mechanism is not None and not isinstance(mechanism, str):
        raise TypeError(f"authMechanism must be a str or None, not {type(mechanism).__name__}")
    return None if mechanism == DEFAULT else mechanism


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
