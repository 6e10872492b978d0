# cython: language_level=3, boundscheck=False, wraparound=False
"""A connection: it frames messages on its stream and holds what the server said of itself.

It knows the wire and the stream. It must not know how a login goes (`auth.login` does, and
`connection.establish` runs that), what commands mean, nor that pools exist.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memmove

from mongokey._support.cdefs cimport (
    MK_OK,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
    mk_buffer_reserve,
    mk_buffer_shrink,
    mk_buffer_wipe,
    mk_load_i32,
    mk_store_i32,
)
from mongokey.bson.codec cimport context_of, read_document, write_document
from mongokey.transport.stream cimport Stream, expect_message
from mongokey.wire.framing cimport (
    MK_EXHAUST_ALLOWED,
    MK_HEADER_SIZE,
    MK_MORE_TO_COME,
    MK_OP_MSG,
    begin_message,
    check_header,
    end_message,
    next_request_id,
    parse_reply,
)

from mongokey.bson.codec_options import CodecOptions, DatetimeConversion
from mongokey.errors import InvalidBSON, ProtocolError

# How the server's own words are read, whatever the user's options: a text that was cut inside a
# character, or a date that Python has not, may not hide an error or a count.
LENIENT = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)

# The limits that hold until the server's hello gives its own (wire protocol specification).
cdef size_t DEFAULT_MAX_MESSAGE = 48000000
cdef int DEFAULT_MAX_BSON = 16 * 1024 * 1024
cdef int DEFAULT_MAX_BATCH = 100000
# The longest answer to hello, which is kept: a set has 50 members at most, and nobody has proved
# who it is yet.
cdef size_t MAX_HELLO = 1024 * 1024
# First size of the read buffer: most replies come whole in one read of it.
cdef size_t READ_AHEAD = 16 * 1024
# Buffers that grew past this are given back between commands, so that idle pools stay small.
cdef size_t KEEP = 256 * 1024

# More than a handshake's command has beside a login's payload: metadata has 512 bytes at most.
cdef size_t HANDSHAKE = 3072

# Database name -> the element `$db` and the end of a command document.
cdef dict db_endings = {}


cdef class Connection:
    """A connection over `stream`; `address` is ``(host, port)``, or ``(path, None)``."""

    def __cinit__(self):
        mk_buffer_init(&self.out)
        mk_buffer_init(&self.incoming)

    def __dealloc__(self):
        mk_buffer_free(&self.out)
        mk_buffer_free(&self.incoming)

    def __init__(self, Stream stream not None, address):
        if not isinstance(address, tuple):
            raise TypeError(f"an address is (host, port), not {address!r}")
        self.stream = stream
        self.address = address
        self.max_message_size = DEFAULT_MAX_MESSAGE
        self.max_reply_size = MAX_HELLO
        self.max_bson_size = DEFAULT_MAX_BSON
        self.max_write_batch_size = DEFAULT_MAX_BATCH

    def accept_hello(self, hello):
        """Take over the limits and abilities in `hello` (a `HelloReply`)."""
        self.hello = hello
        self.max_bson_size = hello.max_bson_size
        self.max_message_size = self.max_reply_size = hello.max_message_size
        self.max_write_batch_size = hello.max_write_batch_size
        self.max_wire_version = hello.max_wire_version
        # sessions: a server that does not time sessions out does not have them.
        minutes = hello.logical_session_timeout_minutes
        self.supports_sessions = minutes is not None
        self.session_timeout_ns = <int64_t>(minutes or 0) * 60_000_000_000
        self.is_member = hello.is_replica_set_member or hello.is_ghost
        clustered = hello.is_replica_set_member or hello.is_mongos
        self.supports_cluster_time = clustered
        self.supports_retryable_writes = clustered and self.supports_sessions

    cdef int begin(self, uint32_t flags) except -1:
        """Start a message; the caller appends its body to `out`, then calls `finish`."""
        self.out.size = 0
        self.flags = flags
        self.request_id = next_request_id()
        self.message_start = begin_message(&self.out, self.request_id, flags)
        return 0

    cdef int finish(self) except -1:
        return end_message(&self.out, self.message_start, self.max_message_size)

    cdef int send(self, int64_t deadline_ns) except -1:
        try:
            self.stream.write(self.out.data, self.out.size, deadline_ns)
        except BaseException:
            # Half a message may be out: nothing else may be sent here.
            self.close()
            raise
        self.out.size = 0
        self.awaiting = not self.flags & MK_MORE_TO_COME
        return 0

    cdef int receive(self, int64_t deadline_ns) except -1:
        """Read one message into `incoming` and check that it answers the last one sent."""
        try:
            self._receive(deadline_ns)
        except BaseException:
            # The rest of that reply may still arrive: the connection cannot be used again.
            self.close()
            raise
        return 0

    cdef int _receive(self, int64_t deadline_ns) except -1:
        cdef size_t left = self.incoming.size - self.message_size
        cdef size_t length = 0
        if left:
            # The rest of a stream of replies (moreToCome): bring it to the front.
            memmove(self.incoming.data, self.incoming.data + self.message_size, left)
        self.incoming.size = left
        self.message_size = 0
        expect_message(self.stream)
        while True:
            if length == 0:
                if self.incoming.size >= <size_t>MK_HEADER_SIZE:
                    length = <size_t>check_header(self.incoming.data, self.max_reply_size)
                elif self.hello is None:
                    self._check_beginning()
            if length and self.incoming.size >= length:
                break
            self._reserve((length if length > READ_AHEAD else READ_AHEAD) - self.incoming.size)
            self.incoming.size += <size_t>self.stream.read(
                self.incoming.data + self.incoming.size,
                self.incoming.capacity - self.incoming.size,
                deadline_ns,
            )
        self.message_size = length
        parse_reply(self.incoming.data, length, self.request_id, &self.reply)
        if self.reply.opcode != MK_OP_MSG:
            raise ProtocolError(
                f"{self.stream.peer}: the server answered an OP_MSG with opcode "
                f"{self.reply.opcode}"
            )
        if self.reply.flags & MK_MORE_TO_COME:
            if not self.flags & MK_EXHAUST_ALLOWED:
                raise ProtocolError(
                    f"{self.stream.peer}: the server announces more replies (moreToCome), which "
                    "nobody asked for"
                )
            # The next reply of the stream answers this one.
            self.request_id = self.reply.request_id
            return 0
        if self.incoming.size > length:
            raise ProtocolError(
                f"{self.stream.peer}: the server sent {self.incoming.size - length} bytes "
                f"after its reply that nobody asked for"
            )
        self.awaiting = False
        return 0

    cdef int _check_beginning(self) except -1:
        """Raise at once where less than a header shows already that nobody speaks MongoDB here: a
        greeting, or an alert of TLS, may be short and the connection stay open."""
        cdef const uint8_t *data = self.incoming.data
        cdef size_t size = self.incoming.size
        cdef int32_t length
        if size < 4:
            return 0
        length = mk_load_i32(data)
        # RFC 8446, section 5.1 and 6: an alert's record, version 3.x, 2 bytes, level 1 or 2.
        if size >= 6 and data[0] == 0x15 and data[1] == 3 and data[3] == 0 and data[4] == 2 and (
            1 <= data[5] <= 2
        ):
            raise ProtocolError(f"{self.stream.peer}: the server answered with an alert of TLS")
        if length < MK_HEADER_SIZE or <size_t>length > self.max_reply_size:
            raise ProtocolError(
                f"{self.stream.peer}: invalid wire message: it begins with "
                f"{self.received_bytes(16).hex(' ')}, which is no length of a message"
            )
        return 0

    cdef int _reserve(self, size_t extra) except -1:
        if mk_buffer_reserve(&self.incoming, extra) != MK_OK:
            raise MemoryError(f"no memory for a reply of {self.incoming.size + extra} bytes")
        return 0

    cdef bint reusable(self) except -1:
        """Whether another command may be sent: open, and nothing left to be read."""
        cdef Stream stream = self.stream
        return not (stream.closed or self.awaiting or (stream.unread and stream.stale()))

    cdef int trim_buffers(self) except -1:
        """Give back what memory a large message took; for the end of a use."""
        if self.out.capacity > KEEP:
            self.out.size = 0
            mk_buffer_shrink(&self.out, KEEP)
        if self.incoming.capacity > KEEP and self.incoming.size == self.message_size:
            self.incoming.size = self.message_size = 0
            mk_buffer_shrink(&self.incoming, KEEP)
        return 0

    cpdef object command(self, str database, object command, int64_t deadline_ns=0):
        """Run one command document and return the decoded reply, whatever its `ok` says.

        For handshakes and housekeeping: no session, no retry. Raises `AutoReconnect` and kin
        when the connection fails, `ProtocolError` when the reply is none; it is closed then.
        """
        cdef object context = context_of(LENIENT)
        try:
            self._write(database, command, context)
            self.send(deadline_ns)
        finally:
            # It may hold a password or a token, and is kept as long as the connection is.
            mk_buffer_wipe(&self.out)
        self.receive(deadline_ns)
        try:
            return read_document(self.reply.body, self.reply.body_size, context)
        except InvalidBSON as error:
            # Whoever answers a handshake like that speaks another language.
            self.close()
            raise ProtocolError(f"{self.stream.peer}: {error}") from error

    cdef int _write(self, str database, object command, object context) except -1:
        """The message of `command` into `out`."""
        cdef Py_ssize_t body
        self.begin(0)
        # So that it need not move once a secret is in it: what it left behind would not be wiped.
        if mk_buffer_reserve(&self.out, <size_t>payload_size(command) + HANDSHAKE) != MK_OK:
            raise MemoryError("no memory for a command")
        body = <Py_ssize_t>self.out.size
        write_document(&self.out, command, context, False, False)
        # Reopen the document: over its final NUL comes `$db`.
        self.out.size -= 1
        name = db_endings.get(database)
        if name is None:
            encoded = database.encode()
            name = b"\x02$db\0" + (len(encoded) + 1).to_bytes(4, "little") + encoded + b"\0\0"
            if len(db_endings) < 16:  # handshakes go to `admin` and few others
                db_endings[database] = name
        if mk_buffer_append(&self.out, <const char *>name, len(name)) != MK_OK:
            raise MemoryError("no memory for a command")
        mk_store_i32(self.out.data + body, <int>(self.out.size - <size_t>body))
        return self.finish()

    cpdef close(self):
        """Close the stream; more than once is allowed."""
        self.stream.close()

    @property
    def closed(self):
        return self.stream.closed

    def received_bytes(self, Py_ssize_t most=16):
        """The first bytes, at most `most`, of a message that did not arrive whole."""
        cdef size_t size = self.incoming.size - self.message_size
        if most < 0 or size == 0:
            return b""
        return (<char *>self.incoming.data + self.message_size)[:min(size, <size_t>most)]

    def __repr__(self):
        if self.stream is None:
            return "<Connection, not initialized>"
        return f"<Connection to {self.stream.peer}{', closed' if self.stream.closed else ''}>"


cdef Py_ssize_t payload_size(object command) except -1:
    """The bytes of a login's message in a command, and in a hello that begins the login."""
    if type(command) is not dict:
        return 0
    payload = (<dict>command).get("payload")
    if payload is None:
        begun = (<dict>command).get("speculativeAuthenticate")
        payload = (<dict>begun).get("payload") if type(begun) is dict else None
    return len(<bytes>payload) if type(payload) is bytes else 0
