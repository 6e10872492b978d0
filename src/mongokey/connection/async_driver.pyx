# cython: language_level=3, nonecheck=True
"""Carries out the steps of one plain connection, and of a later login, in a task of an asyncio
loop: the counterpart of `establish`'s blocking driver.

It connects by itself where that takes no time, and else has `loop_establishing` do it. It must not
know how a mechanism works, nor what the connection is used for.
"""

cimport cython

from mongokey._support.deadline cimport Deadline
from mongokey.auth.login cimport Command
from mongokey.connection.async_connection cimport AsyncConnection
from mongokey.connection.settings cimport ConnectionSettings, Opening, Openings
from mongokey.connection.steps cimport Connect
from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.names cimport SocketAddress, in_order, known_addresses, unix_address
from mongokey.transport.polling cimport PolledSocket

from mongokey._support.address import format_address
from mongokey._support.lazy import late_imports
from mongokey.connection.establish_steps import too_slow
from mongokey.errors import AutoReconnect, NetworkTimeout, ProtocolError
from mongokey.transport.connecting import check_target, is_unix
from mongokey.transport.loop_stream import stream_of
from mongokey.transport.polling import CONNECTED, IN_PROGRESS, SocketFailed
from mongokey.transport.stream import Stream


cdef extern from *:
    """
    /* One step of a generator: what it yields next, or, with *ended, what it returns. */
    static PyObject *mk_step_of(PyObject *steps, PyObject *answer, int *ended) {
        PyObject *step = NULL;
        *ended = PyIter_Send(steps, answer, &step) == PYGEN_RETURN;
        return step;
    }
    """
    object mk_step_of(object steps, object answer, int *ended)


@cython.final
cdef class AsyncDriver:
    """Carries out the steps of one connection, in a task of `loop` that awaits each."""

    def __init__(self, loop not None, ConnectionSettings settings not None, Openings openings):
        self.loop = loop
        self.settings, self.openings = settings, openings
        if isinstance(openings, Opening):
            self.until = (<Opening>openings).until

    def go_on_with(
        self, AsyncConnection connection not None, Deadline deadline, Deadline until=None
    ):
        """The steps are those of a login on `connection`, which is open."""
        self.connection, self.deadline, self.until = connection, deadline, until
        self.openings.add(connection.stream)

    async def drive(self, steps):
        """Carry out all steps, and return what they come to. The connection is closed after any
        error, and when the caller is cancelled."""
        cdef AsyncConnection connection
        answer = step = None
        try:
            while True:
                if step is None:
                    step = mk_step_of(steps, answer, &self.ended)
                    if self.ended:
                        return step
                following = answer = None
                try:
                    if type(step) is Command:
                        answer = await self.exchange(<Command>step)
                    elif type(step) is Connect:
                        self.leave()
                        answer = self.connect_now(<Connect>step)
                        if answer is None:
                            answer = await self.connect_slowly(step)
                        connection = self.connection = answer
                        self.openings.add(connection.stream)
                    else:
                        await self.do_work(step)
                except (AutoReconnect, ProtocolError) as error:
                    # They may know better why it broke, or what to try instead.
                    self.close()
                    following = steps.throw(error)
                step = following
        except BaseException:
            self.given_up = True
            self.close()
            # A login that is given up ends here and now, whoever still holds the error's traceback:
            # others may be waiting for its outcome.
            steps.close()
            raise
        finally:
            if self.connection is not None:
                self.openings.remove(self.connection.stream)

    cdef int close(self) except -1:
        if self.connection is not None:
            self.connection.close()
        return 0

    cdef int leave(self) except -1:
        """Another connection is made instead."""
        if self.connection is not None:
            self.connection.close()
            self.openings.remove(self.connection.stream)
            self.connection = None
        return 0

    def is_over(self):
        """Whether nothing more is wanted of it."""
        return self.given_up or self.openings.ended()

    # -- connecting -----------------------------------------------------------------------------

    cdef AsyncConnection connect_now(self, Connect step):
        """The connection, where that takes no time, as with a server on this machine; or None, and
        a first attempt may be under way."""
        cdef PolledSocket socket
        cdef SocketAddress to
        cdef list found
        host, port = step.address
        check_target(host, port)
        self.deadline = step.begin()
        peer = format_address(step.address)
        if is_unix(host):
            to = unix_address(host)
        else:
            found = known_addresses(host, port)
            if found is None:
                return None
            to = <SocketAddress>in_order(found, peer)[0]
        socket = PolledSocket()
        try:
            answer = socket.connect(to)
        except SocketFailed:
            # The other addresses are tried, and what is told of this one is told there.
            return None
        if answer != CONNECTED:
            if answer == IN_PROGRESS:
                self.begun = socket
            return None
        return self.connection_of(stream_of(socket, peer, self.loop), step)

    async def connect_slowly(self, step):
        with late_imports:
            from mongokey.connection.loop_establishing import connected_stream

        begun, self.begun = self.begun, None
        stream = await connected_stream(self.loop, self.settings, self.openings, step, begun)
        return self.connection_of(stream, step)

    cdef AsyncConnection connection_of(self, LoopStream stream, Connect step):
        try:
            return AsyncConnection(stream, step.address)
        except BaseException:
            stream.close()
            raise

    # -- commands and work ------------------------------------------------------------------------

    async def exchange(self, Command command):
        try:
            return await self.connection.command(
                command.database, command.document, self.deadline
            )
        except NetworkTimeout as error:
            raise too_slow(error, command, self.settings) from error

    async def do_work(self, work):
        """Have `work` done in a thread; it is waited for until it is done, or the connection is
        wanted no more."""
        with late_imports:
            from mongokey.connection.loop_establishing import work_in_thread

        handle = OffloadedWork(self.loop, self.connection.peer)
        self.openings.add(handle)
        try:
            self.deadline = await work_in_thread(
                work, self.settings, self.deadline, self.is_over, handle.future, self.until
            )
        finally:
            self.openings.remove(handle)


class OffloadedWork(Stream):
    """What a pool or a client closes to end the wait for work in a thread; from any thread."""

    def __init__(self, loop, peer):
        self.loop = loop
        self.future = loop.create_future()
        self.error = AutoReconnect(
            f"{peer}: the connection was closed here while it was being made"
        )

    def close(self):
        try:
            self.loop.call_soon_threadsafe(self.end)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def end(self):
        if not self.future.done():
            self.future.set_exception(self.error)


__all__ = ["AsyncDriver"]
