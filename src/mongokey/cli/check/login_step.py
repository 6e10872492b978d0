"""Steps `login`, `identity` and `read`: one login step after the other, who that is, one read.

Knows how to carry out a login's steps over the connection that said hello, and which facts make its
diagnoses surer than a client's. Must not know mechanisms: their own modules say what went wrong.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from mongokey._support.certificates import load_certificate, organization
from mongokey._support.secrets import keeps_secrets
from mongokey.auth.diagnosis import explain_command, find_diagnoses
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.login import Command, Greeting, LoginResult, authenticate
from mongokey.auth.registry import find_mechanism, negotiate, open_conversation
from mongokey.cli.check.login_probes import look_at_login
from mongokey.cli.check.reach_step import greet_all
from mongokey.cli.check.report import SKIPPED, WARNED, Found, Step
from mongokey.cli.check.state import Host, State, StepFailed, milliseconds
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first
from mongokey.errors import (
    AutoReconnect,
    BSONError,
    ConfigurationError,
    MongoError,
    OperationFailure,
    ProtocolError,
)
from mongokey.handshake.hello import api_fields
from mongokey.transport.stream import monotonic_ns

if TYPE_CHECKING:
    from mongokey.auth.conversation import Conversation

# The database of clients that are given none.
DEFAULT_DATABASE = "test"
# A collection that need not be there, to learn whether it could be read.
_ANY_COLLECTION = "mongokey_check"
# So many roles are listed.
_MOST_ROLES = 20


# ---------------------------------------------------------------- login


def check_login(state: State, step: Step) -> None:
    """Log in on the chosen servers."""
    options = state.options
    assert options is not None
    credential = options.credential
    if credential is None:
        step.status = SKIPPED
        step.facts["user"] = None
        step.lines.append("nobody: no user and no authMechanism")
        return
    step.facts.update(
        user=credential.shown_user,
        source=credential.source,
        source_origin=credential.source_origin,
        steps=[],
    )
    for host in state.chosen:
        try:
            host.login = _log_in(state, host, step)
        except BSONError as error:
            wrong = ConfigurationError(str(error))
            raise StepFailed(_explain_login(state, host, wrong)) from None
        except MongoError as error:
            raise StepFailed(
                _explain_login(state, host, error), timed_out=_timed_out(error)
            ) from None
        step.facts["mechanism"] = host.login.mechanism
        step.lines.insert(
            0,
            f"{credential.shown_user or 'logged in'} by {host.login.mechanism} at {host.name}"
            if host.login.mechanism is not None
            else f"{host.name} asks for no login (an arbiter)",
        )


def _timed_out(error: MongoError) -> bool:
    return bool(error.timeout)


@keeps_secrets
def _log_in(state: State, host: Host, step: Step) -> LoginResult:
    options, settings = state.options, state.settings
    assert options is not None
    assert settings is not None
    if host.connection is None or host.connection.closed:
        greet_all(state, [host])
        if host.error is not None:
            raise host.error
    assert host.connection is not None
    subject = ""
    if settings.tls is not None and not settings.tls.without_certificate:
        subject = settings.tls.subject or ""
    known = subject if settings.tls is None or settings.tls.without_certificate else None
    conversation = _open_conversation(state, host, known)
    host.conversation = conversation
    greeting = Greeting(
        host.hello,
        state.credential(host),
        host.address,
        settings.server_api,
        subject or known,
        conversation,
        None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is exposed is among the findings
        result = _drive(state, host, step, authenticate(greeting))
    described = None if conversation is None else conversation.credential_description()
    if described is not None:
        step.facts["credential"] = described
        step.lines.append(described)
    return result


def _open_conversation(state: State, host: Host, subject: str | None) -> Conversation | None:
    """The conversation of a login, to be asked afterwards where its credential came from; None
    where `authenticate` refuses to open one."""
    assert state.options is not None
    credential = state.credential(host)
    assert credential is not None
    assert host.hello is not None
    chosen = credential.mechanism or negotiate(host.hello.sasl_supported_mechs)
    if host.hello.is_arbiter or (subject == "" and find_mechanism(chosen).certificate):
        return None
    return open_conversation(credential, chosen, host.address)


def _drive(state: State, host: Host, step: Step, steps: Any) -> LoginResult:
    """Carry out a login's steps, noting each by its name and time."""
    deadline = state.limit()
    connection = host.connection
    assert connection is not None
    answer: Any = None
    while True:
        try:
            work = steps.send(answer)
        except StopIteration as stop:
            result: LoginResult = stop.value
            return result
        answer = None
        began = monotonic_ns()
        try:
            if isinstance(work, Command):
                name = next(iter(work.document))
                answer = connection.command(work.database, work.document, deadline)
            else:
                name = work.what
                work.run(state.deadline if work.interactive else deadline)
        except (AutoReconnect, ProtocolError) as error:
            connection.close()
            steps.throw(error)
            raise
        finally:
            work = None
        step.facts["steps"].append({"host": host.name, "name": name, "ms": milliseconds(began)})
        step.lines.append(f"{name} {milliseconds(began):.1f} ms")


def _explain_login(state: State, host: Host, error: MongoError) -> list[Found]:
    facts = state.facts(host)
    diagnoses = error.diagnoses
    context = getattr(error, "login", None)
    if isinstance(error, AuthenticationFailed) and context is not None:
        facts["mechanism"] = context.mechanism
        facts["offered"] = context.hello.sasl_supported_mechs if context.hello else None
        facts["password_given"] = context.credential.password is not None
        facts["tried"] = context.tried()
        if context.credential_description:
            facts["credential"] = context.credential_description
        answer = error.details
        facts["answer"] = _answer(answer)
        # Of a mechanism that was named, a client does not ask whether the user has it; this did.
        if context.mechanism.startswith("SCRAM-") and context.hello is not None:
            context.asked, context.offered = True, context.hello.sasl_supported_mechs
        if answer is not None:
            diagnoses = find_diagnoses(answer, context)
    found = list(diagnoses)
    codes = {each.code for each in found}
    fixes = {each.code: each.fix for each in state.lint}
    # The string put right says more than the option's name alone.
    found = [each.replace(fix=fixes[each.code]) if fixes.get(each.code) else each for each in found]
    for each in state.lint:
        if each.code not in codes and _speaks_of_login(each.code):
            found.append(each)
    found = [_surer(state, each, facts) for each in found]
    found = look_at_login(state, host, error, found, facts)
    member = _cluster_member(state, host, error)
    if member is not None:
        found.insert(0, member)
    if not found:
        known = isinstance(error, ConfigurationError)
        found = [
            Diagnosis(
                "AUTH-FAILED",
                CERTAIN if known else POSSIBLE,
                "the login failed; the error says all that is known",
                [str(error)],
            )
        ]
    return [Found(each, facts) for each in surest_first(found)]


def _surer(state: State, found: Diagnosis, facts: dict[str, Any]) -> Diagnosis:
    """A mechanism of Enterprise's that is refused by a server which says that it is Community."""
    step = state.report.step("hello")
    modules = step.facts.get("modules") if step is not None else None
    if found.code != "AUTH-MECHANISM-OFF" or modules is None or "enterprise" in modules:
        return found
    if facts.get("mechanism") not in ("GSSAPI", "PLAIN"):
        return found
    return found.replace(
        confidence=CERTAIN,
        evidence=(*found.evidence, f"buildInfo names the modules {modules}: none is enterprise"),
        fix="log in by another mechanism; Kerberos and LDAP need MongoDB Enterprise or Atlas",
    )


def _cluster_member(state: State, host: Host, error: MongoError) -> Diagnosis | None:
    """The client's certificate is called as those of the cluster's own members are."""
    tls = state.settings.tls if state.settings is not None else None
    context = getattr(error, "login", None)
    if context is None or context.mechanism != "MONGODB-X509" or tls is None or not error.diagnoses:
        return None
    if tls.identity is None or host.certificate is None:
        return None
    ours = organization(tls.identity.certificate)
    theirs = organization(load_certificate(host.certificate))
    if not ours or ours != theirs:
        return None
    return Diagnosis(
        "X509-MEMBER",
        LIKELY,
        "the client certificate has the same O, OU and DC as the server's, so that it is taken "
        "for a member of the cluster, which no user can be",
        [f"both have {', '.join(f'{kind}={value}' for kind, value in ours)}"],
        "give the client a certificate with another O or OU",
    )


def _speaks_of_login(code: str) -> bool:
    return code.startswith(("SECRET-", "USERINFO-", "AUTH-", "URI-")) and code not in (
        "AUTH-NO-CREDENTIAL",
    )


def _answer(answer: Any) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {name: answer.get(name) for name in ("code", "codeName", "errmsg")}


# ---------------------------------------------------------------- identity


def check_identity(state: State, step: Step) -> None:
    """Ask the server who one is."""
    assert state.options is not None
    if state.options.credential is None:
        step.status = SKIPPED
        step.lines.append("nobody is logged in")
        return
    host = state.chosen[0]
    reply = _command(state, host, "admin", {"connectionStatus": 1, "showPrivileges": False})
    if isinstance(reply, MongoError):
        _raise_lost(state, host, reply)
    info = reply.get("authInfo") if reply.get("ok") else None
    if not isinstance(info, dict):
        step.status = WARNED
        step.facts["answer"] = _answer(reply)
        step.lines.append(f"the server does not say: {reply.get('errmsg')}")
        return
    users = [f"{each.get('user')}@{each.get('db')}" for each in _documents(info, "Users")]
    roles = [f"{each.get('role')}@{each.get('db')}" for each in _documents(info, "UserRoles")]
    state.roles = roles
    step.facts["users"], step.facts["roles"] = users, roles
    if not users:
        step.lines.append("nobody is logged in")
        return
    step.lines.append(f"you are {', '.join(users)} with {_roles(roles)}")


def _documents(info: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The documents in authInfo's list of that kind; a server may send anything."""
    listed = info.get(f"authenticated{name}")
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _roles(roles: list[str]) -> str:
    if not roles:
        return "no roles"
    more = len(roles) - _MOST_ROLES
    return f"the roles {', '.join(roles[:_MOST_ROLES])}" + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- read


def check_read(state: State, step: Step) -> None:
    """Read at most one document's _id of the default database."""
    options = state.options
    assert options is not None
    database = options.database or DEFAULT_DATABASE
    defaulted = options.database is None
    step.facts["database"], step.facts["defaulted"] = database, defaulted
    for host in state.chosen:
        _read(state, host, step, database, defaulted)


def _read(state: State, host: Host, step: Step, database: str, defaulted: bool) -> None:
    listed = _command(
        state,
        host,
        database,
        {"listCollections": 1, "nameOnly": True, "authorizedCollections": True, "cursor": {}},
    )
    if isinstance(listed, MongoError):
        _raise_lost(state, host, listed)
    names: list[str] = []
    if listed.get("ok"):
        cursor = listed.get("cursor")
        batch = cursor.get("firstBatch") if isinstance(cursor, dict) else None
        found = [each for each in batch if isinstance(each, dict)] if batch else []
        names = [str(each.get("name")) for each in found if each.get("type") != "view"]
    names = sorted(each for each in names if not each.startswith("system."))
    collection = names[0] if names else _ANY_COLLECTION
    reply = _command(
        state,
        host,
        database,
        {
            "find": collection,
            "limit": 1,
            "singleBatch": True,
            "projection": {"_id": 1},
            "maxTimeMS": max(1, int(state.limit().left_s * 1000)),
        },
    )
    if isinstance(reply, MongoError):
        _raise_lost(state, host, reply)
    if not reply.get("ok"):
        raise StepFailed(_explain_refusal(state, host, reply, database, defaulted))
    step.facts.setdefault("collections", len(names))
    what = f"{database}.{collection}" if names else f"{database}, which has no collections"
    by_default = " (the URI names no database)" if defaulted else ""
    step.lines.append(f"{host.name}: read {what}{by_default}")


def _explain_refusal(
    state: State, host: Host, reply: dict[str, Any], database: str, defaulted: bool
) -> list[Found]:
    options = state.options
    assert options is not None
    found = explain_command(reply, options.credential, host.address, database)
    said = f"the server answered {reply.get('errmsg')!r} (code {reply.get('code')})"
    if found is None:
        found = Diagnosis(
            "AUTH-READ-FAILED",
            POSSIBLE,
            f"the server did not let database {database!r} be read",
            [said],
        )
    else:
        evidence = [*found.evidence, said]
        if options.credential is not None:
            evidence.append(f"connectionStatus: {_roles(state.roles)}")
        fix = found.fix
        if defaulted:
            evidence.append(f"the URI names no database, so the read went to {database!r}")
            elsewhere = sorted({each.partition("@")[2] for each in state.roles} - {database, ""})
            if elsewhere:
                fix = (
                    f"name the database in the string's path, as in .../{elsewhere[0]} (with "
                    f"authSource={options.credential.source if options.credential else 'admin'}); "
                    f"or grant the user a role on {database!r}"
                )
        found = found.replace(evidence=tuple(evidence), fix=fix)
    facts = {
        **state.facts(host),
        "database": database,
        "defaulted": defaulted,
        "roles": state.roles,
        "answer": _answer(reply),
    }
    return [Found(found, facts)]


def _command(
    state: State, host: Host, database: str, command: dict[str, Any]
) -> dict[str, Any] | Any:
    """The server's answer, errors too; a MongoError where the connection broke."""
    settings = state.settings
    assert settings is not None
    assert host.connection is not None
    command.update(api_fields(settings.server_api))
    if host.hello is not None and not host.hello.is_writable:
        command["$readPreference"] = {"mode": "secondaryPreferred"}
    try:
        return host.connection.command(database, command, state.limit())
    except OperationFailure as error:
        return error.details or {"ok": 0, "errmsg": str(error)}
    except MongoError as error:
        return error
    except BSONError as error:  # such as a name that is no text
        return {"ok": 0, "errmsg": str(error)}


def _raise_lost(state: State, host: Host, error: MongoError) -> None:
    lost = Diagnosis(
        "TCP-LOST",
        POSSIBLE,
        f"{host.name}: the connection was lost after the login",
        [str(error)],
        "the server may have been restarted, or something on the way closes connections; try again",
    )
    raise StepFailed([Found(lost, state.facts(host))], timed_out=bool(error.timeout))


__all__ = ["check_identity", "check_login", "check_read"]
