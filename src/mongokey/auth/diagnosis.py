"""Says why a login failed: first what was tried, then what most likely helps, with the evidence.

Knows the causes that the facts of one login can tell apart (facts at hand only, no probes) and how
sure each is; a mechanism's own rules are found by its name. Must not know how a login is carried
out; never shows a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mongokey._support.address import AddressLike, format_address
from mongokey._support.hosted_services import is_cosmos
from mongokey._support.server_codes import (
    ATLAS_ERROR,
    AUTHENTICATION_FAILED,
    BAD_VALUE,
    MECHANISM_UNAVAILABLE,
    UNAUTHORIZED,
    USER_NOT_FOUND,
)
from mongokey._support.server_codes import LOGIN_REFUSED_CODES as REFUSALS
from mongokey.auth.errors import ServerProofError
from mongokey.auth.hosted_services import cosmos_rule, service_rule, was_atlas, was_hosted
from mongokey.auth.mechanism import EXTERNAL, FROM_PATH
from mongokey.auth.registry import find_hints_module, find_mechanism
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.login_context import LoginContext
    from mongokey.errors import OperationFailure

__all__ = ["explain", "explain_command", "explain_hello", "find_diagnoses"]

_LONGEST_ANSWER = 300
_NO_MECHANISM = re.compile(r"unsupported\b.{0,40}\bmechanism\b", re.IGNORECASE).search
# Texts of our own: a list of all places where credentials were looked for is as long.
_LONGEST_OWN = 3000
# Byte order mark, zero-width characters, DEL: what copying and editors leave at the ends.
_UNSEEN = "\ufeff\u200b\u200c\u200d\u2060\x7f"


def explain(error: OperationFailure, context: LoginContext) -> tuple[str, tuple[Diagnosis, ...]]:
    """The whole message for a login that ended with `error`, and its diagnoses, surest first."""
    answer = error.details
    own = isinstance(error, ServerProofError)
    if answer is None or own:
        own, said = True, _short(str(error), _LONGEST_OWN)
    else:
        said = _answered(answer)
    diagnoses = () if isinstance(error, ServerProofError) else find_diagnoses(answer, context)
    parts = [f"{context.tried()}: {said}"]
    for each in diagnoses:
        # A cause that the error has for its text is not said twice.
        said_already = own and each.fix and each.summary == str(error)
        parts.append(f"[{each.code}, {each.confidence}] {each.fix}" if said_already else str(each))
    return "; ".join(parts), diagnoses


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
) -> Diagnosis | None:
    """Why a command on `database` was refused for want of rights; None where that is not so."""
    code, said = answer.get("code"), str(answer.get("errmsg", ""))
    # Atlas has one code for all that it refuses.
    if code != UNAUTHORIZED and not (code == ATLAS_ERROR and "not allowed to do action" in said):
        return None
    if credential is None:
        return Diagnosis(
            "AUTH-NO-CREDENTIAL",
            CERTAIN,
            "no credentials were given, so nobody is logged in",
            fix="put user and password into the connection string, or give username= and password=",
        )
    if is_cosmos(address[0]):
        return cosmos_rule(code, credential, address[0])
    if "requires authentication" in said:
        return None  # nobody is logged in on this connection, whatever was given
    who = "the identity" if credential.username is None else f"user {credential.shown_user!r}"
    return Diagnosis(
        "AUTH-NO-ROLE",
        LIKELY,
        f"{who} of {credential.source!r} is logged in, but has no role that allows this on "
        f"database {database!r}",
        fix="grant it one there, or is another database meant"
        + (" (test is where tools go that are given none)?" if database == "test" else "?"),
    )


def find_diagnoses(
    answer: Mapping[str, Any] | None, context: LoginContext
) -> tuple[Diagnosis, ...]:
    """What is known of a failed login says about the cause, the surest first.

    `answer` is the server's, None when it never gave one.
    """
    code = answer.get("code") if answer is not None else None
    if not isinstance(code, int):  # a float of servers that are not written in C++
        code = int(code) if isinstance(code, float) and code.is_integer() else None
    message = str(answer.get("errmsg", "")) if answer is not None else ""
    if (code is None or code in REFUSALS) and _NO_MECHANISM(message):
        # SecantusDB and FerretDB say so in words, with a code that does not.
        code = MECHANISM_UNAVAILABLE
    found = [made for rule in _RULES if (made := rule(code, context)) is not None]
    hints = find_hints_module(context.mechanism)
    if hints is not None:
        replaced = getattr(hints, "REPLACES", ())
        found = [each for each in found if each.code not in replaced]
        found = [*hints.find_hints(code, context), *found]
    if answer is not None:
        found = [each.replace(evidence=(*each.evidence, _answered(answer))) for each in found]
    return surest_first(found)


def _answered(answer: Mapping[str, Any]) -> str:
    return f"the server answered {_quote(answer.get('errmsg'))} ({_code(answer)})"


def _mechanism_refused(code: Any, context: LoginContext) -> Diagnosis | None:
    if code not in (BAD_VALUE, MECHANISM_UNAVAILABLE):
        return None
    if was_hosted(code, context.address[0]):
        return None  # the rule about the service says more
    outside = _lives_outside(context)
    if code == BAD_VALUE and outside and context.credential.source != EXTERNAL:
        return None  # it is there, but not for this source
    return Diagnosis(
        "AUTH-MECHANISM-OFF",
        LIKELY,
        f"this server does not have {context.mechanism}, or has it switched off "
        "(authenticationMechanisms)"
        + ("; Kerberos and LDAP need MongoDB Enterprise or Atlas" if outside else ""),
    )


def _lives_outside(context: LoginContext) -> bool:
    """Whether users of this mechanism are kept elsewhere than in databases."""
    return find_mechanism(context.mechanism).takes_external


def _is_unknown_there(code: Any, context: LoginContext) -> bool:
    """Whether the server's silence on the user's mechanisms says that it knows no such user."""
    if not context.asked or context.offered is not None or code not in REFUSALS:
        return False
    # Proxies and other makers' servers leave it out for everybody.
    return not was_hosted(code, context.address[0])


def _wrong_mechanism(code: Any, context: LoginContext) -> Diagnosis | None:
    offered = context.hello.sasl_supported_mechs if context.hello is not None else None
    if context.negotiated or not offered or context.mechanism in offered:
        return None
    return Diagnosis(
        "AUTH-MECHANISM-OTHER",
        LIKELY,
        f"the server has {', '.join(map(str, offered[:8]))} for this user, not {context.mechanism}",
        fix="leave authMechanism out",
    )


def _changed(code: Any, context: LoginContext) -> Diagnosis | None:
    credential = context.credential
    if not credential.state.logged_in or credential.password is None or code not in REFUSALS:
        return None
    return Diagnosis(
        "AUTH-CHANGED",
        LIKELY,
        "the same credential logged in before in this process: user or password was changed on "
        "the server since",
    )


def _path_became_source(code: Any, context: LoginContext) -> Diagnosis | None:
    credential = context.credential
    if credential.source_origin != FROM_PATH or code not in REFUSALS or _lives_outside(context):
        return None
    unknown = _is_unknown_there(code, context)
    return Diagnosis(
        "AUTH-SOURCE-FROM-PATH",
        LIKELY if unknown or was_atlas(code, context.address[0]) else POSSIBLE,
        f"the database in the URI's path, {credential.source!r}, was taken as the database that "
        "knows the user",
        fix="if the user was created in admin, add authSource=admin",
    )


def _user_unknown(code: Any, context: LoginContext) -> Diagnosis | None:
    credential = context.credential
    if code == USER_NOT_FOUND:
        confidence = CERTAIN
    elif _is_unknown_there(code, context):
        confidence = LIKELY
    else:
        return None
    summary = f"user {credential.username!r} does not exist in {credential.source!r}"
    if confidence == LIKELY:
        summary = (
            f"the server named no mechanism for user {credential.username!r} in "
            f"{credential.source!r}, so that it most likely does not exist there"
        )
    fix = "" if credential.source_origin == FROM_PATH else "check the user name and authSource"
    return Diagnosis("AUTH-USER-UNKNOWN", confidence, summary, fix=fix)


def _volume_was_there(code: Any, context: LoginContext) -> Diagnosis | None:
    """The user that a container's environment names is made only when its volume is empty."""
    host, port = context.address
    if port is None or not _is_unknown_there(code, context):
        return None
    # Where containers are reached: this machine, or a service's name, which has no dot.
    alone = "." not in host and ":" not in host
    if context.credential.source != "admin" or not (alone or host in ("127.0.0.1", "::1")):
        return None
    return Diagnosis(
        "AUTH-CONTAINER-VOLUME",
        POSSIBLE,
        "if the server is a container of the official image, MONGO_INITDB_ROOT_USERNAME and "
        "_PASSWORD make a user only while the data volume is empty",
        fix="create the user by hand, or make the volume anew (docker compose down -v deletes its "
        "data)",
    )


def _password_edges(code: Any, context: LoginContext) -> Diagnosis | None:
    return _edges("AUTH-PASSWORD-EDGE", "the password", context.credential.password, code)


def _user_edges(code: Any, context: LoginContext) -> Diagnosis | None:
    return _edges("AUTH-USER-EDGE", "the user name", context.credential.username, code)


def _edges(code: str, what: str, value: str | None, answer: Any) -> Diagnosis | None:
    if not value or answer not in REFUSALS:
        return None
    if value[-1] in "\r\n":
        where, fix = "ends with a line break", "make the secret with printf or echo -n, or strip it"
    elif value[0].isspace() or value[-1].isspace():
        where, fix = "begins or ends with white space", ""
    elif value[0] in _UNSEEN or value[-1] in _UNSEEN or min(value[0], value[-1]) < " ":
        where, fix = (
            "begins or ends with a character that cannot be seen (a byte order mark, a control)",
            "",
        )
    elif value[0] == "<" and value[-1] == ">":
        where = "stands in < and >"
        fix = "the brackets belong to the example, take them off too"
    elif value[0] == "<" or value[-1] == ">":
        where = "begins with < or ends with >"
        fix = f"replace <{what[4:]}> together with its brackets"
    elif value[0] == value[-1] and value[0] in "\"'" and len(value) > 1:
        where, fix = "stands in quotation marks, which belong to it as they came", "take them off"
    else:
        return None
    return Diagnosis(code, LIKELY, f"{what} {where}", fix=fix)


def _user_known(code: Any, context: LoginContext) -> Diagnosis | None:
    if not context.asked or not context.offered or code != AUTHENTICATION_FAILED:
        return None
    if context.mechanism not in context.offered:
        return None  # the rule about another mechanism says more
    return Diagnosis(
        "AUTH-PASSWORD-WRONG",
        LIKELY,
        f"the server names mechanisms for user {context.credential.username!r} in "
        f"{context.credential.source!r}, so it most likely exists there and the password is wrong",
    )


def _user_or_password(code: Any, context: LoginContext) -> Diagnosis | None:
    known = context.asked and (context.offered is None or context.offered)
    if known or code != AUTHENTICATION_FAILED or context.credential.password is None:
        return None
    if _lives_outside(context) or was_hosted(code, context.address[0]):
        return None
    return Diagnosis(
        "AUTH-USER-OR-PASSWORD",
        POSSIBLE,
        "user or password is wrong, or the user has no key for this mechanism; servers do not say "
        "which",
        fix="leave authMechanism out, and the server tells what the user has",
    )


def _certificate(code: Any, context: LoginContext) -> Diagnosis | None:
    if context.subject is None or code not in REFUSALS or context.credential.password is not None:
        return None
    given = context.credential.username
    if given is not None and given != context.subject:
        return Diagnosis(
            "X509-USER-NAME",
            CERTAIN,
            f"the user name given is not the subject of the certificate, {context.subject!r}",
            fix="leave the user name out, the server takes it from the certificate",
        )
    return Diagnosis(
        "X509-USER-UNKNOWN",
        LIKELY,
        f"the server most likely has no user in {EXTERNAL} that is called exactly as the "
        "certificate's subject; one with the O, OU and DC of the servers' own cannot be a user's",
        fix=f"db.getSiblingDB({EXTERNAL!r}).runCommand({{createUser: "
        f"{json_string(context.subject)}, roles: [...]}})",
    )


def _external(code: Any, context: LoginContext) -> Diagnosis | None:
    if context.subject is not None:
        return None  # the rule about the certificate says more
    if context.credential.source != EXTERNAL or code not in REFUSALS:
        return None
    user = context.credential.username
    return Diagnosis(
        "AUTH-EXTERNAL-USER",
        POSSIBLE,
        f"the server needs a user in {EXTERNAL} that is called "
        + (repr(user) if user is not None else "as the identity it sees")
        + ", unless it takes roles from groups",
    )


_RULES: tuple[Callable[[Any, LoginContext], Diagnosis | None], ...] = (
    _mechanism_refused,
    _password_edges,
    _user_edges,
    _wrong_mechanism,
    _changed,
    # By far the most frequent cause on servers of one's own, and it says what to do.
    _path_became_source,
    _user_unknown,
    _user_known,
    _volume_was_there,
    service_rule,
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
