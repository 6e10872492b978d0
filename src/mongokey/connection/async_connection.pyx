# cython: language_level=3, boundscheck=False, wraparound=False
"""A connection on an asyncio loop: messages on a `LoopStream`, awaited.

It knows the framing (`wire.message_buffer`), the stream, and how one task waits for one message
(`transport.loop_wait`). It must not know how a login goes, what commands mean, nor that pools
exist.

A message costs no task, no future and no change of what the loop watches: the socket is written to
at once, and the loop's call for a socket that can be read goes on with the task that waits.
"""

from mongokey._support.cdefs cimport mk_buffer, mk_buffer_wipe, mk_load_i32
from mongokey._support.deadline cimport Deadline
from mongokey.connection.connection cimport Connection
from mongokey.transport.loop_stream cimport (
    READABLE,
    TIMED_OUT,
    WRITABLE,
    LoopStream,
    expect_by,
)
from mongokey.transport.loop_wait cimport LoopWait
from mongokey.transport.stream cimport POLLIN, POLLOUT, mk_monotonic_ns
from mongokey.wire.framing cimport MK_HEADER_SIZE, mk_compressed, parse_compressed

from functools import partial

from mongokey._support.lazy import late_imports
from mongokey.errors import AutoReconnect, InvalidOperation, ProtocolError

cdef enum:
    # So much is sent or received before others are served: they wait for no longer than a copy of
    # it, and its encryption.
    MOST_AT_ONCE = 1048576
    # So many bytes are inflated here, about a millisecond's work; of more, a thread does it.
    INFLATED_AT_ONCE = 262144


async def in_another_thread(work, str name):
    """What `work` returns, done in a thread; here where none can be started."""
    with late_imports:
        from mongokey._support.tasks import NoThread, in_thread

    try:
        return await in_thread(work, name)
    except NoThread:
        return work()


cdef int handle_event(void *owner, int event) except -1:
    """What the stream tells of."""
    cdef AsyncConnection connection = <AsyncConnection>owner
    if event == READABLE:
        return connection._readable()
    if event == WRITABLE:
        return connection._writable()
    if event == TIMED_OUT:
        return connection._timed_out()
    if connection.state == SENDING or connection.state == RECEIVING:
        connection._failed(
            AutoReconnect(
                f"{connection.peer}: the connection was closed here while it was in use"
            )
        )
    return 0


cdef class AsyncConnection(Connection):
    """A connection over `stream`; `address` is ``(host, port)``, or ``(path, None)``."""

    def __init__(self, LoopStream stream not None, address):
        Connection.__init__(self, stream, address)
        self.loop_stream = stream
        self.wait = MessageWait(stream.loop)
        stream.owner, stream.tell = <void *>self, handle_event
        try:
            stream.watch()
        except BaseException:
            stream.close()
            raise

    def __del__(self):
        if self.loop_stream is not None:
            self.loop_stream.owner = NULL

    # -- one message ----------------------------------------------------------------------------

    cdef object exchange(self, Deadline deadline):
        return self._start(deadline, False)

    cdef object send_only(self, Deadline deadline):
        return self._start(deadline, True)

    cdef object _start(self, Deadline deadline, bint only_sends):
        cdef mk_buffer *incoming = &self.incoming
        # Of a stream of replies (exhaust) the next one comes without a word.
        cdef bint streams = self.out.size == 0
        if self.state != IDLE:
            raise InvalidOperation(f"{self.peer}: another task uses this connection")
        try:
            if not only_sends:
                # A call is left out where nothing is to be done: so it is for nearly every reply.
                if incoming.size == self.message_size:
                    incoming.size = self.message_size = self.length = 0
                else:
                    self.begin_reply()
            if streams and not self.loop_stream.reads:
                self.loop_stream.watch()
            self.sent_size = 0
            self.only_sends = only_sends
            if self._send_more():
                if only_sends or (incoming.size and self._whole()):
                    return None
                self.state = RECEIVING
                if streams and self._go_on_with_stream():
                    return None
            else:
                self.state = SENDING
                self.loop_stream.watch_writes(True)
            self._began(deadline)
        except BaseException as error:
            # Half a message may be out: nothing else may be sent here.
            self.state = OVER
            self.close()
            self.state = IDLE
            cause = self._cause(error)
            if cause is error:
                raise
            raise cause from error
        self.wait.connection = self
        self.wait.expect()
        return self.wait

    cdef bint _go_on_with_stream(self) except -1:
        """Take in what came between two replies of a stream; whether the next one is whole."""
        self._receive_more()
        if self.state != OVER:
            return False
        self.state = IDLE
        return True

    cdef int _began(self, Deadline deadline) except -1:
        """All there is to be done by `deadline` begins now."""
        cdef LoopStream stream = self.loop_stream
        self.deadline = deadline
        if deadline is not None:
            expect_by(stream, deadline.at_ns)
        elif stream.timeout_ns:
            expect_by(stream, mk_monotonic_ns() + stream.timeout_ns)
        else:
            stream.limit_ns = 0
        return 0

    cdef bint _send_more(self) except -1:
        """Whether all of `out` is sent."""
        cdef LoopStream stream = self.loop_stream
        cdef size_t taken, total = 0
        while self.sent_size < self.out.size:
            if total >= MOST_AT_ONCE or (stream.holds_output and not stream.flush()):
                return False
            taken = <size_t>stream.put(
                self.out.data + self.sent_size, self.out.size - self.sent_size
            )
            if taken == 0:
                return False
            self.sent_size += taken
            total += taken
        if stream.holds_output and not stream.flush():
            return False
        self.sent()
        return True

    cdef bint _whole(self) except -1:
        """Whether the reply is, which is checked then."""
        if self.missing():
            return False
        if self.compression is not None and self.holds_compressed() and self._is_large():
            self.is_compressed = True
            return True
        self.end_reply()
        return True

    cdef bint _is_large(self) except -1:
        """Whether it takes long to inflate the reply; says it all the same where the sizes are
        wrong, as that is for `inflate_soon` to raise."""
        return mk_load_i32(self.incoming.data + MK_HEADER_SIZE + 4) > INFLATED_AT_ONCE

    cdef object compress_soon(self):
        return self._compress_soon(self.uncompressed())

    async def _compress_soon(self, plain):
        compressor, data = await in_another_thread(
            partial(self.compression.compress, plain), "mongokey: compressing"
        )
        self.put_compressed(compressor, data)

    cdef object inflate_soon(self):
        return self._inflate_soon()

    async def _inflate_soon(self):
        cdef mk_compressed found
        try:
            self.is_compressed = False
            parse_compressed(self.incoming.data, self.length, self.max_reply_size, &found)
            opcode = found.opcode
            plain = await in_another_thread(
                partial(
                    self.compression.inflate,
                    found.compressor,
                    (<char *>found.data)[:found.data_size],
                    found.size,
                ),
                "mongokey: inflating",
            )
            if self.closed:
                # By its pool, or its client, meanwhile.
                words = "the connection was closed here while it was in use"
                raise self._cause(AutoReconnect(f"{self.peer}: {words}"))
            self.put_inflated(plain, opcode)
            self.end_reply()
        except BaseException:
            # A reply that nobody has read, or none.
            self.close()
            raise

    cdef int _receive_more(self) except -1:
        """Take in what is there."""
        cdef mk_buffer *incoming = &self.incoming
        cdef size_t wanted, total = 0
        cdef Py_ssize_t got
        while True:
            if incoming.size == incoming.capacity or self.length > incoming.capacity:
                self.reserve()
            wanted = incoming.capacity - incoming.size
            if wanted > MOST_AT_ONCE:
                wanted = MOST_AT_ONCE
            got = self.loop_stream.take(incoming.data + incoming.size, wanted)
            if got == 0:
                return 0
            incoming.size += <size_t>got
            if self.state == RECEIVING:
                if self._whole():
                    self.state = OVER
                    return 0
            elif not self.missing() and incoming.size > self.length:
                # An error may come before all is sent, but nothing after it.
                raise ProtocolError(f"{self.peer}: the server answers what was not sent yet")
            total += <size_t>got
            if not self.loop_stream.unread:
                return 0
            if total >= MOST_AT_ONCE:
                return self.loop_stream.go_on_soon()

    # -- what the stream tells --------------------------------------------------------------------

    cdef int _readable(self) except -1:
        if self.state != RECEIVING and self.state != SENDING:
            if self.state == IDLE and self.awaiting:
                # The next reply of a stream stays where it is until it is wanted.
                return self.loop_stream.pause()
            # Nothing is to be read between messages: it is the end, or nobody asked for it.
            if self.state == IDLE and self.stream.stale():
                self.stream.lost = True
                self.close()
            return 0
        try:
            self._receive_more()
        except BaseException as error:
            return self._failed(error)
        if self.state == OVER:
            self.loop_stream.limit_ns = 0
            self.wait.wake()
        return 0

    cdef int _writable(self) except -1:
        if self.state != SENDING:
            return self.loop_stream.watch_writes(False)
        try:
            if not self._send_more():
                return 0
            self.loop_stream.watch_writes(False)
            if self.only_sends or (self.incoming.size and self._whole()):
                self.state = OVER
            else:
                self.state = RECEIVING
                if self.deadline is None:
                    # The stream's own timeout is one for what is sent, and one for the reply.
                    self._began(None)
        except BaseException as error:
            return self._failed(error)
        if self.state == OVER:
            self.loop_stream.limit_ns = 0
            self.wait.wake()
        return 0

    cdef int _timed_out(self) except -1:
        if self.state != SENDING and self.state != RECEIVING:
            return 0
        try:
            # What came in this turn of the loop counts, although the loop was late.
            self._receive_more()
            if self.state != OVER:
                self.loop_stream._timed_out(
                    POLLOUT if self.state == SENDING else POLLIN,
                    self.loop_stream.limit_ns,
                    self.deadline,
                )
        except BaseException as error:
            return self._failed(error)
        self.loop_stream.limit_ns = 0
        self.wait.wake()
        return 0

    cdef int _failed(self, object error) except -1:
        """The exchange under way came to `error`, which is for the task that waits."""
        self.state = OVER
        self.error = error
        self.close()
        return self.wait.wake_soon()

    cdef object _cause(self, object error):
        """The pool's word, where it has closed the connection under somebody who used it."""
        if self.interruption is not None and isinstance(error, AutoReconnect):
            return self.interruption
        return error

    # -- for the rest -----------------------------------------------------------------------------

    cdef int send(self, Deadline deadline) except -1:
        raise InvalidOperation(f"{self.peer}: this connection is used with await")

    cdef int receive(self, Deadline deadline) except -1:
        raise InvalidOperation(f"{self.peer}: this connection is used with await")

    cdef bint reusable(self) except -1:
        if self.state != IDLE:
            # Whoever gives it back now is not the task that waits.
            return False
        return Connection.reusable(self)

    cpdef object command(self, str database, object command, Deadline deadline=None):
        """A coroutine: one command document, and the decoded reply, whatever its `ok` says."""
        return self._command(database, command, deadline)

    async def _command(self, database, command, deadline):
        try:
            self.write_command(database, command, 0)
            waiting = self.exchange(deadline)
            if waiting is not None:
                await waiting
            if self.is_compressed:
                await self.inflate_soon()
        finally:
            # It may hold a password or a token, and is kept as long as the connection is.
            mk_buffer_wipe(&self.out)
        try:
            return self.read_body()
        except ProtocolError:
            self.close()
            raise


cdef class MessageWait(LoopWait):
    """A task's wait for one message."""

    cdef int taken(self) except -1:
        cdef AsyncConnection connection = self.connection
        self.connection = None
        connection.state = IDLE
        error, connection.error = connection.error, None
        if error is None:
            return 0
        cause = connection._cause(error)
        if cause is error:
            raise error
        raise cause from error

    cdef int abandoned(self) except -1:
        cdef AsyncConnection connection = self.connection
        if connection is None:
            return 0
        self.connection = None
        # The rest of the reply may still arrive: the connection cannot be used again.
        connection.error = None
        connection.state = OVER
        connection.close()
        connection.state = IDLE
        return 0


__all__ = ["AsyncConnection"]
