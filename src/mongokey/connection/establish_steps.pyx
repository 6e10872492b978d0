# cython: language_level=3
"""Making a connection that is logged in, as steps: connect, TLS, hello, login.

Knows the order, who is asked about the server in between, and who says why a connection broke. It
must not know how a step is carried out, how a mechanism works, nor what the connection is for.
"""

from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline, Timeout, earliest
from mongokey.auth.login cimport Command, Greeting
from mongokey.connection.settings cimport ConnectionSettings, Opening
from mongokey.connection.steps cimport Connect, Pause, StartTLS
from mongokey.transport.stream cimport monotonic_ns

from mongokey._support.lazy import late_imports
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.login import authenticate, greet
from mongokey.auth.whole_login import reauthenticate
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    NetworkTimeout,
    ProtocolError,
    TLSError,
)


def establish(
    address,
    ConnectionSettings settings not None,
    Timeout limit,
    *,
    bint log_in=True,
    judge=None,
    bint to_be_used=True,
    Opening opening=None,
    bint pauses=False,
):
    """Connect to `address`, do the TLS handshake, say hello and, if `log_in`, log in; with
    `pauses` there is a step `Pause` before that."""
    if opening is not None:
        # timeoutMS, which is part of `limit`, is one of operations.
        step = Connect(address, settings.connect_timeout, opening.until)
    else:
        step = Connect(address, limit)
    if settings.secrets is None and settings.tls_watch is None:
        return attempt(step, settings, log_in, judge, to_be_used, opening, None, pauses)
    return establish_with_current(step, settings, log_in, judge, to_be_used, opening, pauses)


def establish_with_current(
    Connect step,
    ConnectionSettings settings,
    log_in,
    judge,
    to_be_used,
    Opening opening,
    bint pauses,
):
    """As `attempt`, with the secret and the TLS files of now; once more with others where these
    are refused."""
    with late_imports:
        from mongokey.connection.rotation import Current

    current = Current(settings, step.address, log_in)
    try:
        while True:
            try:
                return (
                    yield from attempt(
                        step, settings, log_in, judge, to_be_used, opening, current, pauses
                    )
                )
            except (TLSError, AuthenticationFailed) as error:
                if not current.may_try_again(error):
                    explained = current.explain(error)
                    if explained is error:
                        raise
                    raise explained from error.__cause__
                current.again(error)
    finally:
        current.forget()


def attempt(
    Connect step not None,
    ConnectionSettings settings not None,
    bint log_in,
    judge,
    bint to_be_used,
    Opening opening,
    current=None,
    bint pauses=False,
):
    """Make one connection by `step`; `current` gets its secret and its certificate, where these may
    change."""
    cdef Greeting greeting
    cdef object address = step.address
    cdef object credential = settings.credential
    cdef object tls = settings.tls
    connection = result = None
    # Warns before a login shows a secret; hello may carry it already.
    exposure = settings.plaintext_warner if log_in else None
    try:
        connection = yield step
        if settings.compression is not None:
            connection.offer_compression(settings.compression)
        if current is not None:
            yield from current.prepare()
            credential, tls = current.credential, current.tls
        if tls is not None:
            host, port = address
            if port is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host}")
            yield StartTLS(tls, host)
        if exposure is not None and to_be_used:
            exposure.warn(connection.stream, address)
        greeting = yield from greet(
            credential if log_in else None,
            settings.metadata,
            address,
            server_api=settings.server_api,
            load_balanced=settings.load_balanced and log_in,
            compressors=() if settings.compression is None else settings.compression.names,
            subject=subject(tls) if log_in else None,
            to_be_used=to_be_used,
        )
        connection.accept_hello(greeting.hello)
        settings.hello_seen.add(address)
        if pauses:
            yield Pause(greeting.hello)
        if opening is not None:
            opening.hello_received(greeting.hello)
        if judge is not None:
            judge(greeting.hello)
        if log_in:
            if exposure is not None and not to_be_used:
                exposure.warn(connection.stream, address)
            result = yield from authenticate(greeting)
    except (AutoReconnect, ProtocolError) as error:
        if connection is not None:
            with late_imports:
                from mongokey.connection.missing_tls import detect_missing_tls

            better = detect_missing_tls(error, settings, address, connection)
            if better is not None:
                raise better from error
            peer = connection.stream.peer
            if isinstance(error, ProtocolError) and peer not in str(error):
                raise ProtocolError(f"{peer}: {error}", error.permanent) from error
        raise
    return connection, result


def too_slow(error, Command step not None, ConnectionSettings settings not None):
    """The `NetworkTimeout` `error`, saying also which login the server did not answer: others may
    keep it waiting."""
    credential = settings.credential
    if credential is None or next(iter(step.document)) in ("hello", "isMaster"):
        return error
    who = "" if credential.username is None else f" of user {credential.shown_user!r}"
    how = "" if credential.mechanism is None else f" by {credential.mechanism}"
    return NetworkTimeout(f"{error}, in the login{who}{how}", error.errors)


def run_work(
    work,
    ConnectionSettings settings not None,
    Deadline deadline,
    cancelled,
    await_result=None,
    Deadline until=None,
):
    """Do `work` (an `OffloadedCall`), which may wait, within the deadline; returns the deadline,
    later by what was done interactively. `until` is the deadline of the operation that all of it
    is for, or None. It ends soon after `cancelled()` has become true;
    `await_result` awaits a coroutine of the application's."""
    cdef int64_t began_ns
    work.cancelled = cancelled
    if await_result is not None:
        work.await_result = await_result
    if not work.interactive:
        work.run(deadline)
        return deadline
    if until is None and settings.timeout is not None:
        until = settings.timeout.start()
    if work.timed and until is not None:
        # auth.md, "OIDC Callback": the lesser of what connectTimeoutMS and timeoutMS leave.
        work.run(earliest(until, deadline))
        return deadline
    began_ns = monotonic_ns()
    work.run(None)
    return None if deadline is None else deadline.extended(monotonic_ns() - began_ns)


def deadline_of_login(ConnectionSettings settings not None, Deadline until):
    """How long a later login on a connection may take, for an operation that has `until`."""
    cdef Timeout limit = settings.limit if until is None else settings.connect_timeout
    return until if limit is None else earliest(limit.start(), until)


def log_in_again(ConnectionSettings settings not None, address, login):
    """The steps of a later login on a connection whose login was `login` (a `LoginResult`); they
    return its saved state."""
    if settings.secrets is None:
        credential = settings.credential
    else:
        with late_imports:
            from mongokey.connection.rotation import current_secret

        credential = (yield from current_secret(settings.secrets, address)).credential
    return (
        yield from reauthenticate(
            credential, address, login.mechanism, login.saved_state, settings.server_api
        )
    )


cdef object subject(tls):
    """Who the client's certificate says it is; "" when no certificate can be sent."""
    if tls is None or tls.without_certificate:
        return ""
    return tls.subject


__all__ = ["attempt", "deadline_of_login", "establish", "log_in_again", "run_work", "too_slow"]
