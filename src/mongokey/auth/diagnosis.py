"""Says why a login failed: first what was tried, then what most likely helps, with the evidence.

Knows the causes that the facts of one login can tell apart (facts at hand only, no probes) and
grades them: certain, likely, possible. Must not know how a login is carried out; never shows a
password.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping

from mongokey.auth.errors import ServerProofError
from mongokey.auth.mechanism import EXTERNAL, FROM_PATH
from mongokey.auth.registry import find_mechanism

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.errors import OperationFailure
    from mongokey.handshake.reply import HelloReply

CERTAIN = "certain"
LIKELY = "likely"
POSSIBLE = "possible"

# The server's error codes (src/mongo/base/error_codes.yml) that this room can say more about.
_USER_NOT_FOUND = 11
_AUTHENTICATION_FAILED = 18
_MECHANISM_UNAVAILABLE = 334
_BAD_VALUE = 2
_ATLAS_ERROR = 8000

_ATLAS_HOSTS = (".mongodb.net", ".mongodbgov.net")
_LONGEST_ANSWER = 300


class Hint(namedtuple("Hint", ("word", "grade", "text"))):
    """One cause: a code word that never changes, how sure it is, and what to do; all str."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"[{self.word}, {self.grade}] {self.text}"


class LoginFacts:
    """What is known about one login; printed in its errors and read by the command line.

    `offered` is hello's saslSupportedMechs when the mechanism was negotiated, else None;
    `subject` that of the client certificate, None without one; `told` is what the conversation
    adds (`Conversation.told`).
    """

    __slots__ = (
        "address",
        "credential",
        "hello",
        "hints",
        "mechanism",
        "offered",
        "subject",
        "told",
    )

    def __init__(
        self,
        credential: MongoCredential,
        address: tuple[str, int | None],
        mechanism: str,
        hello: HelloReply | None,
    ) -> None:
        self.credential = credential
        self.address = address
        self.mechanism = mechanism
        self.hello = hello
        self.offered: list[Any] | None = None
        self.subject: str | None = None
        self.told: str | None = None
        self.hints: list[Hint] = []

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
        user = repr(credential.username) if credential.username is not None else "none given"
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
            f"password given: {given}" + (f", {self.told}" if self.told is not None else "")
        )


def explain(error: OperationFailure, facts: LoginFacts) -> str:
    """The whole message for a login that ended with `error`; fills `facts.hints`."""
    answer = error.details
    if isinstance(error, ServerProofError) or answer is None:
        said = _short(str(error))
    else:
        said = f"the server answered {_quote(answer.get('errmsg'))} ({_code(answer)})"
    facts.hints = [] if isinstance(error, ServerProofError) else list(find_hints(answer, facts))
    return "; ".join([f"{facts.tried()}: {said}", *map(str, facts.hints)])


def explain_hello(
    answer: Mapping[str, Any],
    credential: MongoCredential | None,
    address: tuple[str, int | None],
) -> str:
    """The message for a server that answered hello itself with an error."""
    text = (
        f"{format_address(address)} refused the handshake (hello): it answered "
        f"{_quote(answer.get('errmsg'))} ({_code(answer)})"
    )
    if credential is not None:
        text += (
            f"; a login as user {credential.username!r} in database {credential.source!r} from "
            f"{credential.source_origin} was to follow"
        )
    return text


def find_hints(answer: Mapping[str, Any] | None, facts: LoginFacts) -> Iterator[Hint]:
    """What the facts say about the cause, the surest first."""
    code = answer.get("code") if answer is not None else None
    found = [hint for rule in _RULES if (hint := rule(code, facts)) is not None]
    own = find_mechanism(facts.mechanism).hints
    if own is not None:
        found = [*own(code, facts), *found]
    return iter(sorted(found, key=lambda hint: (CERTAIN, LIKELY, POSSIBLE).index(hint.grade)))


def _mechanism_refused(code: Any, facts: LoginFacts) -> Hint | None:
    if code not in (_BAD_VALUE, _MECHANISM_UNAVAILABLE):
        return None
    return Hint(
        "AUTH-MECHANISM-OFF",
        LIKELY,
        f"this server does not have {facts.mechanism}, or has it switched off "
        "(authenticationMechanisms); Kerberos and LDAP need MongoDB Enterprise or Atlas",
    )


def _wrong_mechanism(code: Any, facts: LoginFacts) -> Hint | None:
    offered = facts.hello.sasl_supported_mechs if facts.hello is not None else None
    if facts.negotiated or not offered or facts.mechanism in offered:
        return None
    return Hint(
        "AUTH-MECHANISM-OTHER",
        LIKELY,
        f"the server has {', '.join(map(str, offered[:8]))} for this user, not {facts.mechanism}: "
        "leave authMechanism out",
    )


def _changed(code: Any, facts: LoginFacts) -> Hint | None:
    if not facts.credential.state.logged_in or code not in _REFUSALS:
        return None
    return Hint(
        "AUTH-CHANGED",
        LIKELY,
        "the same credential logged in before in this process: user or password was changed on "
        "the server since",
    )


def _atlas(code: Any, facts: LoginFacts) -> Hint | None:
    host = facts.address[0]
    if code != _ATLAS_ERROR and not (code in _REFUSALS and host.endswith(_ATLAS_HOSTS)):
        return None
    return Hint(
        "AUTH-ATLAS",
        LIKELY,
        "Atlas refuses like this when the password is wrong or the user is not a database user of "
        "this project: see Database Access there (it is not your Atlas login) and set the "
        "password anew",
    )


def _path_became_source(code: Any, facts: LoginFacts) -> Hint | None:
    credential = facts.credential
    if credential.source_origin != FROM_PATH or code not in _REFUSALS:
        return None
    return Hint(
        "AUTH-SOURCE-FROM-PATH",
        LIKELY if facts.negotiated and facts.offered is None else POSSIBLE,
        f"the database in the URI's path, {credential.source!r}, was taken as the database that "
        "knows the user; if the user was created in admin, add authSource=admin",
    )


def _user_unknown(code: Any, facts: LoginFacts) -> Hint | None:
    credential = facts.credential
    if code == _USER_NOT_FOUND:
        grade = CERTAIN
    elif facts.negotiated and facts.offered is None and code in _REFUSALS:
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


def _password_edges(code: Any, facts: LoginFacts) -> Hint | None:
    password = facts.credential.password
    if not password or code not in _REFUSALS:
        return None
    if password[-1] in "\r\n":
        where = "ends with a line break: make the secret with printf or echo -n, or strip it"
    elif password[0].isspace() or password[-1].isspace():
        where = "begins or ends with white space"
    elif password[0] == "<" or password[-1] == ">":
        where = "begins with < or ends with >: replace <password> together with its brackets"
    else:
        return None
    return Hint("AUTH-PASSWORD-EDGE", LIKELY, f"the password {where}")


def _user_known(code: Any, facts: LoginFacts) -> Hint | None:
    if not facts.negotiated or not facts.offered or code != _AUTHENTICATION_FAILED:
        return None
    return Hint(
        "AUTH-PASSWORD-WRONG",
        LIKELY,
        f"the server names mechanisms for user {facts.credential.username!r} in "
        f"{facts.credential.source!r}, so it most likely exists there and the password is wrong",
    )


def _user_or_password(code: Any, facts: LoginFacts) -> Hint | None:
    known = facts.negotiated and (facts.offered is None or facts.offered)
    if known or code != _AUTHENTICATION_FAILED or facts.credential.password is None:
        return None
    return Hint(
        "AUTH-USER-OR-PASSWORD",
        POSSIBLE,
        "user or password is wrong, or the user has no key for this mechanism; servers do not say "
        "which. Without authMechanism the server tells what the user has",
    )


def _certificate(code: Any, facts: LoginFacts) -> Hint | None:
    if facts.subject is None or code not in _REFUSALS or facts.credential.password is not None:
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


def _external(code: Any, facts: LoginFacts) -> Hint | None:
    if facts.subject is not None:
        return None  # the hint about the certificate says more
    if facts.credential.source != EXTERNAL or code not in _REFUSALS:
        return None
    user = facts.credential.username
    return Hint(
        "AUTH-EXTERNAL-USER",
        POSSIBLE,
        f"the server needs a user in {EXTERNAL} that is called "
        + (repr(user) if user is not None else "as the identity it sees"),
    )


_REFUSALS = frozenset({_AUTHENTICATION_FAILED, _USER_NOT_FOUND, _ATLAS_ERROR})

_RULES: tuple[Callable[[Any, LoginFacts], Hint | None], ...] = (
    _mechanism_refused,
    _password_edges,
    _wrong_mechanism,
    _changed,
    _user_unknown,
    _user_known,
    _path_became_source,
    _atlas,
    _certificate,
    _external,
    _user_or_password,
)


def format_address(address: tuple[str, int | None]) -> str:
    """``host:port``, ``[ipv6]:port``, or the path of a Unix socket."""
    host, port = address
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def json_string(text: str) -> str:
    """`text` as the shell wants it typed: backslashes of a subject are to be doubled."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quote(message: Any) -> str:
    return repr(_short(message)) if isinstance(message, str) else "without a message"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_ANSWER else text[:_LONGEST_ANSWER] + "..."


def _code(answer: Mapping[str, Any]) -> str:
    name = answer.get("codeName")
    code = answer.get("code")
    if not isinstance(code, int):
        return "no code"
    return f"code {code}, {_short(name)}" if isinstance(name, str) else f"code {code}"
