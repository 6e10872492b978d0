# cython: language_level=3, boundscheck=False, wraparound=False
"""A connection: messages on a stream, blocking, and what the server said of itself.

It knows the framing (`wire.message_buffer`) and the stream. It must not know how a login goes
(`auth.login` does, and `connection.establish` runs that), what commands mean, nor that pools exist.
"""

from libc.stdint cimport int64_t

from mongokey._support.cdefs cimport mk_buffer
from mongokey._support.deadline cimport Deadline
from mongokey.handshake.reply cimport HelloReply
from mongokey.transport.stream cimport Stream, expect_message
from mongokey.wire.message_buffer cimport MessageBuffer

from mongokey.handshake.reply import LOAD_BALANCER, MONGOS, RS_GHOST
from mongokey.errors import AutoReconnect, ProtocolError

cdef extern from "mongokey/buffer.h" nogil:
    void mk_buffer_wipe_front(mk_buffer *b, size_t written)

# The limits that hold until the server's hello gives its own (wire protocol specification).
cdef int DEFAULT_MAX_BSON = 16 * 1024 * 1024
cdef int DEFAULT_MAX_BATCH = 100000

cdef int64_t NEVER_NS = <int64_t>0x7FFF_FFFF_FFFF_FFFF


cdef class Connection(MessageBuffer):
    """A connection over `stream`; `address` is ``(host, port)``, or ``(path, None)``."""

    def __init__(self, Stream stream not None, address):
        if not isinstance(address, tuple):
            raise TypeError(f"an address is (host, port), not {address!r}")
        self.stream = stream
        self.peer = stream.peer
        self.address = address
        self.max_bson_size = DEFAULT_MAX_BSON
        self.max_write_batch_size = DEFAULT_MAX_BATCH

    def accept_hello(self, HelloReply hello not None):
        """Take over the limits and abilities in `hello`."""
        cdef bint member, clustered
        self.hello = hello
        self.before_hello = False
        self.max_bson_size = hello.max_bson_size
        self.max_message_size = self.max_reply_size = hello.max_message_size
        self.max_write_batch_size = hello.max_write_batch_size
        self.max_wire_version = hello.max_wire_version
        # sessions: a server that does not time sessions out does not have them.
        minutes = hello.logical_session_timeout_minutes
        self.supports_sessions = minutes is not None
        self.session_timeout_ns = <int64_t>(minutes or 0) * 60_000_000_000
        member = hello.in_replica_set()
        self.is_member = member or hello.server_type == RS_GHOST
        clustered = member or hello.server_type == MONGOS
        if hello.service_id is not None and hello.server_type == LOAD_BALANCER:
            # load-balancers, "Driver Sessions": always, and they are never too old.
            clustered = self.supports_sessions = True
            self.session_timeout_ns = NEVER_NS
        if self.compression is not None:
            self.agree_on_compression(hello.compression)
        self.supports_cluster_time = clustered
        self.supports_retryable_writes = clustered and self.supports_sessions

    cdef int send(self, Deadline deadline) except -1:
        """Send the message in `out`."""
        try:
            if self.out.size:  # of a stream of replies the next one comes without a word
                self.stream.write(self.out.data, self.out.size, deadline)
        except BaseException as error:
            # Half a message may be out: nothing else may be sent here.
            self.close()
            if self.interruption is not None and isinstance(error, AutoReconnect):
                raise self.interruption from error
            raise
        return self.sent()

    cdef int receive(self, Deadline deadline) except -1:
        """Read one message into `incoming` and check that it answers the last one sent."""
        cdef mk_buffer *incoming = &self.incoming
        try:
            # Calls are left out where nothing is to be done, which is so for nearly every reply.
            if incoming.size == self.message_size:
                incoming.size = self.message_size = self.length = 0
            else:
                self.begin_reply()
            expect_message(self.stream)
            while incoming.size == 0 or self.missing():
                if incoming.size == incoming.capacity or self.length > incoming.capacity:
                    self.reserve()
                incoming.size += <size_t>self.stream.read(
                    incoming.data + incoming.size, incoming.capacity - incoming.size, deadline
                )
            return self.end_reply()
        except BaseException as error:
            # The rest of that reply may still arrive: the connection cannot be used again.
            self.close()
            if self.interruption is not None and isinstance(error, AutoReconnect):
                raise self.interruption from error
            raise

    cdef bint reusable(self) except -1:
        """Whether another command may be sent: open, and nothing left to be read."""
        cdef Stream stream = self.stream
        return not (stream.closed or self.awaiting or (stream.unread and stream.stale()))

    cpdef object command(self, str database, object command, Deadline deadline=None):
        """Run one command document and return the decoded reply, whatever its `ok` says.

        For handshakes and housekeeping: no session, no retry. Raises `AutoReconnect` and kin
        when the connection fails, `ProtocolError` when the reply is none; it is closed then.
        """
        cdef size_t written = <size_t>-1
        try:
            self.write_command(database, command, 0)
            written = self.out.size
            self.send(deadline)
        finally:
            # It may hold a password or a token, and is kept as long as the connection is.
            mk_buffer_wipe_front(&self.out, written)
        self.receive(deadline)
        try:
            return self.read_body()
        except ProtocolError:
            self.close()
            raise

    cpdef close(self):
        """Close the stream; more than once is allowed."""
        if self.stream is not None:
            self.stream.close()

    @property
    def closed(self):
        return self.stream.closed

    def __repr__(self):
        if self.stream is None:
            return "<Connection, not initialized>"
        return f"<Connection to {self.stream.peer}{', closed' if self.stream.closed else ''}>"
