"""What a mechanism asks of its credential, as a value: the entry behind a mechanism's name.

A mechanism's module fills in one `Mechanism`; `check_credential` applies it. Knows options and
their rules (source/auth/auth.md, "MongoCredential Properties"); must not know any mechanism by
name, nor anything about the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from types import MappingProxyType

from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import Conversation
    from mongokey.auth.credential import MongoCredential

EXTERNAL = "$external"

REQUIRED = "required"
OPTIONAL = "optional"
FORBIDDEN = "forbidden"

# What a mechanism puts into hello's speculativeAuthenticate.
NOTHING = "nothing"
FIRST_STEP = "the first step, which holds no secret and logs nobody in"
WHOLE_LOGIN = "the whole login"

# Where a credential's source came from; login errors print these words.
FROM_OPTION = "the authSource option"
FROM_PATH = "the database in the URI's path"
FROM_DEFAULT = "the default"
FROM_MECHANISM = "the only source this mechanism has"


class Property:
    """One mechanism property: how its value is checked, and whether it may be shown.

    `clean` turns the given value into the stored one or raises ValueError with what is expected.
    """

    __slots__ = ("clean", "secret")

    def __init__(self, clean: Callable[[Any], Any], secret: bool = False) -> None:
        self.clean = clean
        self.secret = secret


class Mechanism:
    """The rules of one mechanism and the maker of its conversations.

    `username` and `password` are REQUIRED, OPTIONAL or FORBIDDEN; required values are not empty.
    `external` is True for mechanisms whose only source is `$external`; the others take
    authSource, then the path's database, then `default_source`.
    `check` sees the finished parts for rules that span several of them. `conversation` makes
    one for a credential and a server's address. `certificate` is True for a mechanism whose
    credential is the client certificate of TLS. `speculates` is NOTHING, FIRST_STEP or WHOLE_LOGIN:
    the last goes only to a server that is known to be used. `shown_in_plaintext` names
    what such a login lets everyone on the way read when the connection is not encrypted ("the
    password"), or None.
    `mask_user` turns a user name that is not to be shown in full into what may be; None shows it.
    Why a login may have failed is not told here (`registry.HINTS`).
    """

    __slots__ = (
        "certificate",
        "check",
        "conversation",
        "default_properties",
        "default_source",
        "external",
        "mask_user",
        "name",
        "password",
        "properties",
        "shown_in_plaintext",
        "speculates",
        "takes_external",
        "username",
    )

    def __init__(
        self,
        name: str,
        username: str,
        password: str,
        *,
        external: bool = False,
        default_source: str = EXTERNAL,
        takes_external: bool = True,
        certificate: bool = False,
        properties: Mapping[str, Property] = MappingProxyType({}),
        default_properties: Mapping[str, Any] = MappingProxyType({}),
        check: Callable[[str | None, str | None, Mapping[str, Any]], None] | None = None,
        conversation: Callable[[MongoCredential, AddressLike], Conversation],
        speculates: str = NOTHING,
        shown_in_plaintext: str | None = None,
        mask_user: Callable[[str], str] | None = None,
    ) -> None:
        self.name = name
        self.username = username
        self.password = password
        self.external = external
        self.default_source = default_source
        self.takes_external = takes_external
        self.certificate = certificate
        self.properties = properties
        self.default_properties = default_properties
        self.check = check
        self.conversation = conversation
        self.speculates = speculates
        self.shown_in_plaintext = shown_in_plaintext
        self.mask_user = mask_user

    def renamed(self, name: str) -> Mechanism:
        """The same rules under another name."""
        same = copy(self)
        same.name = name
        return same

    def choose_source(self, auth_source: str | None, database: str | None) -> tuple[str, str]:
        """The authentication database and the words for where it came from."""
        if self.external:
            if auth_source not in (None, EXTERNAL):
                raise ConfigurationError(
                    f"authSource={auth_source!r} does not fit authMechanism={self.name}: its users "
                    f"live outside the database; leave authSource out or set it to {EXTERNAL}"
                )
            return EXTERNAL, FROM_OPTION if auth_source else FROM_MECHANISM
        if auth_source == EXTERNAL and not self.takes_external:
            raise external_without_mechanism(
                f"authSource={EXTERNAL} does not fit {self.name}: users of {EXTERNAL} log in with "
                "authMechanism PLAIN, GSSAPI, MONGODB-X509, MONGODB-AWS or MONGODB-OIDC; set "
                "authMechanism, or name the database that holds the user (often admin)"
            )
        if auth_source is not None:
            return auth_source, FROM_OPTION
        if database:
            return database, FROM_PATH
        return self.default_source, FROM_DEFAULT

    def clean_properties(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given properties under upper-case names, checked, with the defaults added."""
        cleaned = dict(self.default_properties)
        for key, value in given.items():
            name = str(key).upper()
            rule = self.properties.get(name)
            if rule is None:
                known = ", ".join(sorted(self.properties)) or "none"
                raise ConfigurationError(
                    f"authMechanismProperties: {_shown_name(name)} does not apply to {self.name}; "
                    f"properties it knows: {known}"
                )
            try:
                cleaned[name] = rule.clean(value)
            except ValueError as error:
                raise ConfigurationError(f"authMechanismProperties: {name}: {error}") from None
        return cleaned

    def check_user(
        self, username: str | None, password: str | None, properties: Mapping[str, Any]
    ) -> None:
        """Raise ConfigurationError unless user name and password are what the rules say."""
        self._check_value("username", self.username, username)
        self._check_value("password", self.password, password)
        if self.check is not None:
            self.check(username, password, properties)

    def _check_value(self, option: str, need: str, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{option} must be a str or None, not {type(value).__name__}")
        if need == FORBIDDEN and value is not None:
            raise ConfigurationError(f"{option} was given, but {self.name} takes no {option}")
        if need == REQUIRED and value is None:
            raise ConfigurationError(f"{option} is missing: {self.name} requires a {option}")
        # An empty password is never sent: LDAP servers take it for an anonymous login (RFC 4513).
        if value == "":
            raise ConfigurationError(f"{option} is empty: {self.name} needs a value, or none given")


def external_without_mechanism(text: str) -> ConfigurationError:
    """The error for a source that only other mechanisms have."""
    failed = ConfigurationError(text)
    failed.diagnoses = (
        Diagnosis(
            "AUTH-EXTERNAL-MECHANISM",
            CERTAIN,
            text,
            fix="set authMechanism, or name the database that holds the user",
        ),
    )
    return failed


def text(value: Any) -> str:
    """A property that is a non-empty string."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a string that is not empty, not {_kind(value)}")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """A property that takes one of a few words."""

    def clean(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return str(value)

    return clean


def _kind(value: Any) -> str:
    return "an empty one" if value == "" else type(value).__name__


def _shown_name(name: str) -> str:
    """A property's name for an error, short of what may be a secret glued to it by a typo.

    What does not look like a name may be the rest of a secret with a comma in it.
    """
    head = name.partition("=")[0][:40]
    plain = head.isascii() and head.replace("_", "").isalpha()
    return repr(head) if plain else "a property whose name is not shown"
