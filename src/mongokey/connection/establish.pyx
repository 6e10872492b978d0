# cython: language_level=3
"""Opens a connection and logs in, blocking: connect, TLS, hello and login within one deadline.

It drives the steps of `auth.login` over a stream. It must not know how a mechanism works, nor
what the connection is used for.
"""

from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline, earliest
from mongokey.auth.login cimport Command, Greeting, LoginResult
from mongokey.connection cimport connection as connections
from mongokey.connection.openings cimport Opening, Openings
from mongokey.connection.settings cimport ConnectionSettings
from mongokey.transport.stream cimport Stream, monotonic_ns

from mongokey._support.lazy import late_imports
from mongokey._support.waiting import Cancelled
from mongokey.auth.login import authenticate, greet
from mongokey.auth.login import reauthenticate as reauthentication_steps
from mongokey.connection.connection import Connection
from mongokey.errors import AutoReconnect, ConfigurationError, NetworkTimeout, ProtocolError
from mongokey.transport.connecting import connect


cdef extern from *:
    """
    /* One step of a generator: what it yields next, or, with *ended, what it returns. */
    static PyObject *mk_next_step(PyObject *steps, PyObject *answer, int *ended) {
        PyObject *step = NULL;
        *ended = PyIter_Send(steps, answer, &step) == PYGEN_RETURN;
        return step;
    }
    """
    object mk_next_step(object steps, object answer, int *ended)


def open_connection(
    address,
    ConnectionSettings settings not None,
    judge=None,
    *,
    bint to_be_used=True,
    Opening opening=None,
):
    """A connection to `address` that has said hello and is logged in.

    `judge` is given the server's hello (a `HelloReply`) before anybody logs in, and raises what it
    has against using that server. `to_be_used` says that it can have nothing: then a login may go
    along with hello. `opening` is told of streams and hello, for the pool that may give this up.

    The lesser of `connectTimeoutMS` and `timeoutMS` bounds all of it together. Raises
    `NetworkTimeout` or `AutoReconnect` when the server cannot be reached or falls silent,
    `AuthenticationFailed` when it refuses the login, `ConfigurationError` when it does not fit,
    `InvalidOperation` when the client is closed meanwhile, and what `judge` raises.
    """
    cdef Openings openings = settings.openings
    cdef connections.Connection connection = None
    cdef Stream made = None
    cdef Stream stream = None
    cdef LoginResult result
    cdef Deadline deadline = None
    if opening is not None:
        opening.begin(openings)
        openings = opening
    if openings.ended():
        raise openings.refuse()
    if settings.limit is not None:
        deadline = settings.limit.start()
    host, port = address
    try:
        made = stream = connect(host, port, deadline=deadline, cancelled=openings.is_closed)
        openings.add(made)
        if settings.tls is not None:
            if port is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host}")
            stream = settings.tls.wrap(stream, host, deadline, hold=True)
            openings.add(stream)
        connection = Connection(stream, address)
        result = _log_in(connection, settings, deadline, judge, to_be_used, openings)
        settings.hello_seen.add(address)
        if result.mechanism is not None:
            connection.login, connection.settings = result, settings
        if settings.socket_timeout is not None:
            stream.set_timeout(settings.socket_timeout)
    except (AutoReconnect, ProtocolError, Cancelled) as error:
        if stream is not None:
            stream.close()
        if openings.ended():
            raise openings.refuse() from error
        if stream is not None and not isinstance(error, Cancelled):
            with late_imports:
                from mongokey.connection.missing_tls import detect_missing_tls

            better = detect_missing_tls(error, settings, address, connection)
            if better is not None:
                raise better from error
        raise
    except BaseException:
        if stream is not None:
            stream.close()
        raise
    finally:
        if made is not None:
            openings.remove(made)
        if stream is not None and stream is not made:
            openings.remove(stream)
    if openings.ended():
        stream.close()
        raise openings.refuse()
    return connection, result


cdef object _subject(ConnectionSettings settings):
    """Who the client's certificate says it is; "" when no certificate can be sent."""
    if settings.tls is None or settings.tls.without_certificate:
        return ""
    return settings.tls.subject


cdef LoginResult _log_in(
    connections.Connection connection,
    ConnectionSettings settings,
    Deadline deadline,
    judge,
    bint to_be_used,
    Openings openings,
):
    """Say hello on an open connection, have the server judged, and log in (`auth.login`)."""
    cdef Greeting greeting
    exposure = settings.plaintext_warner
    if exposure is not None and to_be_used:
        # Before hello, which may carry the secret already.
        exposure.warn(connection.stream, connection.address)
    steps = greet(
        settings.credential,
        settings.metadata,
        connection.address,
        server_api=settings.server_api,
        load_balanced=settings.load_balanced,
        subject=_subject(settings),
        to_be_used=to_be_used,
    )
    greeting = _drive(steps, connection, settings, deadline, openings)
    hello = greeting.hello
    assert hello is not None, "it was greeted"
    connection.accept_hello(hello)
    if isinstance(openings, Opening):
        (<Opening>openings).greeted(hello)
    if judge is not None:
        judge(hello)
    if exposure is not None and not to_be_used:
        exposure.warn(connection.stream, connection.address)
    return _drive(authenticate(greeting), connection, settings, deadline, openings)


def reauthenticate(connections.Connection connection not None, Deadline deadline=None):
    """Log in once more on a connection in use whose server asks for it (error 391); no hello.

    Within the lesser of `connectTimeoutMS` and `timeoutMS` from now, and `deadline` if that is
    sooner. Raises what `open_connection` raises of logins; the connection is closed then.
    """
    cdef ConnectionSettings settings = connection.settings
    cdef LoginResult login = connection.login
    cdef Openings openings
    assert settings is not None, "only a connection of open_connection's can be logged in again"
    assert login is not None, "nobody was logged in"
    assert settings.credential is not None, "nobody was logged in"
    if settings.limit is not None:
        deadline = earliest(settings.limit.start(), deadline)
    steps = reauthentication_steps(
        settings.credential,
        connection.address,
        login.mechanism,
        login.saved_state,
        settings.server_api,
    )
    openings = settings.openings
    openings.add(connection.stream)
    try:
        login.saved_state = _drive(steps, connection, settings, deadline, openings)
    except BaseException as error:
        connection.close()
        if openings.ended() and isinstance(error, (AutoReconnect, Cancelled)):
            raise openings.refuse() from error
        raise
    finally:
        openings.remove(connection.stream)


cdef object _drive(
    object steps,
    connections.Connection connection,
    ConnectionSettings settings,
    Deadline deadline,
    Openings openings,
):
    """Send the login's commands, do its work, and return what it comes to."""
    cdef object step
    cdef object answer = None
    cdef Command command
    cdef int ended = 0
    try:
        while True:
            step = mk_next_step(steps, answer, &ended)
            if ended:
                return step
            if type(step) is Command:
                command = <Command>step
                try:
                    answer = connection.command(command.database, command.document, deadline)
                except NetworkTimeout as error:
                    raise _too_slow(error, command, settings) from error
            else:
                deadline = _run(step, settings, deadline, openings)
                answer = None
    except BaseException:
        # A login that is given up ends here and now, whoever still holds the error's traceback:
        # others may be waiting for its outcome.
        steps.close()
        raise


cdef object _too_slow(object error, Command step, ConnectionSettings settings):
    """`error`, saying also which login the server did not answer: others may keep it waiting."""
    credential = settings.credential
    if credential is None or next(iter(step.document)) in ("hello", "isMaster"):
        return error
    who = "" if credential.username is None else f" of user {credential.shown_user!r}"
    how = "" if credential.mechanism is None else f" by {credential.mechanism}"
    return NetworkTimeout(f"{error}, in the login{who}{how}", error.errors)


cdef Deadline _run(
    object work, ConnectionSettings settings, Deadline deadline, Openings openings
):
    """Do `work` within the deadline; returns it, later by what was done interactively."""
    cdef int64_t began_ns
    left = None if deadline is None else deadline.left_s
    work.cancelled = openings.is_closed
    if not work.interactive:
        work.run(left)
        return deadline
    if work.timed and settings.timeout is not None:
        # auth.md, "OIDC Callback": the lesser of what connectTimeoutMS and timeoutMS leave.
        whole = settings.timeout.ns / 1e9
        work.run(whole if left is None else min(left, whole))
        return deadline
    began_ns = monotonic_ns()
    with settings.pausable_clock:
        work.run(None)
    return None if deadline is None else deadline.extended(monotonic_ns() - began_ns)
