"""Says why a login failed: first what was tried, then what most likely helps, with the evidence.

Knows the causes that the facts of one login can tell apart (facts at hand only, no probes) and
grades them: certain, likely, possible. Must not know how a login is carried out; never shows a
password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import copy

from mongokey._support.address import AddressLike, format_address
from mongokey._support.portable import portable
from mongokey.auth.errors import ServerProofError
from mongokey.auth.hints import (
    ATLAS_ERROR,
    AUTHENTICATION_FAILED,
    BAD_VALUE,
    CERTAIN,
    LIKELY,
    MECHANISM_UNAVAILABLE,
    POSSIBLE,
    REFUSALS,
    UNAUTHORIZED,
    USER_NOT_FOUND,
    Hint,
)
from mongokey.auth.mechanism import EXTERNAL, FROM_PATH
from mongokey.auth.registry import find_mechanism

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.errors import OperationFailure
    from mongokey.handshake.reply import HelloReply

__all__ = [
    "CERTAIN",
    "LIKELY",
    "POSSIBLE",
    "Hint",
    "LoginContext",
    "explain",
    "explain_command",
    "explain_hello",
    "find_hints",
    "json_string",
]

_LONGEST_ANSWER = 300
_NO_MECHANISM = re.compile(r"unsupported\b.{0,40}\bmechanism\b", re.IGNORECASE).search
# Texts of our own: a list of all places where credentials were looked for is as long.
_LONGEST_OWN = 3000
# Byte order mark, zero-width characters, DEL: what copying and editors leave at the ends.
_UNSEEN = "\ufeff\u200b\u200c\u200d\u2060\x7f"


class LoginContext:
    """What is known about one login; printed in its errors and read by the command line.

    `offered` is hello's saslSupportedMechs when the mechanism was negotiated, else None;
    `subject` that of the client certificate, None without one; `told` is what the conversation
    adds (`Conversation.told`), `evidence` what the mechanism's own hints look at
    (`Conversation.evidence`), `said` the server's own words, "" for want of an answer.
    """

    __slots__ = (
        "address",
        "credential",
        "credential_description",
        "diagnostic_context",
        "hello",
        "hints",
        "mechanism",
        "offered",
        "said",
        "subject",
    )

    def __init__(
        self,
        credential: MongoCredential,
        address: AddressLike,
        mechanism: str,
        hello: HelloReply | None,
    ) -> None:
        self.credential = credential
        self.address = address
        self.mechanism = mechanism
        self.hello = hello
        self.offered: list[Any] | None = None
        self.subject: str | None = None
        self.credential_description: str | None = None
        self.diagnostic_context: Any = None
        self.said = ""
        self.hints: list[Hint] = []

    def without_secrets(self) -> LoginContext:
        """The same, fit to be pickled: of the credential only what may be shown."""
        # Late: the credential's module loads this one.
        from mongokey.auth.credential import ShownCredential

        same = copy(self)
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "credential":
                value = ShownCredential(value)
            setattr(same, name, portable(value))
        return same

    @property
    def negotiated(self) -> bool:
        """Whether the mechanism was left to negotiation."""
        return self.credential.mechanism is None

    def tried(self) -> str:
        """Who tried to log in where and how, in one clause."""
        return f"login to {format_address(self.address)} failed ({self.describe()})"

    def describe(self) -> str:
        """User, database, mechanism and whether there was a password."""
        credential = self.credential
        user = repr(credential.shown_user) if credential.username is not None else "none given"
        given = "yes" if credential.password is not None else "no"
        how = "given"
        if self.negotiated:
            how = "negotiated: "
            if self.offered is None:
                how += "the server named no mechanism for this user"
            else:
                how += f"the server offers {', '.join(map(str, self.offered[:8])) or 'none'}"
        return (
            f"user {user}, authentication database {credential.source!r} from "
            f"{credential.source_origin}, mechanism {self.mechanism} ({how}), "
            f"password given: {given}"
            + (
                f", {self.credential_description}"
                if self.credential_description is not None
                else ""
            )
        )


def explain(error: OperationFailure, facts: LoginContext) -> str:
    """The whole message for a login that ended with `error`; fills `facts.hints`."""
    answer = error.details
    if isinstance(error, ServerProofError) or answer is None:
        said = _short(str(error), _LONGEST_OWN)
    else:
        said = f"the server answered {_quote(answer.get('errmsg'))} ({_code(answer)})"
    facts.hints = [] if isinstance(error, ServerProofError) else list(find_hints(answer, facts))
    return "; ".join([f"{facts.tried()}: {said}", *map(str, facts.hints)])


def explain_hello(
    answer: Mapping[str, Any],
    credential: MongoCredential | None,
    address: AddressLike,
) -> str:
    """The message for a server that answered hello itself with an error."""
    text = (
        f"{format_address(address)} refused the handshake (hello): it answered "
        f"{_quote(answer.get('errmsg'))} ({_code(answer)})"
    )
    if credential is not None:
        text += (
            f"; a login as user {credential.shown_user!r} in database {credential.source!r} from "
            f"{credential.source_origin} was to follow"
        )
    return text


def explain_command(
    answer: Mapping[str, Any],
    credential: MongoCredential | None,
    address: AddressLike,
    database: str,
) -> Hint | None:
    """Why a command on `database` was refused for want of rights; None where that is not so."""
    code, said = answer.get("code"), str(answer.get("errmsg", ""))
    # Atlas has one code for all that it refuses.
    if code != UNAUTHORIZED and not (code == ATLAS_ERROR and "not allowed to do action" in said):
        return None
    if credential is None:
        return Hint(
            "AUTH-NO-CREDENTIAL",
            CERTAIN,
            "no credentials were given, so nobody is logged in: put user and password into the "
            "connection string, or give username= and password=",
        )
    from mongokey.auth.hosted_services import cosmos_hint, is_cosmos

    if is_cosmos(address[0]):
        return cosmos_hint(code, credential, address[0])
    if "requires authentication" in said:
        return None  # nobody is logged in on this connection, whatever was given
    who = "the identity" if credential.username is None else f"user {credential.shown_user!r}"
    return Hint(
        "AUTH-NO-ROLE",
        LIKELY,
        f"{who} of {credential.source!r} is logged in, but has no role that allows this on "
        f"database {database!r}: grant it one there, or is another database meant"
        + (" (test is where tools go that are told none)?" if database == "test" else "?"),
    )


def find_hints(answer: Mapping[str, Any] | None, facts: LoginContext) -> Iterator[Hint]:
    """What the facts say about the cause, the surest first."""
    code = answer.get("code") if answer is not None else None
    if not isinstance(code, int):  # a float of servers that are not written in C++
        code = int(code) if isinstance(code, float) and code.is_integer() else None
    facts.said = str(answer.get("errmsg", "")) if answer is not None else ""
    if (code is None or code in REFUSALS) and _NO_MECHANISM(facts.said):
        # SecantusDB and FerretDB say so in words, with a code that does not.
        code = MECHANISM_UNAVAILABLE
    found = [hint for rule in _RULES if (hint := rule(code, facts)) is not None]
    rules = find_mechanism(facts.mechanism)
    if rules.hints is not None:
        found = [hint for hint in found if hint.word not in rules.replaces]
        found = [*rules.hints(code, facts), *found]
    return iter(sorted(found, key=lambda hint: (CERTAIN, LIKELY, POSSIBLE).index(hint.grade)))


def _mechanism_refused(code: Any, facts: LoginContext) -> Hint | None:
    if code not in (BAD_VALUE, MECHANISM_UNAVAILABLE):
        return None
    if _is_hosted(code, facts):
        return None  # the hint about the service says more
    outside = _lives_outside(facts)
    if code == BAD_VALUE and outside and facts.credential.source != EXTERNAL:
        return None  # it is there, but not for this source
    return Hint(
        "AUTH-MECHANISM-OFF",
        LIKELY,
        f"this server does not have {facts.mechanism}, or has it switched off "
        "(authenticationMechanisms)"
        + ("; Kerberos and LDAP need MongoDB Enterprise or Atlas" if outside else ""),
    )


def _lives_outside(facts: LoginContext) -> bool:
    """Whether users of this mechanism are kept elsewhere than in databases."""
    return find_mechanism(facts.mechanism).takes_external


def _is_hosted(code: Any, facts: LoginContext) -> bool:
    """Whether a service answers that does not do as MongoDB's own server does."""
    from mongokey.auth.hosted_services import is_hosted

    return is_hosted(code, facts.address[0])


def _is_atlas(code: Any, facts: LoginContext) -> bool:
    """Whether this is Atlas, where users are in admin or outside."""
    from mongokey.auth.hosted_services import is_atlas

    return is_atlas(code, facts.address[0])


def _is_unknown_there(code: Any, facts: LoginContext) -> bool:
    """Whether the server's silence on the user's mechanisms says that it knows no such user."""
    if not facts.negotiated or facts.offered is not None or code not in REFUSALS:
        return False
    # Proxies and other makers' servers leave it out for everybody.
    return not _is_hosted(code, facts)


def _provider(code: Any, facts: LoginContext) -> Hint | None:
    # Late: only failures are explained.
    from mongokey.auth.hosted_services import provider_hint

    return provider_hint(code, facts)


def _wrong_mechanism(code: Any, facts: LoginContext) -> Hint | None:
    offered = facts.hello.sasl_supported_mechs if facts.hello is not None else None
    if facts.negotiated or not offered or facts.mechanism in offered:
        return None
    return Hint(
        "AUTH-MECHANISM-OTHER",
        LIKELY,
        f"the server has {', '.join(map(str, offered[:8]))} for this user, not {facts.mechanism}: "
        "leave authMechanism out",
    )


def _changed(code: Any, facts: LoginContext) -> Hint | None:
    credential = facts.credential
    if not credential.state.logged_in or credential.password is None or code not in REFUSALS:
        return None
    return Hint(
        "AUTH-CHANGED",
        LIKELY,
        "the same credential logged in before in this process: user or password was changed on "
        "the server since",
    )


def _path_became_source(code: Any, facts: LoginContext) -> Hint | None:
    credential = facts.credential
    if credential.source_origin != FROM_PATH or code not in REFUSALS or _lives_outside(facts):
        return None
    return Hint(
        "AUTH-SOURCE-FROM-PATH",
        LIKELY if _is_unknown_there(code, facts) or _is_atlas(code, facts) else POSSIBLE,
        f"the database in the URI's path, {credential.source!r}, was taken as the database that "
        "knows the user; if the user was created in admin, add authSource=admin",
    )


def _user_unknown(code: Any, facts: LoginContext) -> Hint | None:
    credential = facts.credential
    if code == USER_NOT_FOUND:
        grade = CERTAIN
    elif _is_unknown_there(code, facts):
        grade = LIKELY
    else:
        return None
    text = (
        f"the server named no mechanism for user {credential.username!r} in "
        f"{credential.source!r}: it most likely does not exist there"
        if grade == LIKELY
        else f"user {credential.username!r} does not exist in {credential.source!r}"
    )
    if credential.source_origin != FROM_PATH:
        text += "; check the user name and authSource"
    return Hint("AUTH-USER-UNKNOWN", grade, text)


def _volume_was_there(code: Any, facts: LoginContext) -> Hint | None:
    """The user that a container's environment names is made only when its volume is empty."""
    host, port = facts.address
    if port is None or not _is_unknown_there(code, facts):
        return None
    # Where containers are reached: this machine, or a service's name, which has no dot.
    alone = "." not in host and ":" not in host
    if facts.credential.source != "admin" or not (alone or host in ("127.0.0.1", "::1")):
        return None
    return Hint(
        "AUTH-CONTAINER-VOLUME",
        POSSIBLE,
        "if the server is a container of the official image: MONGO_INITDB_ROOT_USERNAME and "
        "_PASSWORD make a user only while the data volume is empty; create the user by hand, or "
        "make the volume anew (docker compose down -v deletes its data)",
    )


def _password_edges(code: Any, facts: LoginContext) -> Hint | None:
    return _edges("AUTH-PASSWORD-EDGE", "the password", facts.credential.password, code)


def _user_edges(code: Any, facts: LoginContext) -> Hint | None:
    return _edges("AUTH-USER-EDGE", "the user name", facts.credential.username, code)


def _edges(word: str, what: str, value: str | None, code: Any) -> Hint | None:
    if not value or code not in REFUSALS:
        return None
    if value[-1] in "\r\n":
        where = "ends with a line break: make the secret with printf or echo -n, or strip it"
    elif value[0].isspace() or value[-1].isspace():
        where = "begins or ends with white space"
    elif value[0] in _UNSEEN or value[-1] in _UNSEEN or min(value[0], value[-1]) < " ":
        where = "begins or ends with a character that cannot be seen (a byte order mark, a control)"
    elif value[0] == "<" and value[-1] == ">":
        where = "stands in < and >: the brackets belong to the example, take them off too"
    elif value[0] == "<" or value[-1] == ">":
        where = f"begins with < or ends with >: replace <{what[4:]}> together with its brackets"
    elif value[0] == value[-1] and value[0] in "\"'" and len(value) > 1:
        where = "stands in quotation marks, which belong to it as they came: take them off"
    else:
        return None
    return Hint(word, LIKELY, f"{what} {where}")


def _user_known(code: Any, facts: LoginContext) -> Hint | None:
    if not facts.negotiated or not facts.offered or code != AUTHENTICATION_FAILED:
        return None
    return Hint(
        "AUTH-PASSWORD-WRONG",
        LIKELY,
        f"the server names mechanisms for user {facts.credential.username!r} in "
        f"{facts.credential.source!r}, so it most likely exists there and the password is wrong",
    )


def _user_or_password(code: Any, facts: LoginContext) -> Hint | None:
    known = facts.negotiated and (facts.offered is None or facts.offered)
    if known or code != AUTHENTICATION_FAILED or facts.credential.password is None:
        return None
    if _lives_outside(facts) or _is_hosted(code, facts):
        return None
    return Hint(
        "AUTH-USER-OR-PASSWORD",
        POSSIBLE,
        "user or password is wrong, or the user has no key for this mechanism; servers do not say "
        "which. Without authMechanism the server tells what the user has",
    )


def _certificate(code: Any, facts: LoginContext) -> Hint | None:
    if facts.subject is None or code not in REFUSALS or facts.credential.password is not None:
        return None
    given = facts.credential.username
    if given is not None and given != facts.subject:
        return Hint(
            "X509-USER-NAME",
            CERTAIN,
            f"the user name given is not the subject of the certificate, {facts.subject!r}: leave "
            "the user name out, the server takes it from the certificate",
        )
    return Hint(
        "X509-USER-UNKNOWN",
        LIKELY,
        f"the server most likely has no user in {EXTERNAL} that is called exactly as the "
        f"certificate's subject: db.getSiblingDB({EXTERNAL!r}).runCommand({{createUser: "
        f"{json_string(facts.subject)}, roles: [...]}}). A certificate with the O, OU and DC of "
        "the servers' own cannot be a user's",
    )


def _external(code: Any, facts: LoginContext) -> Hint | None:
    if facts.subject is not None:
        return None  # the hint about the certificate says more
    if facts.credential.source != EXTERNAL or code not in REFUSALS:
        return None
    user = facts.credential.username
    return Hint(
        "AUTH-EXTERNAL-USER",
        POSSIBLE,
        f"the server needs a user in {EXTERNAL} that is called "
        + (repr(user) if user is not None else "as the identity it sees")
        + ", unless it takes roles from groups",
    )


_RULES: tuple[Callable[[Any, LoginContext], Hint | None], ...] = (
    _mechanism_refused,
    _password_edges,
    _user_edges,
    _wrong_mechanism,
    _changed,
    _user_unknown,
    _user_known,
    _path_became_source,
    _volume_was_there,
    _provider,
    _certificate,
    _external,
    _user_or_password,
)


def json_string(text: str) -> str:
    """`text` as the shell wants it typed: backslashes of a subject are to be doubled."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quote(message: Any) -> str:
    return repr(_short(message)) if isinstance(message, str) else "without a message"


def _short(text: str, longest: int = _LONGEST_ANSWER) -> str:
    return text if len(text) <= longest else text[:longest] + "..."


def _code(answer: Mapping[str, Any]) -> str:
    name = answer.get("codeName")
    code = answer.get("code")
    if not isinstance(code, int):
        return "no code"
    return f"code {code}, {_short(name)}" if isinstance(name, str) else f"code {code}"
