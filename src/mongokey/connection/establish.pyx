# cython: language_level=3
"""Opens a connection and logs in, blocking: connect, TLS, hello and login within one deadline.

It carries out the steps of `establish_steps`, and of a later login, over a stream. It must not know
how a mechanism works, nor what the connection is used for.
"""

cimport cython

from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline, earliest
from mongokey._support.generators cimport mk_next_step
from mongokey.auth.login cimport Command, LoginResult
from mongokey.connection cimport connection as connections
from mongokey.connection.settings cimport ConnectionSettings, Opening, Openings
from mongokey.connection.steps cimport Connect, Pause, StartTLS
from mongokey.transport.stream cimport Stream, monotonic_ns

from mongokey._support.waiting import Cancelled
from mongokey.connection.connection import Connection
from mongokey.connection.establish_steps import (
    deadline_of_login,
    establish,
    log_in_again,
    run_work,
    too_slow,
)
from mongokey.errors import AutoReconnect, NetworkTimeout, ProtocolError
from mongokey.transport.connecting import connect


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

    The lesser of `connectTimeoutMS` and `timeoutMS`, or of the first of them and the deadline that
    `opening` has, bounds all of it together. Raises
    `NetworkTimeout` or `AutoReconnect` when the server cannot be reached or falls silent,
    `AuthenticationFailed` when it refuses the login, `ConfigurationError` when it does not fit,
    `InvalidOperation` when the client is closed meanwhile, and what `judge` raises.
    """
    cdef Openings openings = settings.openings
    cdef BlockingDriver driver
    cdef Deadline until = None
    if opening is not None:
        opening.begin(openings)
        openings = opening
        until = opening.until
    if openings.ended():
        raise openings.refuse()
    driver = BlockingDriver.__new__(BlockingDriver)
    driver.settings, driver.openings, driver.until = settings, openings, until
    steps = establish(
        address, settings, settings.limit, judge=judge, to_be_used=to_be_used, opening=opening
    )
    try:
        found = driver.drive(steps)
    except BaseException as error:
        driver.fail(error)
        raise
    finally:
        driver.forget()
    return driver.finished(found)


def begin_connection(address, ConnectionSettings settings not None, Opening opening not None):
    """The first part of `open_connection`, until the server has said hello: a `BegunConnection`.

    Within `connectTimeoutMS`, which goes on to count. Raises what `open_connection` raises.
    `opening` ends with this.
    """
    cdef BegunConnection begun = BegunConnection.__new__(BegunConnection)
    cdef BlockingDriver driver = BlockingDriver.__new__(BlockingDriver)
    opening.begin(settings.openings)
    if opening.ended():
        raise opening.refuse()
    driver.settings, driver.openings, driver.measures = settings, opening, True
    begun.driver = driver
    begun.steps = establish(
        address, settings, settings.connect_timeout, to_be_used=False, pauses=True
    )
    try:
        begun.hello = (<Pause?>driver.drive(begun.steps)).hello
    except BaseException as error:
        begun.close()
        driver.fail(error)
        raise
    begun.round_trip_ns = driver.exchange_ns
    return begun


@cython.final
cdef class BegunConnection:
    """A connection whose server has said hello; `finish` logs in, `close` gives it up."""
    cdef BlockingDriver driver
    cdef object steps
    cdef readonly object hello
    cdef readonly int64_t round_trip_ns

    def __reduce__(self):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def finish(self, judge, Opening opening not None):
        """The rest of `open_connection`."""
        cdef BlockingDriver driver = self.driver
        steps, self.steps = self.steps, None
        if steps is None:
            raise ValueError("the connection was finished or closed")
        hello = self.hello
        try:
            driver.go_on_for(opening)
            while True:
                opening.hello_received(hello)
                judge(hello)
                found = driver.drive(steps)
                if type(found) is not Pause:
                    break
                hello = (<Pause>found).hello  # it was made anew
        except BaseException as error:
            steps.close()
            driver.fail(error)
            raise
        finally:
            driver.forget()
        return driver.finished(found)

    def close(self):
        """Close it, unless it is finished. More than once is allowed."""
        steps, self.steps = self.steps, None
        if steps is not None:
            steps.close()
            self.driver.close()
            self.driver.forget()


def reauthenticate(connections.Connection connection not None, Deadline deadline=None):
    """Log in once more on a connection in use whose server asks for it (error 391); no hello.

    Within the lesser of `connectTimeoutMS` and `timeoutMS` from now; or of the first of them and
    `deadline`, the operation's. Raises what `open_connection` raises of logins; the connection is
    closed then.
    """
    cdef ConnectionSettings settings = connection.settings
    cdef LoginResult login = connection.login
    cdef BlockingDriver driver
    assert settings is not None, "only a connection of open_connection's can be logged in again"
    assert login is not None, "nobody was logged in"
    assert settings.credential is not None, "nobody was logged in"
    until = deadline
    deadline = deadline_of_login(settings, until)
    steps = log_in_again(settings, connection.address, login)
    driver = BlockingDriver.__new__(BlockingDriver)
    driver.settings, driver.openings = settings, settings.openings
    driver.connection, driver.deadline, driver.until = connection, deadline, until
    driver.stream = driver.made = connection.stream
    driver.openings.add(connection.stream)
    try:
        login.saved_state = driver.drive(steps)
    except BaseException as error:
        connection.close()
        if driver.openings.ended() and isinstance(error, (AutoReconnect, Cancelled)):
            raise driver.openings.refuse() from error
        raise
    finally:
        driver.forget()


@cython.final
cdef class BlockingDriver:
    """Carries out the steps of one connection, waiting for each."""
    cdef ConnectionSettings settings
    cdef Openings openings                  # told of the streams, and whether to go on
    cdef Deadline deadline                  # bounds all of it; None: nothing does
    cdef Deadline until                     # the operation's that it is for, or None
    cdef connections.Connection connection
    cdef Stream made                        # the plain stream
    cdef Stream stream                      # the same, or what TLS made of it
    cdef bint measures                      # how long commands take, the last one `exchange_ns`
    cdef int64_t exchange_ns

    cdef tuple finished(self, found):
        """What the steps came to, (connection, result), for a pool."""
        cdef ConnectionSettings settings = self.settings
        if self.openings.ended():
            self.close()
            raise self.openings.refuse()
        if (<LoginResult?>found[1]).mechanism is not None:
            self.connection.login, self.connection.settings = found[1], settings
        if settings.socket_timeout is not None:
            self.stream.set_timeout(settings.socket_timeout)
        return found

    cdef int fail(self, error) except -1:
        """Close all after `error`; where this was given up, raise what says so in its place."""
        self.close()
        if self.openings.ended() and isinstance(error, (AutoReconnect, ProtocolError, Cancelled)):
            raise self.openings.refuse() from error
        return 0

    cdef int go_on_for(self, Opening opening) except -1:
        """It is `opening` from now on, with its deadline, that is told of the streams."""
        opening.begin(self.settings.openings)
        self.forget()
        self.openings, self.until = opening, opening.until
        self.deadline = earliest(self.deadline, opening.until)
        self.remember()
        return 0

    cdef object drive(self, object steps):
        """Carry out all steps, and return what they come to; or up to a `Pause`, which is
        returned."""
        cdef object step = None
        cdef object answer = None
        cdef int ended = 0
        try:
            while True:
                if step is None:
                    step = mk_next_step(steps, answer, &ended)
                    if ended:
                        return step
                following = answer = None
                try:
                    if type(step) is Command:
                        answer = self.exchange(<Command>step)
                    elif type(step) is Connect:
                        answer = self.open_socket(<Connect>step)
                    elif type(step) is StartTLS:
                        self.start_tls(<StartTLS>step)
                    elif type(step) is Pause:
                        return step
                    else:
                        self.deadline = run_work(
                            step,
                            self.settings,
                            self.deadline,
                            self.openings.is_closed,
                            None,
                            self.until,
                        )
                except (AutoReconnect, ProtocolError) as error:
                    # They may know better why it broke, or what to try instead.
                    self.close()
                    following = steps.throw(error)
                step = following
        except BaseException:
            # A login that is given up ends here and now, whoever still holds the error's traceback:
            # others may be waiting for its outcome.
            steps.close()
            raise

    cdef object open_socket(self, Connect step):
        if self.stream is not None:
            # Made anew, with another secret or certificate.
            self.close()
            self.forget()
        self.deadline = step.begin()
        host, port = step.address
        self.made = self.stream = connect(
            host, port, deadline=self.deadline, cancelled=self.openings.is_closed
        )
        self.openings.add(self.made)
        self.connection = Connection(self.stream, step.address)
        return self.connection

    cdef int start_tls(self, StartTLS step) except -1:
        self.stream = step.tls.wrap(self.made, step.host, self.deadline, hold=True)
        self.connection.stream = self.stream
        self.openings.add(self.stream)
        return 0

    cdef object exchange(self, Command command):
        cdef int64_t began_ns = monotonic_ns() if self.measures else 0
        try:
            answer = self.connection.command(command.database, command.document, self.deadline)
            if self.measures:
                self.exchange_ns = monotonic_ns() - began_ns
            return answer
        except NetworkTimeout as error:
            raise too_slow(error, command, self.settings) from error

    cdef int close(self) except -1:
        if self.stream is not None:
            self.stream.close()
        return 0

    cdef int remember(self) except -1:
        """The streams are to be closed with what is told of them."""
        if self.made is not None:
            self.openings.add(self.made)
        if self.stream is not None and self.stream is not self.made:
            self.openings.add(self.stream)
        return 0

    cdef int forget(self) except -1:
        """The streams are a pool's now, or closed."""
        if self.made is not None:
            self.openings.remove(self.made)
        if self.stream is not None and self.stream is not self.made:
            self.openings.remove(self.stream)
        return 0
