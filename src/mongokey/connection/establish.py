"""Opens a connection and logs in, blocking: connect, TLS, hello and login within one deadline.

It drives the steps of `auth.login` over a stream. It must not know how a mechanism works, nor
what the connection is used for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

from mongokey._support.waiting import Cancelled
from mongokey.auth.login import Command, LoginResult, authenticate, greet, reauthenticate
from mongokey.connection.connection import Connection
from mongokey.errors import AutoReconnect, ConfigurationError, NetworkTimeout, ProtocolError
from mongokey.transport import connect, monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import OffloadedCall
    from mongokey.auth.login import Greeting
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.handshake import HelloReply
    from mongokey.transport import Stream

    Judge = Callable[[HelloReply], None]


def open_connection(
    address: AddressLike,
    settings: ConnectionSettings,
    judge: Judge | None = None,
    *,
    to_be_used: bool = True,
) -> tuple[Connection, LoginResult]:
    """A connection to `address` that has said hello and is logged in.

    `judge` is given the server's hello (a `HelloReply`) before anybody logs in, and raises what it
    has against using that server. `to_be_used` says that it can have nothing: then a login may go
    along with hello.

    The lesser of `connectTimeoutMS` and `timeoutMS` bounds all of it together. Raises
    `NetworkTimeout` or `AutoReconnect` when the server cannot be reached or falls silent,
    `AuthenticationFailed` when it refuses the login, `ConfigurationError` when it does not fit,
    `InvalidOperation` when the client is closed meanwhile, and what `judge` raises.
    """
    openings = settings.openings
    if openings.closed:
        raise openings.refuse()
    timeout, text = settings.limit_s, settings.deadline_text
    deadline = monotonic_ns() + int(timeout * 1e9) if timeout else 0
    host, port = address
    made: Stream | None = None
    stream: Stream | None = None
    connection: Connection | None = None
    try:
        made = stream = connect(
            host, port, deadline_ns=deadline, limit_text=text, cancelled=openings.is_closed
        )
        openings.add(made)
        if settings.tls is not None:
            if port is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host}")
            stream = settings.tls.wrap(stream, host, deadline, hold=True)
            openings.add(stream)
        stream.deadline_text = text
        connection = Connection(stream, address)
        result = _log_in(connection, settings, deadline, judge, to_be_used)
        settings.hello_seen.add(address)
        if result.mechanism is not None:
            connection.login, connection.settings = result, settings
        if settings.socket_timeout_s:
            stream.timeout_text = f"socketTimeoutMS={settings.socket_timeout_s * 1000:.0f}"
            stream.set_timeout(int(settings.socket_timeout_s * 1e9))
    except (AutoReconnect, ProtocolError, Cancelled) as error:
        if stream is not None:
            stream.close()
        if openings.closed:
            raise openings.refuse() from error
        if stream is not None and not isinstance(error, Cancelled):
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
        if stream is not None:
            openings.remove(stream)
    if openings.closed:
        stream.close()
        raise openings.refuse()
    return connection, result


def _subject(settings: ConnectionSettings) -> str | None:
    """Who the client's certificate says it is; "" when no certificate can be sent."""
    if settings.tls is None or settings.tls.without_certificate:
        return ""
    return settings.tls.subject


def _log_in(
    connection: Connection,
    settings: ConnectionSettings,
    deadline_ns: int,
    judge: Judge | None,
    to_be_used: bool,
) -> LoginResult:
    """Say hello on an open connection, have the server judged, and log in (`auth.login`)."""
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
    greeting: Greeting = _drive(steps, connection, settings, deadline_ns)
    hello = greeting.hello
    assert hello is not None, "it was greeted"
    connection.accept_hello(hello)
    if judge is not None:
        judge(hello)
    if exposure is not None and not to_be_used:
        exposure.warn(connection.stream, connection.address)
    result: LoginResult = _drive(authenticate(greeting), connection, settings, deadline_ns)
    return result


def log_in_again(connection: Connection, deadline_ns: int = 0) -> None:
    """Log in once more on a connection in use whose server asks for it (error 391); no hello.

    Within the lesser of `connectTimeoutMS` and `timeoutMS` from now, and `deadline_ns` (monotonic
    nanoseconds) if that is sooner. Raises what `open_connection` raises of logins; the connection
    is closed then.
    """
    settings, login = connection.settings, connection.login
    assert settings is not None, "only a connection of open_connection's can be logged in again"
    assert login is not None, "nobody was logged in"
    assert settings.credential is not None, "nobody was logged in"
    timeout = settings.limit_s
    if timeout:
        limit = monotonic_ns() + int(timeout * 1e9)
        deadline_ns = min(deadline_ns, limit) if deadline_ns else limit
        connection.stream.deadline_text = settings.deadline_text
    steps = reauthenticate(
        settings.credential,
        connection.address,
        login.mechanism,
        login.saved_state,
        settings.server_api,
    )
    openings = settings.openings
    openings.add(connection.stream)
    try:
        login.saved_state = _drive(steps, connection, settings, deadline_ns)
    except BaseException as error:
        connection.close()
        if openings.closed and isinstance(error, AutoReconnect | Cancelled):
            raise openings.refuse() from error
        raise
    finally:
        openings.remove(connection.stream)


def _drive(
    steps: Generator[Command | OffloadedCall, Mapping[str, Any] | None, Any],
    connection: Connection,
    settings: ConnectionSettings,
    deadline_ns: int,
) -> Any:
    """Send the login's commands, do its work, and return what it comes to."""
    answer: Mapping[str, Any] | None = None
    try:
        step = next(steps)
        while True:
            if isinstance(step, Command):
                try:
                    answer = connection.command(step.database, step.document, deadline_ns)
                except NetworkTimeout as error:
                    raise _too_slow(error, step, settings) from error
            else:
                deadline_ns = _run(step, settings, deadline_ns)
                answer = None
            step = steps.send(answer)
    except StopIteration as finished:
        return finished.value
    finally:
        # A login that is given up ends here and now, whoever still holds the error's traceback:
        # others may be waiting for its outcome.
        steps.close()


def _too_slow(error: NetworkTimeout, step: Command, settings: ConnectionSettings) -> NetworkTimeout:
    """`error`, saying also which login the server did not answer: others may keep it waiting."""
    credential = settings.credential
    if credential is None or next(iter(step.document)) in ("hello", "isMaster"):
        return error
    who = "" if credential.username is None else f" of user {credential.shown_user!r}"
    how = "" if credential.mechanism is None else f" by {credential.mechanism}"
    return NetworkTimeout(f"{error}, in the login{who}{how}", error.errors)


def _run(work: OffloadedCall, settings: ConnectionSettings, deadline_ns: int) -> int:
    """Do `work` within the deadline; returns the deadline, later by the time of patient work."""
    began = monotonic_ns()
    left = max(0.0, (deadline_ns - began) / 1e9) if deadline_ns else None
    work.cancelled = settings.openings.is_closed
    if not work.interactive:
        work.run(left)
        return deadline_ns
    if work.timed and settings.timeout_s:
        # auth.md, "OIDC Callback": the lesser of what connectTimeoutMS and timeoutMS leave.
        work.run(settings.timeout_s if left is None else min(left, settings.timeout_s))
        return deadline_ns
    with settings.pausable_clock:
        work.run(None)
    return deadline_ns + monotonic_ns() - began if deadline_ns else 0
